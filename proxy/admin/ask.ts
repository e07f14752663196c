/** Asks a running program over its admin API or status listener. */
import { request } from 'node:http'
import { reasonOf } from '../../waf/reason-of.ts'
import { hostPortOf } from '../host-port.ts'

/** Nobody answers there, or not with an answer. */
export class Unreachable extends Error {}

const timeoutMs = 10_000
const answerBytesMax = 16 * 1024 * 1024

/** What was answered. */
export interface Answer {
  readonly status: number
  readonly body: string
}

/** `GET` at `ADDR:PORT` or `unix:PATH`; throws `Unreachable`. */
export function ask(address: string, path: string, waitMs = timeoutMs): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const fail = (error: unknown): void =>
    reject(new Unreachable(`the admin API at ${address}: ${reasonOf(error)}`, { cause: error }))
  const signal = AbortSignal.timeout(waitMs)
  const sent = request({ ...targetOf(address), path, signal }, (response) => {
    const chunks: Buffer[] = []
    let bytes = 0
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > answerBytesMax) response.destroy(new Error('the answer is too long'))
      else chunks.push(chunk)
    })
    response.on('error', fail)
    response.on('end', () =>
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
    )
  })
  sent.on('error', fail)
  sent.end()
  return promise
}

/** Whether a text is an address that can be asked. */
export function isAdminAddress(text: string): boolean {
  return /^unix:.|:\d{1,5}$/.test(text)
}

function targetOf(address: string): { socketPath: string } | { host: string; port: number } {
  if (address.startsWith('unix:')) return { socketPath: address.slice('unix:'.length) }
  const { host, port } = hostPortOf(address)
  return { host: host === '' ? '127.0.0.1' : host, port }
}
