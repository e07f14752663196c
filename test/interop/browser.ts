/** Chromium without a window, driven through its debugging socket, with a log of its network. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** Where Debian's package puts the program. */
export const chromium = '/usr/bin/chromium'

const quiet = ['--headless', '--no-sandbox', '--disable-gpu', '--remote-debugging-port=0']

/** A running browser with one page. */
export interface Browser {
  /** Goes to `url` and waits until the page is there. */
  open(url: string): Promise<void>
  /** The value of an expression, which may be a promise, in the page. */
  evaluate(expression: string): Promise<unknown>
  /** Ends the browser; how often each event of the network happened. */
  close(): Promise<ReadonlyMap<string, number>>
  /** Ends it whatever it does. */
  kill(): void
}

interface Reply {
  readonly id?: number
  readonly error?: { readonly message: string }
  readonly result?: Record<string, unknown>
}

/** One debugging socket: requests by number. */
class Debugger {
  readonly #waiting = new Map<number, PromiseWithResolvers<Record<string, unknown>>>()
  readonly #socket: WebSocket
  #next = 1

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => this.#settle(JSON.parse(String(data))))
    socket.addEventListener('close', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser is gone'))
    })
  }

  ask(method: string, params: object, sessionId?: unknown): Promise<Record<string, unknown>> {
    const id = this.#next++
    const answer = Promise.withResolvers<Record<string, unknown>>()
    this.#waiting.set(id, answer)
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }))
    return answer.promise
  }

  #settle({ id, error, result }: Reply): void {
    const answer = this.#waiting.get(id ?? 0)
    this.#waiting.delete(id ?? 0)
    if (error) answer?.reject(new Error(error.message))
    else answer?.resolve(result ?? {})
  }
}

/** Starts the browser with a fresh profile in `directory`. */
export async function startBrowser(directory: string, flags: readonly string[]): Promise<Browser> {
  const log = join(directory, 'net-log.json')
  const profile = [`--user-data-dir=${join(directory, 'profile')}`, `--log-net-log=${log}`]
  const child = spawn(chromium, [...quiet, ...profile, ...flags, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const socket = new WebSocket(await debuggingUrl(child))
  await once(socket, 'open')
  const debug = new Debugger(socket)
  const { targetId } = await debug.ask('Target.createTarget', { url: 'about:blank' })
  const { sessionId } = await debug.ask('Target.attachToTarget', { targetId, flatten: true })
  const evaluate = async (expression: string): Promise<unknown> => {
    const asked = { expression, awaitPromise: true, returnByValue: true }
    const { result, exceptionDetails } = await debug.ask('Runtime.evaluate', asked, sessionId)
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value?: unknown }).value
  }
  return {
    open: async (url) => {
      const { errorText } = await debug.ask('Page.navigate', { url }, sessionId)
      if (errorText !== undefined) throw new Error(`${url}: ${JSON.stringify(errorText)}`)
      await evaluate(`new Promise((resolve) =>
        document.readyState === 'complete' ? resolve() : addEventListener('load', resolve))`)
    },
    evaluate,
    close: async () => {
      const ended = once(child, 'exit')
      await debug.ask('Browser.close', {})
      await ended
      return countEvents(log)
    },
    kill: () => void child.kill('SIGKILL'),
  }
}

async function debuggingUrl(child: ChildProcess): Promise<string> {
  if (child.stderr === null) throw new Error('no standard error')
  const lines: string[] = []
  for await (const line of createInterface(child.stderr)) {
    const url = /^DevTools listening on (\S+)$/.exec(line)?.[1]
    if (url !== undefined) {
      child.stderr.resume()
      return url
    }
    lines.push(line)
  }
  throw new Error(`the browser did not start:\n${lines.join('\n')}`)
}

interface NetLog {
  readonly constants: { readonly logEventTypes: Readonly<Record<string, number>> }
  readonly events: readonly { readonly type: number }[]
}

function countEvents(file: string): ReadonlyMap<string, number> {
  const { constants, events } = JSON.parse(readFileSync(file, 'utf8')) as NetLog
  const names = new Map(Object.entries(constants.logEventTypes).map(([name, type]) => [type, name]))
  const counts = new Map<string, number>()
  for (const { type } of events) {
    const name = names.get(type) ?? String(type)
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return counts
}
