/** An agent beside the pods that it stands for: it keeps a connection to its gateway. */
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { reasonOf } from '../../waf/reason-of.ts'
import type { Log } from '../log.ts'
import { gatewayProtocol } from './door.ts'
import { parseIdentifiers, standsFor } from './identifiers.ts'
import { gatewayLimits } from './limits.ts'
import { linesOver } from './lines.ts'
import { splice } from './splice.ts'

/** What an agent was told. */
export interface GatewayAgentOptions {
  readonly name: string
  readonly gateway: { readonly host: string; readonly port: number }
  /** As they are written. */
  readonly identifiers: string
  readonly secret: string | null
  readonly log: Log
  /** Each time the gateway took it in. */
  readonly onReady: () => void
}

const ask = z.object({
  open: z.string().regex(/^[0-9a-f]{32}$/),
  host: z.string(),
  port: z.number().int().min(1).max(65_535),
})

/** Until the signal; comes back by itself when its gateway was away. */
export async function runGatewayAgent(
  options: GatewayAgentOptions,
  signal: AbortSignal,
): Promise<void> {
  const { log } = options
  const identifiers = parseIdentifiers(options.identifiers)
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      const query = new URLSearchParams({ name: options.name, identifiers: options.identifiers })
      // oxlint-disable-next-line no-await-in-loop -- one connection after the other
      const control = await upgraded(options, `/v1/agent?${query.toString()}`, signal)
      signal.addEventListener('abort', () => control.destroy(), { once: true })
      if (signal.aborted) control.destroy()
      failures = 0
      options.onReady()
      const lines = linesOver(control, ask, ({ open, host, port }) => {
        if (standsFor(identifiers, host)) return void bring(open, host, port)
        lines.send({ failed: open, reason: `it does not stand for ${host}` })
      })
      const bring = async (id: string, host: string, port: number): Promise<void> => {
        let backend: Socket | null = null
        try {
          backend = await connected(host, port)
          splice(backend, await upgraded(options, `/v1/tunnel/${id}`, signal))
        } catch (error) {
          backend?.destroy()
          lines.send({ failed: id, reason: reasonOf(error) })
        }
      }
      // oxlint-disable-next-line no-await-in-loop
      await once(control, 'close')
      if (!signal.aborted) log.warn({ gateway: options.gateway }, 'the gateway is away')
    } catch (error) {
      const { mend } = error instanceof Refusal ? error : {}
      const text = mend === undefined ? 'the gateway is away' : 'the gateway refuses this agent'
      log.warn({ gateway: options.gateway, reason: reasonOf(error), mend }, text)
    }
    const most = Math.min(200 * 2 ** Math.min(failures, 16), gatewayLimits.retryMsMax)
    // oxlint-disable-next-line no-await-in-loop
    await sleep(most * Math.random() + 50, undefined, { signal }).catch(() => undefined)
  }
}

/** What no waiting mends. */
class Refusal extends Error {
  readonly mend: string

  constructor(message: string, mend: string) {
    super(message)
    this.mend = mend
  }
}

function refusalOf(status = 0): Error {
  if (status !== 401) return new Error(`the gateway answered ${status}`)
  return new Refusal('its secret is another one', 'give both ends the same --secret-file')
}

/** A connection to the gateway that speaks the tunnel's protocol. */
async function upgraded(
  options: GatewayAgentOptions,
  path: string,
  signal: AbortSignal,
): Promise<Duplex> {
  const { gateway, secret } = options
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>()
  const asked = request({
    ...gateway,
    path,
    headers: {
      connection: 'upgrade',
      upgrade: gatewayProtocol,
      ...(secret === null ? {} : { authorization: `Bearer ${secret}` }),
    },
    timeout: gatewayLimits.headTimeoutMs,
    signal,
    // A side that has said all may still listen.
    createConnection: () => connect({ ...gateway, allowHalfOpen: true }),
  })
  asked.on('upgrade', (_, socket, head) => {
    socket.setTimeout(0)
    socket.on('error', () => socket.destroy())
    if (head.length > 0) socket.unshift(head)
    resolve(socket)
  })
  asked.on('response', (response) => {
    response.resume()
    reject(refusalOf(response.statusCode))
  })
  asked.on('timeout', () => asked.destroy(new Error('the gateway does not answer')))
  asked.on('error', reject)
  asked.end()
  return promise
}

async function connected(host: string, port: number): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true })
  const { openTimeoutMs: timeout } = gatewayLimits
  await once(socket, 'connect', { signal: AbortSignal.timeout(timeout) }).catch(
    (error: unknown) => {
      socket.destroy()
      throw error
    },
  )
  socket.on('error', () => socket.destroy())
  return socket
}
