/** How the agent of a pod is let in: by files that others keep up to date. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Credential } from '../../mesh/credential.ts'
import { endpointText, parseEndpoint } from '../../mesh/entry.ts'
import type { Log } from '../../mesh/log.ts'
import { readMembership } from '../../mesh/memory.ts'
import { parseAddress } from '../../mesh/prefix.ts'
import { UsageError } from '../config/faults.ts'

/** An address alone has the port of `--port`: as the downward API gives addresses of nodes. */
export function endpointOf(text: string | undefined, port: number): string | null {
  if (text === undefined) return null
  if (parseAddress(text) !== null) return endpointText(text, port)
  if (parseEndpoint(text) !== null) return text
  throw new UsageError(`--endpoint: "${text}" is not ADDRESS:PORT`)
}

/** In a pod: the kubelet renews the token, and the coordinator publishes its pin. */
export function credentialOf(values: {
  readonly 'token-file'?: string | undefined
  readonly 'pin-file'?: string | undefined
}): Credential | undefined {
  const { 'token-file': tokenFile, 'pin-file': pinFile } = values
  if (tokenFile === undefined && pinFile === undefined) return undefined
  if (tokenFile === undefined || pinFile === undefined) {
    throw new UsageError('--token-file and --pin-file belong together')
  }
  return { token: () => textOf(tokenFile), pin: () => textOf(pinFile) }
}

/** Empty while there is no such file. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return ''
  }
}

/** A node that never joined has nothing to do before it can know the coordinator. */
export async function pinKnown(
  { credential, folder }: { readonly credential?: Credential | undefined; readonly folder: string },
  { log, signal }: { readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  if (credential === undefined || credential.pin() !== '') return
  if (readMembership(folder) !== null) return
  log.info({}, 'the coordinator has not published its pin yet')
  while (credential.pin() === '' && !signal.aborted) {
    // oxlint-disable-next-line no-await-in-loop -- it looks again and again
    await sleep(pinLookMs, undefined, { signal }).catch(() => undefined)
  }
}

const pinLookMs = 500
