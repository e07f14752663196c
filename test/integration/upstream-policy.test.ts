/** What becomes of requests when endpoints die, flap, fall ill, or are chosen by a policy. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { localCertificate } from '../../proxy/tls/local-ca.ts'
import { startEdge, type RunningEdge } from '../harness/edge.ts'

const folder = mkdtempSync(join(tmpdir(), 'edge-policy-'))
const agent = new Agent({ keepAlive: true, maxSockets: 16 })

/** One endpoint, which may be killed and come back on its port. */
class Endpoint {
  readonly name: string
  isWell = true
  delayMs = 0
  hits = 0
  port = 0
  #server: Server | null = null
  readonly #tls: { readonly cert: string; readonly key: string } | null

  constructor(name: string, tls: { readonly cert: string; readonly key: string } | null = null) {
    this.name = name
    this.#tls = tls
  }

  async start(): Promise<void> {
    const server = this.#tls === null ? createServer() : createTlsServer(this.#tls)
    server.on('request', ({ url = '' }, response) => {
      const isProbe = url === '/health'
      if (!isProbe) this.hits += 1
      response.statusCode = isProbe && !this.isWell ? 500 : 200
      setTimeout(() => response.end(this.name), isProbe ? 0 : this.delayMs)
    })
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    this.port = (server.address() as AddressInfo).port
    this.#server = server
  }

  /** As a process that is killed: nothing listens, and every connection ends. */
  kill(): void {
    this.#server?.close()
    this.#server?.closeAllConnections()
    this.#server = null
  }
}

const endpoints = new Map<string, Endpoint>()
const named = (name: string): Endpoint => {
  const endpoint = endpoints.get(name)
  if (endpoint === undefined) throw new Error(`no endpoint ${name}`)
  return endpoint
}

let edge: RunningEdge

beforeAll(async () => {
  const ca = await localCertificate({ folder, hostname: 'edge-test', now: new Date() })
  const other = await localCertificate({
    folder: join(folder, 'other'),
    hostname: 'edge-test',
    now: new Date(),
  })
  const tls = { cert: readFileSync(ca.certFile, 'utf8'), key: readFileSync(ca.keyFile, 'utf8') }
  for (const name of ['f1', 'f2', 's1', 's2', 'h1', 'h2', 'h3', 'p1', 'p2', 'l1', 'l2']) {
    endpoints.set(name, new Endpoint(name))
  }
  endpoints.set('t1', new Endpoint('t1', tls))
  await Promise.all([...endpoints.values()].map((endpoint) => endpoint.start()))
  const urls = (...names: string[]) =>
    names.map((name) => `{ url: "http://127.0.0.1:${named(name).port}" }`).join(', ')
  const tlsUrl = `{ url: "https://localhost:${named('t1').port}" }`
  const probes = 'health: { path: /health, interval: 200ms, timeout: 200ms }, slowStart: 0'
  const byKey = 'balance: hash, hash: { on: "header:x-key" }'
  const upstreams = [
    `name: flap, endpoints: [${urls('f1', 'f2')}], ejection: { time: 300ms }, slowStart: 500ms`,
    `name: sticky, endpoints: [${urls('s1', 's2')}], balance: sticky`,
    `name: hash, endpoints: [${urls('h1', 'h2', 'h3')}], ${byKey}`,
    `name: probed, endpoints: [${urls('p1', 'p2')}], ${probes}`,
    `name: least, endpoints: [${urls('l1', 'l2')}], balance: least-outstanding`,
    `name: tls, endpoints: [${tlsUrl}], tls: { caFile: "${ca.caFile}" }, ${probes}`,
    `name: wrong, endpoints: [${tlsUrl}], tls: { caFile: "${other.caFile}" }, ${probes}`,
    'name: nowhere, endpoints: [{ url: "http://nowhere.invalid:1" }]',
  ]
  const routes = upstreams.map((upstream) => {
    const name = /^name: (\w+)/.exec(upstream)?.[1] ?? ''
    return `  - { name: ${name}, path: /${name}, upstream: ${name}, websocket: ${name !== 'flap'} }`
  })
  const lines = ['upstreams:', ...upstreams.map((text) => `  - { ${text} }`), 'routes:', ...routes]
  const config = join(folder, 'edge.yaml')
  writeFileSync(config, `${lines.join('\n')}\n`)
  const flags = ['--config', config, '--waf', 'off', '--no-redirect', '--workers', '2']
  edge = await startEdge({ arguments: flags })
}, 60_000)

afterAll(async () => {
  agent.destroy()
  await edge.stop()
  for (const endpoint of endpoints.values()) endpoint.kill()
})

interface Answer {
  readonly status: number
  readonly body: string
  readonly cookies: readonly string[]
}

/** One GET on a kept connection; status 0 when the connection broke. */
function get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const asked = request({ port: edge.httpPort, host: '127.0.0.1', path, agent, headers })
  asked.on('response', (answer) => {
    let body = ''
    answer.setEncoding('utf8').on('data', (text: string) => (body += text))
    const cookies = answer.headers['set-cookie'] ?? []
    answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body, cookies }))
  })
  asked.on('error', () => resolve({ status: 0, body: '', cookies: [] }))
  asked.setTimeout(10_000, () => asked.destroy())
  asked.end()
  return promise
}

/** Sum of the samples of a family whose labels include all of `labels`. */
async function metric(family: string, ...labels: string[]): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${edge.statusPort}/metrics`)).text()
  return text
    .split('\n')
    .filter(
      (line) => line.startsWith(`${family}{`) && labels.every((label) => line.includes(label)),
    )
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not come true in 15 s')
    await sleep(50)
  }
}

test('one of two endpoints dies and flaps: 99.9 % succeed, with few retries', async () => {
  const counts = new Map<number, number>()
  let running = true
  const clients = Array.from({ length: 8 }, async () => {
    while (running) {
      const { status } = await get('/flap')
      counts.set(status, (counts.get(status) ?? 0) + 1)
      await sleep(2)
    }
  })
  const ill = named('f1')
  for (let turn = 0; turn < 3; turn += 1) {
    await sleep(700)
    ill.kill()
    await sleep(700)
    await ill.start()
  }
  await sleep(700)
  running = false
  await Promise.all(clients)
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0)
  const good = counts.get(200) ?? 0
  expect(all).toBeGreaterThan(500)
  expect(good / all, JSON.stringify([...counts])).toBeGreaterThanOrEqual(0.999)
  expect(await metric('edge_upstream_retries_total', 'upstream="flap"')).toBeLessThan(0.1 * all)
  // It is well again, so it is used again.
  const { hits } = ill
  await until(async () => (await get('/flap')).status === 200 && ill.hits > hits)
}, 60_000)

test('a sticky client stays where it is, until its endpoint dies', async () => {
  const first = await get('/sticky')
  const [cookie = ''] = first.cookies
  expect(cookie).toMatch(/^edge_sticky=[\w-]{22}; Path=\/; HttpOnly; SameSite=Lax$/)
  const headers = { cookie: cookie.slice(0, cookie.indexOf(';')) }
  for (let turn = 0; turn < 20; turn += 1) {
    expect(await get('/sticky', headers)).toEqual({ status: 200, body: first.body, cookies: [] })
  }
  named(first.body).kill()
  const moved = async () => {
    const answer = await get('/sticky', headers)
    expect(answer.status).toBe(200)
    return answer.cookies.length === 1 && !answer.cookies[0]?.startsWith(headers.cookie)
  }
  await until(moved)
}, 30_000)

test('a key has its endpoint, and its keys alone move when an endpoint dies', async () => {
  const keys = Array.from({ length: 60 }, (_, index) => `key-${index}`)
  const homes = async () => {
    const answers = await Promise.all(keys.map((key) => get('/hash', { 'x-key': key })))
    return answers.map(({ status, body }) => (status === 200 ? body : `status ${status}`))
  }
  const before = await homes()
  expect(new Set(before)).toEqual(new Set(['h1', 'h2', 'h3']))
  expect(await homes()).toEqual(before)
  named('h2').kill()
  const after = await homes()
  expect(after.filter((home, index) => home !== before[index] && before[index] !== 'h2')).toEqual(
    [],
  )
  expect(new Set(after)).toEqual(new Set(['h1', 'h3']))
})

test('probes take an endpoint out and back in', async () => {
  const ill = named('p1')
  const healthy = (count: number) => async () =>
    (await metric('edge_upstream_endpoints', 'upstream="probed"', 'state="healthy"')) === count
  await until(healthy(2))
  ill.isWell = false
  await until(healthy(1))
  const { hits } = ill
  for (let turn = 0; turn < 20; turn += 1) expect((await get('/probed')).body).toBe('p2')
  expect(ill.hits).toBe(hits)
  ill.isWell = true
  await until(healthy(2))
  await until(async () => (await get('/probed')).body === 'p1')
}, 60_000)

test('a slow endpoint gets fewer requests', async () => {
  named('l1').delayMs = 100
  const endMs = Date.now() + 1_500
  const clients = Array.from({ length: 8 }, async () => {
    while (Date.now() < endMs) expect((await get('/least')).status).toBe(200)
  })
  await Promise.all(clients)
  expect(named('l1').hits).toBeGreaterThan(0)
  expect(named('l2').hits).toBeGreaterThan(1.5 * named('l1').hits)
})

test('TLS towards endpoints is verified, for requests and for probes', async () => {
  expect(await get('/tls')).toMatchObject({ status: 200, body: 't1' })
  expect((await get('/wrong')).status).toBe(502)
  const of = (upstream: string, state: string) =>
    metric('edge_upstream_endpoints', `upstream="${upstream}"`, `state="${state}"`)
  await until(async () => (await of('wrong', 'unhealthy')) === 1)
  expect(await of('tls', 'healthy')).toBe(1)
}, 30_000)

test('a name that does not resolve is no reason not to start', async () => {
  expect((await get('/nowhere')).status).toBe(503)
  const told = (text: string) => until(async () => edge.output().includes(text))
  await told('a name of an endpoint does not resolve')
  await told('"error.type":"NO_HEALTHY_ENDPOINT"')
})

test('a WebSocket is refused where the route says so', async () => {
  const { promise, resolve } = Promise.withResolvers<number>()
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  }
  const asked = request({ port: edge.httpPort, host: '127.0.0.1', path: '/flap', headers })
  asked.on('response', (answer) => {
    answer.resume()
    resolve(answer.statusCode ?? 0)
  })
  asked.on('error', () => resolve(0))
  asked.end()
  expect(await promise).toBe(501)
})
