/** Where a pod finds the API of its cluster, and who it is there. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isIPv6 } from 'node:net'
import { reasonOf } from '../waf/reason-of.ts'
import type { ApiPlace } from './api.ts'

/** The mounted token, as Kubernetes puts it into every pod that may have one. */
const mounted = '/var/run/secrets/kubernetes.io/serviceaccount'

/** What a pod knows of itself. */
export interface InCluster {
  readonly place: ApiPlace
  readonly namespace: string
}

/** Why there is no cluster here, and what to do. */
export class NoCluster extends Error {
  override readonly name = 'NoCluster'
  /** The variable or file that is missing. */
  readonly where: string
  readonly mend: string

  constructor(where: string, message: string, mend: string) {
    super(message)
    this.where = where
    this.mend = mend
  }
}

/** Reads what Kubernetes gives every pod; throws `NoCluster`. */
export function inCluster(
  env: Readonly<Record<string, string | undefined>>,
  folder = mounted,
): InCluster {
  const host = env['KUBERNETES_SERVICE_HOST']
  const port = env['KUBERNETES_SERVICE_PORT'] ?? '443'
  if (host === undefined || host === '') {
    throw new NoCluster(
      'env KUBERNETES_SERVICE_HOST',
      'it is not set: this is no pod of a Kubernetes',
      'run it in a pod with a service account, or name --server and --namespace',
    )
  }
  const tokenFile = join(folder, 'token')
  readMounted(tokenFile)
  return {
    place: {
      server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
      ca: readMounted(join(folder, 'ca.crt')),
      tokenFile,
    },
    namespace: readMounted(join(folder, 'namespace')).trim(),
  }
}

function readMounted(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new NoCluster(
      file,
      reasonOf(error),
      'give the pod a service account, with automountServiceAccountToken: true',
    )
  }
}
