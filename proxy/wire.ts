/** The only file of `proxy/` that reaches the addon: the wire and a worker's end of it. */
import assert from 'node:assert'
import type { H3Question, Wire, WorkerPort } from '../native/addon/index.d.ts'
import { loadAddon } from '../native/load.ts'
import { type ErrorCode, errorCodes } from './errors.ts'
import { KnownHeaders } from './request.ts'
import type { WireConfig } from './wire-config.ts'

export type { Wire, WorkerPort }

/** The answer of the health path. Index as the wire counts. */
export const health = { starting: 0, ok: 1, draining: 2 } as const

/** The wire, not listening yet. */
export function createWire(config: WireConfig): Wire {
  const { Wire: AddonWire } = loadAddon()
  return new AddonWire(JSON.stringify(config))
}

/** This worker's end of the queue; `wake` runs when there is something to take. */
export function createPort(slot: number, wake: () => void): WorkerPort {
  const { WorkerPort: AddonPort } = loadAddon()
  return new AddonPort(slot, wake)
}

/** Tells the service manager at `socket`; throws when it cannot be told. */
export function notify(socket: string, message: string): void {
  loadAddon().notify(socket, message)
}

/** Gives memory that lies free back to the system. */
export function releaseMemory(): void {
  loadAddon().releaseMemory()
}

/** Forgets which pages of code were used; those that are used again come back by themselves. */
export function releaseCode(): void {
  loadAddon().releaseCode()
}

/** The status of one GET over HTTP/3; blocks the thread until it is there or the time is over. */
export function askHttp3(question: H3Question): number {
  return loadAddon().askH3(question)
}

/** The names by which head records refer to headers. */
export function knownHeaders(): KnownHeaders {
  return new KnownHeaders(loadAddon().knownHeaders())
}

/** The error codes by the index that outcome records carry. */
export function wireErrorCodes(): ErrorCode[] {
  return loadAddon()
    .errorNames()
    .map((name) => {
      const code = errorCodes.find((known) => known === name)
      // Another table there means that addon and TypeScript are not of one build.
      assert(code !== undefined, `the addon knows an error that errors.ts does not: ${name}`)
      return code
    })
}
