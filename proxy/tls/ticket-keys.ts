/** The file of session ticket keys: edges that share it resume each other's sessions. */
import { ConfigError, type Fault } from '../config/faults.ts'
import type { Origins } from '../config/layer.ts'
import { readText } from '../config/read-text.ts'
import type { EdgeConfig } from '../config/schema.ts'
import type { TicketKeySet } from '../wire-config.ts'

// As the wire takes them: a name of 16 bytes, an HMAC key and an AES key.
const keyBytes = 48
const keysMax = 16
const keyText = /^[A-Za-z0-9+/]{64}$/

/** The keys of `tls.ticketKeyFile`, the first one seals; none without such a file. */
export function loadTicketKeys(
  { tls }: Pick<EdgeConfig, 'tls'>,
  origins: Pick<Origins, 'get'>,
): readonly string[] {
  const file = tls.ticketKeyFile
  if (file === null) return []
  const where = origins.get(['tls', 'ticketKeyFile'])
  const faults: Fault[] = []
  const keys = readKeys(file, (message, mend) => faults.push({ where, message, mend }))
  if (faults.length > 0) throw new ConfigError(faults)
  return keys
}

/** What the wire takes, as JSON. */
export function ticketKeySetOf(tickets: readonly string[]): string {
  const set: TicketKeySet = { tickets }
  return JSON.stringify(set)
}

type Report = (message: string, mend: string) => void

function readKeys(file: string, report: Report): string[] {
  const text = readText(file, report)
  if (text === null) return []
  const lines = text.split('\n').map((line) => line.trim())
  const keys: string[] = []
  for (const [index, line] of lines.entries()) {
    if (line === '' || line.startsWith('#')) continue
    if (keyText.test(line)) keys.push(line)
    else {
      const mend = 'make one with `openssl rand -base64 48`, in one line'
      // The line itself is a secret, or nearly one.
      report(`${file}:${index + 1} is not a key of ${keyBytes} bytes in base64`, mend)
    }
  }
  if (new Set(keys).size < keys.length) report(`${file} names a key twice`, 'leave one of them')
  if (keys.length > keysMax) {
    report(`${file} holds ${keys.length} keys, ${keysMax} at most`, 'drop the oldest ones')
  }
  if (keys.length === 0 && lines.every((line) => line === '' || line.startsWith('#'))) {
    report(`${file} holds no key`, 'make one with `openssl rand -base64 48`')
  }
  return keys
}
