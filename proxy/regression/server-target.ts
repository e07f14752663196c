/**
 * A running server as the target of cases. With its log, marker requests say which lines belong to
 * a case, as go-ftw does it: a rule logs the value of `X-CRS-Test`.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigError } from '../config/faults.ts'
import type { CaseRequest } from './cases.ts'
import type { LogTail } from './log-tail.ts'
import type { Sent, Target } from './run.ts'
import type { Transport } from './transports.ts'

const markerHeader = 'X-CRS-Test'
const markerRetriesMax = 20
const markerDelayMs = 20

/** The target; `log` null judges by statuses alone (go-ftw's cloud mode). */
export function serverTarget(transport: Transport, log: LogTail | null): Target {
  const close = (): void => {
    transport.close()
    log?.close()
  }
  if (log === null) {
    return {
      close,
      async send(request) {
        const status = await transport.send(request)
        return typeof status === 'string' ? status : { status, log: () => null }
      },
    }
  }
  return { close, send: (request) => sendMarked(request, transport, log) }
}

async function sendMarked(
  request: CaseRequest,
  transport: Transport,
  log: LogTail,
): Promise<string | Sent> {
  await mark(transport, log)
  const status = await transport.send(request)
  // Once the second marker is in the log, so is everything before it but a late phase 5.
  const lines = await mark(transport, log)
  if (typeof status === 'string') return status
  let seen = lines
  return {
    status,
    log: () => {
      seen += log.read()
      return seen
    },
  }
}

/** Sends a marker and waits for its line; everything that was logged before it. */
async function mark(transport: Transport, log: LogTail): Promise<string> {
  const marker = randomUUID()
  let lines = ''
  for (let retry = 0; retry < markerRetriesMax; retry += 1) {
    await transport.send(markerRequest(marker))
    for (let attempt = 0; attempt < 3; attempt += 1) {
      lines += log.read()
      if (lines.includes(marker)) return withoutMarker(lines, marker)
      await sleep(markerDelayMs)
    }
  }
  throw new ConfigError([
    {
      where: log.file,
      message: `no line with the marker that was sent in ${markerHeader}`,
      mend: `name the log of this server, and give it a rule that logs ${markerHeader}`,
    },
  ])
}

function withoutMarker(lines: string, marker: string): string {
  return lines
    .split('\n')
    .filter((line) => !line.includes(marker))
    .join('\n')
}

function markerRequest(marker: string): CaseRequest {
  return {
    method: 'GET',
    uri: '/status/200',
    version: 'HTTP/1.1',
    headers: [
      ['Host', 'localhost'],
      ['Accept', '*/*'],
      ['User-Agent', 'edge waf test'],
      [markerHeader, marker],
    ],
    data: '',
    autocompleteHeaders: true,
    raw: null,
  }
}
