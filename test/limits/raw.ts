/** HTTP/1.1 on a raw socket: what no client library would send, and what exactly came back. */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a raw connection brought. */
export interface RawAnswer {
  readonly text: string
  /** From the connection's begin to its end; null: it was still open after `waitMs`. */
  readonly closedMs: number | null
}

/** What to do on a connection. */
export interface RawOptions {
  readonly port: number
  /** Texts to send, waits in milliseconds, and `FIN`. */
  readonly steps: readonly (string | number)[]
  /** Stop waiting for the end after this; default 8 s. */
  readonly waitMs?: number
  /** Stop waiting once this was received. */
  readonly until?: RegExp
}

/** In `steps`: close our side, and go on listening. */
export const FIN = 'FIN'

/** Carries the steps out and waits for the server to close. */
export async function raw({ port, steps, waitMs = 8000, until }: RawOptions): Promise<RawAnswer> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  const begun = Date.now()
  let text = ''
  let closedMs: number | null = null
  const close = () => (closedMs ??= Date.now() - begun)
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.on('end', close).on('close', close)
  socket.on('error', () => undefined)
  for (const step of steps) {
    if (closedMs !== null) break
    if (typeof step === 'number') await sleep(step)
    else if (step === FIN) socket.end()
    else socket.write(step, 'latin1')
  }
  const over = () => closedMs !== null || until?.test(text) === true
  while (!over() && Date.now() - begun < waitMs) await sleep(10)
  socket.destroy()
  return { text, closedMs }
}

/** Waits for `found` to hold. */
export async function eventually(found: () => boolean, waitMs = 8000): Promise<boolean> {
  const deadline = Date.now() + waitMs
  while (!found() && Date.now() < deadline) await sleep(20)
  return found()
}
