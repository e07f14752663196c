/** The gateway over real sockets: who is chosen, what passes, what is said when nobody is there. */
import { once } from 'node:events'
import { type Server as HttpServer } from 'node:http'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { MeshFault } from '../fault.ts'
import { runGatewayAgent } from './agent.ts'
import { agentDoor } from './door.ts'
import { gatewayFront } from './front.ts'
import { parseIdentifiers, rankOf } from './identifiers.ts'
import { gatewayLimits } from './limits.ts'
import { AgentTable } from './table.ts'

const warned: object[] = []
const log = {
  info: () => undefined,
  warn: (fields: object) => void warned.push(fields),
  error: () => undefined,
}
const waitMs = { timeout: 15_000, interval: 20 }

let table: AgentTable
let front: HttpServer
let door: HttpServer
let backends: Server[] = []
let agents: { stop(): Promise<void> }[] = []
let sockets: Socket[] = []

beforeEach(async () => {
  table = new AgentTable()
  front = gatewayFront(table, log)
  door = agentDoor(table, { secret: 'open sesame', log })
  await Promise.all([listening(front), listening(door)])
})
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  await Promise.all(agents.map((agent) => agent.stop()))
  for (const server of [front, door]) {
    server.closeAllConnections()
    server.close()
  }
  for (const server of backends) server.close()
  backends = []
  agents = []
  sockets = []
})

async function listening(server: Server | HttpServer): Promise<void> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
}

const portOf = (server: Server | HttpServer): number => (server.address() as AddressInfo).port

/** Says its name, then what it gets, until the other side has said all. */
async function echo(name: string): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.write(`${name}:`)
    socket.pipe(socket)
  })
  backends.push(server)
  await listening(server)
  return portOf(server)
}

function agent(
  name: string,
  identifiers: string,
  secret = 'open sesame',
): { stop(): Promise<void> } {
  const ending = new AbortController()
  const gateway = { host: '127.0.0.1', port: portOf(door) }
  const ended = runGatewayAgent(
    { name, gateway, identifiers, secret, log, onReady: () => undefined },
    ending.signal,
  )
  const one = {
    async stop() {
      ending.abort()
      await ended
    },
  }
  agents.push(one)
  return one
}

const live = (...names: readonly string[]) =>
  vi.waitFor(() => expect(table.names.toSorted()).toEqual(names.toSorted()), waitMs)

/** What comes back for a CONNECT and these bytes after it. */
async function through(target: string, bytes = 'hello'): Promise<{ text: string; ms: number }> {
  const socket = connect({ port: portOf(front), host: '127.0.0.1', allowHalfOpen: true })
  sockets.push(socket)
  const began = performance.now()
  let text = ''
  let ms = 0
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    if (ms === 0) ms = performance.now() - began
    text += chunk
  })
  socket.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`)
  socket.end(bytes)
  await once(socket, 'end')
  return { text, ms }
}

test.each([
  ['ipv4=10.1.2.3', '10.1.2.3', 1_000],
  ['ipv4=10.1.2.3', '10.1.2.4', -1],
  ['ipv6=fd00::1', 'FD00:0::1', 1_000],
  ['host=Metrics.example', 'metrics.EXAMPLE', 1_000],
  ['cidr=10.1.0.0/16&cidr=10.0.0.0/8', '10.1.2.3', 17],
  ['cidr=fd00::/8,default-route=true', 'fd12::1', 9],
  ['default-route=true', 'anything', 0],
  ['cidr=10.0.0.0/8', 'metrics', -1],
] as const)('%s stands for %s with %s', (text, host, rank) => {
  expect(rankOf(parseIdentifiers(text), host)).toBe(rank)
})

test.each([
  '',
  'ipv4=fd00::1',
  'ipv6=10.0.0.1',
  'cidr=10.0.0.1/8',
  'default-route=yes',
  'name=x',
  'host=a b',
  Array.from({ length: gatewayLimits.identifiersMax + 1 }, (_, at) => `host=h${at}`).join(),
])('"%.40s" is no identifier', (text) => {
  expect(() => parseIdentifiers(text)).toThrow(MeshFault)
})

test('bytes pass both ways, and each side may end before the other', async () => {
  const port = await echo('backend')
  agent('one', 'ipv4=127.0.0.1')
  await live('one')
  const big = 'x'.repeat(3_000_000)
  const { text } = await through(`127.0.0.1:${port}`, big)
  expect(text.length).toBe(
    'HTTP/1.1 200 Connection established\r\n\r\nbackend:'.length + big.length,
  )
  await vi.waitFor(() => expect(table.tunnels).toBe(0), waitMs)
})

test('exact host, then the longest range, then the default', async () => {
  const port = await echo('backend')
  const chosen: string[] = []
  const watch = (name: string, identifiers: string): void => {
    const connecting = parseIdentifiers(identifiers)
    table.add({
      name,
      identifiers: connecting,
      async open() {
        chosen.push(name)
        const socket = connect(port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      },
    })
  }
  watch('default', 'default-route=true')
  watch('wide', 'cidr=10.0.0.0/8')
  watch('narrow', 'cidr=10.1.0.0/16')
  watch('exact', 'ipv4=10.1.2.3')
  for (const host of ['10.1.2.3', '10.1.9.9', '10.9.9.9', 'elsewhere.example']) {
    expect((await through(`${host}:80`)).text).toContain('200 Connection established')
  }
  expect(chosen).toEqual(['exact', 'narrow', 'wide', 'default'])
})

test('two agents for one destination share it, and one takes over from the other', async () => {
  const port = await echo('backend')
  const first = agent('first', 'ipv4=127.0.0.1')
  agent('second', 'ipv4=127.0.0.1')
  await live('first', 'second')
  const held = connect(portOf(front), '127.0.0.1')
  sockets.push(held)
  held.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`)
  await once(held, 'data')
  expect((await through(`127.0.0.1:${port}`)).text).toContain('backend:hello')
  await first.stop()
  await live('second')
  expect((await through(`127.0.0.1:${port}`)).text).toContain('backend:hello')
})

test('without a live agent: 503 and the reason, within a second', async () => {
  const nobody = await through('10.1.2.3:80')
  expect(nobody.text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
  expect(nobody.text).toContain('"AGENT_MISSING"')
  expect(nobody.ms).toBeLessThan(1_000)
  const one = agent('one', 'cidr=10.1.0.0/16')
  await live('one')
  await one.stop()
  await live()
  const gone = await through('10.1.2.3:80')
  expect(gone.text).toContain('one stood for 10.1.2.3 and is gone since')
  expect(gone.ms).toBeLessThan(1_000)
})

test('an agent that does not answer is told of within a second', async () => {
  const identifiers = parseIdentifiers('host=slow')
  table.add({ name: 'mute', identifiers, open: () => new Promise(() => undefined) })
  const { text, ms } = await through('slow:80')
  expect(text).toContain('503')
  expect(text).toContain('"AGENT_SILENT"')
  expect(ms).toBeLessThan(1_500) // a loaded machine's second
  expect(table.tunnels).toBe(0)
})

test('a backend that refuses is 502, with whose word that is', async () => {
  const port = await echo('gone')
  for (const server of backends) server.close()
  agent('one', 'ipv4=127.0.0.1')
  await live('one')
  const { text } = await through(`127.0.0.1:${port}`)
  expect(text).toContain('502 Bad Gateway')
  expect(text).toContain('one: connect ECONNREFUSED')
})

test('what is no destination is refused', async () => {
  expect((await through('here')).text).toContain('400 Bad Request')
  expect((await through('here:0')).text).toContain('"TARGET_MALFORMED"')
})

test('an agent with another secret or without identifiers is none', async () => {
  agent('thief', 'default-route=true', 'guess')
  const mend = 'give both ends the same --secret-file'
  const refusal = expect.objectContaining({ reason: 'its secret is another one', mend })
  await vi.waitFor(() => expect(warned).toContainEqual(refusal), waitMs)
  expect(table.names).toEqual([])
})

test('an agent comes back by itself when the gateway was away', async () => {
  door.on('connection', (socket: Socket) => sockets.push(socket))
  agent('one', 'ipv4=127.0.0.1')
  await live('one')
  const port = portOf(door)
  const closed = once(door, 'close')
  door.close()
  for (const socket of sockets) socket.destroy()
  await closed
  await live()
  door = agentDoor(table, { secret: 'open sesame', log })
  door.listen(port, '127.0.0.1')
  await once(door, 'listening')
  await live('one')
})

test('tunnels and agents are bounded', async () => {
  const small = new AgentTable({ agentsMax: 1, tunnelsMax: 1 })
  const port = await echo('backend')
  const one = {
    name: 'one',
    identifiers: parseIdentifiers('default-route=true'),
    async open() {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      return socket
    },
  }
  small.add(one)
  expect(() => small.add({ ...one, name: 'two' })).toThrow('1 agents are there')
  const stream = await small.open('a', 1)
  await expect(small.open('a', 1)).rejects.toMatchObject({ code: 'TUNNELS_MAX', status: 503 })
  stream.destroy()
  await vi.waitFor(() => expect(small.tunnels).toBe(0), waitMs)
  ;(await small.open('a', 1)).destroy()
})
