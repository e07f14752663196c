/** Where the API of a cluster is, for the commands that ask it. */
import { readFileSync } from 'node:fs'
import type { ApiPlace } from '../../kubernetes/api.ts'
import { inCluster, NoCluster } from '../../kubernetes/in-cluster.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { ConfigError, UsageError } from '../config/faults.ts'
import type { Terminal } from './terminal.ts'

/** In a pod none of them is needed. */
export const apiFlags = {
  namespace: { type: 'string' },
  server: { type: 'string' },
  'token-file': { type: 'string' },
  'ca-file': { type: 'string' },
} as const

interface PlaceFlags {
  readonly namespace?: string | undefined
  readonly server?: string | undefined
  readonly 'token-file'?: string | undefined
  readonly 'ca-file'?: string | undefined
}

/** Where flags say, else where a pod finds its cluster. */
export function placeOf(
  flags: PlaceFlags,
  { env }: Terminal,
): { readonly place: ApiPlace; readonly namespace: string } {
  const { namespace, server, 'token-file': tokenFile = null, 'ca-file': caFile } = flags
  if (server !== undefined) {
    if (!/^https?:\/\/[^/]+$/.test(server)) {
      throw new UsageError(`--server: "${server}" is not http(s)://HOST:PORT`)
    }
    if (namespace === undefined) throw new UsageError('--server needs --namespace')
    const ca = caFile === undefined ? null : readGiven('--ca-file', caFile)
    if (tokenFile !== null) readGiven('--token-file', tokenFile)
    return { place: { server, ca, tokenFile }, namespace }
  }
  try {
    const found = inCluster(env)
    return { ...found, namespace: namespace ?? found.namespace }
  } catch (error) {
    if (!(error instanceof NoCluster)) throw error
    const { where, message, mend } = error
    throw new ConfigError([{ where, message, mend }])
  }
}

function readGiven(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const mend = 'name a file that can be read'
    throw new ConfigError([{ where: flag, message: reasonOf(error), mend }])
  }
}
