/**
 * The door for agents: each keeps one connection open, on which the gateway asks for tunnels; the
 * agent brings each of them as a connection of its own. So agents need no open port.
 */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { z } from 'zod'
import { reasonOf } from '../../waf/reason-of.ts'
import type { Log } from '../log.ts'
import { hashOfSecret, isSecret } from '../token.ts'
import { GatewayFault } from './fault.ts'
import { parseIdentifiers } from './identifiers.ts'
import { gatewayLimits } from './limits.ts'
import { linesOver } from './lines.ts'
import type { AgentTable } from './table.ts'

/** What an agent's connection upgrades to. */
export const gatewayProtocol = 'edge-gateway/1'

const fromAgent = z.object({ failed: z.string(), reason: z.string().max(1_000) })

interface Pending {
  readonly resolve: (stream: Duplex) => void
  readonly reject: (fault: GatewayFault) => void
}

/** `secret`: what agents must know; null: whoever reaches the door is one. */
export function agentDoor(
  table: AgentTable,
  { secret, log }: { readonly secret: string | null; readonly log: Log },
): Server {
  const pending = new Map<string, Pending>()
  const hash = secret === null ? null : hashOfSecret(Buffer.from(secret))
  const server = createServer(
    { maxHeaderSize: gatewayLimits.headBytesMax, headersTimeout: gatewayLimits.headTimeoutMs },
    (_, response) => void response.writeHead(426, { upgrade: gatewayProtocol }).end(),
  )
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    if (request.headers.upgrade !== gatewayProtocol || !isAllowed(request, hash)) {
      return void socket.end('HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n')
    }
    const url = new URL(request.url ?? '/', 'http://gateway')
    if (url.pathname === '/v1/agent') return register(url, socket)
    const waiting = pending.get(url.pathname.slice('/v1/tunnel/'.length))
    if (waiting === undefined) return void socket.destroy()
    accept(socket)
    if (head.length > 0) socket.unshift(head)
    waiting.resolve(socket)
  })
  return server

  function register(url: URL, socket: Duplex): void {
    const name = url.searchParams.get('name') ?? 'an agent'
    try {
      const identifiers = parseIdentifiers(url.searchParams.get('identifiers') ?? '')
      const mine = new Set<string>()
      const lines = linesOver(socket, fromAgent, ({ failed, reason }) => {
        if (!mine.has(failed)) return
        const fault = new GatewayFault('BACKEND_UNREACHABLE', 502, `${name}: ${reason}`)
        pending.get(failed)?.reject(fault)
      })
      const open = (host: string, port: number, signal: AbortSignal): Promise<Duplex> => {
        const id = randomBytes(16).toString('hex')
        const { promise, resolve, reject } = Promise.withResolvers<Duplex>()
        const done = (): void => {
          pending.delete(id)
          mine.delete(id)
        }
        signal.addEventListener('abort', done)
        pending.set(id, { resolve, reject })
        mine.add(id)
        lines.send({ open: id, host, port })
        return promise.finally(done)
      }
      const remove = table.add({ name, identifiers, open })
      accept(socket)
      log.info({ agent: name, identifiers: url.searchParams.get('identifiers') }, 'an agent lives')
      socket.once('close', () => {
        remove()
        const gone = new GatewayFault('AGENT_GONE', 503, `${name} is gone`)
        for (const id of mine) pending.get(id)?.reject(gone)
        log.warn({ agent: name }, 'an agent is gone')
      })
    } catch (error) {
      log.warn({ agent: name, reason: reasonOf(error) }, 'an agent is refused')
      const text = reasonOf(error)
      const length = Buffer.byteLength(text)
      socket.end(`HTTP/1.1 400 Bad Request\r\ncontent-length: ${length}\r\n\r\n${text}`)
    }
  }
}

function accept(socket: Duplex): void {
  const fields = `connection: upgrade\r\nupgrade: ${gatewayProtocol}`
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`)
}

function isAllowed({ headers }: IncomingMessage, hash: Buffer | null): boolean {
  if (hash === null) return true
  const [, text = ''] = /^Bearer (.{1,1000})$/.exec(headers.authorization ?? '') ?? []
  return isSecret(Buffer.from(text), hash)
}
