/** The door for clients: HTTP CONNECT (RFC 9110 §9.3.6), answered within a second either way. */
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { reasonOf } from '../../waf/reason-of.ts'
import type { Log } from '../log.ts'
import { GatewayFault } from './fault.ts'
import { gatewayLimits } from './limits.ts'
import { splice } from './splice.ts'
import type { AgentTable } from './table.ts'

/** A server that is not listening yet. `/healthz` tells how many agents live. */
export function gatewayFront(table: AgentTable, log: Log): Server {
  const server = createServer(
    { maxHeaderSize: gatewayLimits.headBytesMax, headersTimeout: gatewayLimits.headTimeoutMs },
    (request, response) => {
      const isHealth = request.method === 'GET' && request.url === '/healthz'
      const body = isHealth
        ? { status: 'ok', agents: table.names.length, tunnels: table.tunnels }
        : { code: 'METHOD_OTHER', message: 'this is a tunnel: CONNECT HOST:PORT' }
      response.writeHead(isHealth ? 200 : 405, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify(body)}\n`)
    },
  )
  server.on('connect', (request, socket, head) => void connected(request, socket, head))
  return server

  async function connected(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => undefined) // whoever asked is gone
    try {
      const { host, port } = authorityOf(request.url ?? '')
      const stream = await table.open(host, port)
      if (socket.destroyed) return void stream.destroy()
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      if (head.length > 0) stream.write(head)
      splice(socket, stream)
    } catch (error) {
      const { code, status, message } = faultOf(error)
      log.warn({ code, target: request.url }, message)
      socket.end(answer(status, { code, message }))
    }
  }
}

function authorityOf(text: string): { host: string; port: number } {
  const [, v6, name, digits = ''] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? []
  const host = v6 ?? name ?? ''
  const port = Number(digits)
  if (host !== '' && port >= 1 && port <= 65_535) return { host, port }
  throw new GatewayFault('TARGET_MALFORMED', 400, `"${text}" is not HOST:PORT`)
}

function faultOf(error: unknown): GatewayFault {
  if (error instanceof GatewayFault) return error
  return new GatewayFault('TUNNEL_FAILED', 502, reasonOf(error))
}

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}

function answer(status: number, body: object): string {
  const text = `${JSON.stringify(body)}\n`
  const head = [
    `HTTP/1.1 ${status} ${phrases[status] ?? 'Error'}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  return `${head.join('\r\n')}\r\n\r\n${text}`
}
