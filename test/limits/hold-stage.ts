/**
 * Many connections held by a client beside benign traffic, and what they cost: the ground of
 * connections.ts and of its short form in the tests.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunningEdge } from '../harness/edge.ts'
import { startGo } from '../harness/go.ts'

/** See test/clients/go/hold.go. */
export interface Held {
  readonly opened: number
  readonly failed: Record<string, number>
  /** First lines that the server sent meanwhile. */
  readonly answers: Record<string, number>
  readonly closed: number
  readonly longestMs: number
}

/** `slow`: a header without end. `plain`, `h1`, `h2`: one request, then silence. */
export type HoldKind = 'slow' | 'plain' | 'h1' | 'h2' | 'handshake'

/** What to hold. */
export interface HoldOptions {
  readonly edge: RunningEdge
  readonly kind: HoldKind
  readonly count: number
  /** By how much longer every time-out is, where all is emulated. */
  readonly patience?: number
  /** Is told how many are open, at every thousand. */
  readonly progress?: (opened: number) => void
}

/** Opens the connections; resolves when all are open (or failed). */
export async function hold({ edge, kind, count, patience = 1, progress }: HoldOptions) {
  const inClear = kind === 'slow' || kind === 'plain'
  const address = `127.0.0.1:${inClear ? edge.httpPort : edge.httpsPort}`
  // Ports of one source address would do for 28,000 connections; more addresses find them faster.
  const flags = ['-address', address, '-kind', kind, '-count', `${count}`, '-sources', '8']
  // Where a change of threads is dear, more at a time make fewer of them.
  flags.push('-patience', `${patience}`, '-opening', patience > 1 ? '256' : '64')
  const client = startGo<Held>(['hold', ...flags], 1_200_000 * patience)
  const opened = new Promise<void>((resolve) => {
    let text = ''
    let told = 0
    client.process.stderr?.on('data', (chunk: Buffer | string) => {
      text += chunk.toString()
      const opened = text.match(/^opened \d+$/gm) ?? []
      for (const line of opened.slice(told)) progress?.(Number(line.split(' ')[1]))
      told = opened.length
      if (/^held \d+$/m.test(text)) resolve()
    })
  })
  await Promise.race([opened, client.result])
  return client
}

/** Resident memory of a process in KiB. */
export function residentKib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1])
}

/** Processor time of a process in milliseconds. */
export function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Requests one after the other until `stop`; what came back, by status. */
export function benign(port: number, patience = 1) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const seen: Record<string, number> = {}
  let longestMs = 0
  const timeout = 10_000 * patience
  const ending = new AbortController()
  const one = async () => {
    const begun = Date.now()
    const call = request({ host: '127.0.0.1', port, path: '/', agent, timeout }).end()
    call.on('timeout', () => call.destroy(new Error('timeout')))
    const status = await once(call, 'response').then(
      async ([answer]) => {
        answer.resume()
        await once(answer, 'end')
        return `${answer.statusCode}`
      },
      (error: Error) => error.message,
    )
    longestMs = Math.max(longestMs, Date.now() - begun)
    seen[status] = (seen[status] ?? 0) + 1
  }
  const running = (async () => {
    while (!ending.signal.aborted) {
      await one()
      await sleep(5)
    }
  })()
  return {
    stop: async () => {
      ending.abort()
      await running
      agent.destroy()
      return { seen, longestMs }
    },
  }
}
