/** `waf.service`: proxies that ask another program, and that program, both as they are run. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import * as http from 'node:http'
import { type Server, type Socket, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backend, startBackend } from '../harness/backend.ts'
import { type RunningEdge, freePort, logFrom, startEdge } from '../harness/edge.ts'
import { explainedSoon } from '../harness/explained.ts'
import { metric, until } from '../harness/wait.ts'
import { type RunningWafService, startWafService } from '../harness/waf-service.ts'

const rules = `
SecRuleEngine On
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain
SecRule ARGS "@contains attack" "id:1,phase:2,deny,status:406,log,msg:'An attack'"
SecRule REQUEST_HEADERS:X-Odd "@streq yes" "id:2,phase:1,deny,status:403,log"
SecRule REQUEST_HEADERS:X-Go "@streq away" "id:3,phase:1,redirect:https://x.example/,status:302"
SecRule REMOTE_ADDR "!@ipMatch 127.0.0.1" "id:4,phase:1,deny,status:500"
SecRule RESPONSE_HEADERS:X-Leak "@streq yes" "id:5,phase:3,deny,status:451,log"
SecRule RESPONSE_BODY "@contains secret" "id:6,phase:4,deny,status:418,log"
SecRule ARGS:note "@streq it" "id:7,phase:2,pass,log"
`

let folder = ''
let setup = ''
let backend: Backend
const file = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

interface Reply {
  readonly status: number
  readonly body: string
  readonly id: string
  readonly location: string | undefined
}

async function ask(
  { httpPort }: Pick<RunningEdge, 'httpPort'>,
  path: string,
  options: { readonly headers?: Record<string, string>; readonly body?: string | Buffer } = {},
): Promise<Reply> {
  const method = options.body === undefined ? 'GET' : 'POST'
  const type = { 'content-type': 'application/x-www-form-urlencoded' }
  const headers = { ...(options.body === undefined ? {} : type), ...options.headers }
  const request = http.request({ port: httpPort, agent: false, path, method, headers })
  request.end(options.body)
  const answered = once(request, 'response') as Promise<[http.IncomingMessage]>
  const [response] = await answered
  let body = ''
  for await (const piece of response) body += String(piece)
  return {
    status: response.statusCode ?? 0,
    body,
    id: String(response.headers['x-request-id']),
    location: response.headers.location,
  }
}

async function accessLineOf(edge: RunningEdge, id: string): Promise<string> {
  const find = (): string | undefined =>
    edge
      .output()
      .split('\n')
      .find((line) => line.includes('"log":"access"') && line.includes(id))
  await until('the access log has it', () => find() !== undefined)
  return find() ?? ''
}

const base = (): string[] => ['--config', join(folder, 'edge.yaml'), '--waf-setup', setup]

function startService(options: Parameters<typeof startWafService>[1] = {}) {
  return startWafService(base(), options)
}

function startProxy(ports: readonly number[], config = 'edge.yaml'): Promise<RunningEdge> {
  const services = ports.flatMap((port) => ['--waf-service', `127.0.0.1:${port}`])
  const flags = ['--config', join(folder, config), '--waf-setup', setup, ...services]
  const args = [...flags, '--backend', backend.url, '--no-redirect']
  return startEdge({ arguments: args, readyTimeoutMs: 100_000 })
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-waf-service-test-'))
  file('edge.yaml', 'waf: { rules: null, service: { timeout: 3s } }\n')
  setup = file('rules.conf', rules)
  backend = await startBackend()
})

afterAll(() => {
  backend.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('a proxy and its service', () => {
  let service: RunningWafService
  let edge: RunningEdge
  let admin = ''
  beforeAll(async () => {
    service = await startService()
    admin = `unix:${join(folder, 'admin.sock')}`
    const flags = [...base(), '--waf-service', `127.0.0.1:${service.port}`]
    edge = await startEdge({
      arguments: [...flags, '--backend', backend.url, '--no-redirect', '--admin', admin],
    })
  }, 180_000)
  afterAll(async () => {
    expect(await edge?.stop()).toBe(0)
    expect(await service?.stop()).toBe(0)
  }, 180_000)

  test('the proxy has no rules of its own', () => {
    expect(edge.output()).toContain('rules=service')
  })

  const reflection = (headers: Record<string, string>, body: string): string =>
    JSON.stringify({ status: 200, headers: { 'content-type': 'text/plain', ...headers }, body })
  const json = { 'content-type': 'application/json' }
  const cases: readonly [string, string, Parameters<typeof ask>[2], number][] = [
    ['a clean request', '/?a=b', {}, 200],
    ['an attack in the query', '/?a=attack', {}, 406],
    ['one in phase 1', '/', { headers: { 'x-odd': 'yes' } }, 403],
    ['a redirect', '/', { headers: { 'x-go': 'away' } }, 302],
    ['a clean body', '/', { body: 'a=b' }, 200],
    ['an attack in a body', '/', { body: 'a=attack' }, 406],
    ['a long clean body', '/echo', { body: `a=${'b'.repeat(1_000_000)}` }, 200],
    ['an attack at the end of one', '/', { body: `b=${'b'.repeat(1_000_000)}&a=attack` }, 406],
    ['a clean response', '/reflect', { headers: json, body: reflection({}, 'a page') }, 200],
    [
      'a header of the response',
      '/reflect',
      { headers: json, body: reflection({ 'x-leak': 'yes' }, 'a page') },
      451,
    ],
    [
      'a body of the response',
      '/reflect',
      { headers: json, body: reflection({}, 'a se\u0063ret') },
      418,
    ],
  ]
  for (const [name, path, options, status] of cases)
    test(`the service judges ${name}`, async () => {
      const offset = logFrom(edge.wafLog, 0).length
      const reply = await ask(edge, path, options)
      expect(reply.status).toBe(status)
      const lines = logFrom(edge.wafLog, offset)
      if (status === 200) expect(lines).toBe('')
      else if (status !== 302) expect(lines).toContain(reply.id)
    }, 30_000)

  test('what it judged is told by log, metrics and `edge explain`', async () => {
    const { id, status } = await ask(edge, '/?b=an%20attack')
    expect(status).toBe(406)
    const told = await explainedSoon(id, '--admin', admin)
    expect(told.out).toContain('An attack')
    expect(told.out).toContain('an attack')
    const line = await accessLineOf(edge, id)
    expect(line).toContain('"edge.waf.verdict":"deny"')
    expect(line).toContain('"edge.waf.rules":[1]')
    const series = 'edge_waf_requests_total{route="default",mode="block",verdict="deny"}'
    await until('it counts', async () => (await metric(edge.statusPort, series)) >= 1)
  }, 30_000)

  test('a match that does not stop is told as well', async () => {
    const { id, status } = await ask(edge, '/?note=it')
    expect(status).toBe(200)
    const line = await accessLineOf(edge, id)
    expect(line).toContain('"edge.waf.rules":[7]')
  }, 30_000)

  test('the seed’s calls are answered beside the questions', async () => {
    const url = `http://127.0.0.1:${service.httpPort}`
    const call = JSON.stringify({ method: 'GET', uri: '/?a=attack', remote_addr: '127.0.0.1' })
    const answer = await fetch(`${url}/evaluate`, { method: 'POST', body: call })
    expect(answer.status).toBe(403)
    expect(await answer.json()).toMatchObject({ allowed: false, rule_id: 1 })
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: 'healthy' })
  })
})

/** Takes connections and says nothing. */
async function blackHole(): Promise<{ readonly server: Server; readonly port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)))
  server.on('close', () => sockets.forEach((socket) => socket.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return { server, port: typeof address === 'object' && address ? address.port : 0 }
}

describe('what cannot be asked', () => {
  test('nobody there: waf.onFailure, with a code', async () => {
    const port = await freePort()
    file('pass.yaml', 'waf: { rules: null, onFailure: pass }\n')
    const [denying, passing] = await Promise.all([
      startProxy([port]),
      startProxy([port], 'pass.yaml'),
    ])
    const [denied, passed] = await Promise.all([ask(denying, '/?a=b'), ask(passing, '/?a=b')])
    expect([denied.status, passed.status]).toEqual([503, 200])
    await until('the code is logged', () => denying.output().includes('WAF_SERVICE_UNAVAILABLE'))
    await until('so is the failure', () => passing.output().includes('"edge.waf.verdict":"failed"'))
    expect(await Promise.all([denying.stop(), passing.stop()])).toEqual([0, 0])
  }, 180_000)

  test('a black hole costs the deadline and no more', async () => {
    const { server, port } = await blackHole()
    file('brief.yaml', 'waf: { rules: null, budget: 50ms, service: { timeout: 200ms } }\n')
    const edge = await startProxy([port], 'brief.yaml')
    const begun = performance.now()
    expect((await ask(edge, '/')).status).toBe(503)
    expect(performance.now() - begun).toBeLessThan(10_000)
    server.close()
    expect(await edge.stop()).toBe(0)
  }, 180_000)

  test('other rules are no rules: the question is refused', async () => {
    const other = file('other.conf', `${rules}\nSecRule ARGS:x "@streq y" "id:8,phase:2,deny"\n`)
    const service = await startWafService([
      '--config',
      join(folder, 'edge.yaml'),
      '--waf-setup',
      other,
    ])
    const edge = await startProxy([service.port])
    expect((await ask(edge, '/')).status).toBe(503)
    await until('the code is logged', () => edge.output().includes('WAF_RULES_UNKNOWN'))
    expect(await edge.stop()).toBe(0)
    expect(await service.stop()).toBe(0)
  }, 180_000)

  test('who does not know the secret neither asks nor answers', async () => {
    const secret = file('secret', 'a long and random text\n')
    file('known.yaml', `waf: { rules: null, service: { secretFile: ${secret} } }\n`)
    const service = await startWafService([
      '--config',
      join(folder, 'known.yaml'),
      '--waf-setup',
      setup,
    ])
    const [known, unknown] = await Promise.all([
      startProxy([service.port], 'known.yaml'),
      startProxy([service.port]),
    ])
    expect((await ask(known, '/?a=attack')).status).toBe(406)
    expect((await ask(unknown, '/?a=attack')).status).toBe(503)
    expect(await Promise.all([known.stop(), unknown.stop(), service.stop()])).toEqual([0, 0, 0])
  }, 180_000)
})

describe('what the service does on its side', () => {
  test('a worker that dies over a question takes no verdict along', async () => {
    const service = await startService({ environment: { EDGE_TEST_HOOKS: '1' } })
    const edge = await startProxy([service.port])
    const headers = { 'x-edge-test': 'exit-once' }
    expect((await ask(edge, '/?a=attack', { headers })).status).toBe(406)
    expect((await ask(edge, '/', { headers, body: 'a=attack' })).status).toBe(406)
    expect(service.output()).toContain('its exchanges go to others')
    // One that takes two workers down is refused.
    expect((await ask(edge, '/', { headers: { 'x-edge-test': 'exit' } })).status).toBe(503)
    await until('the code is logged', () => edge.output().includes('WAF_POISON'))
    expect(await edge.stop()).toBe(0)
    expect(await service.stop()).toBe(0)
  }, 180_000)

  test('a service that hangs costs the deadline, and is asked again when it goes on', async () => {
    const service = await startService()
    file('brief.yaml', 'waf: { rules: null, budget: 50ms, service: { timeout: 500ms } }\n')
    const edge = await startProxy([service.port], 'brief.yaml')
    await until('it answers', async () => (await ask(edge, '/?a=attack')).status === 406, 60_000)
    service.process.kill('SIGSTOP')
    // A wire thread that had not asked yet finds nobody; one that had waits in vain.
    await until('the code is logged', async () => {
      expect((await ask(edge, '/')).status).toBe(503)
      return edge.output().includes('WAF_SERVICE_TIMEOUT')
    })
    service.process.kill('SIGCONT')
    await until('it answers', async () => (await ask(edge, '/?a=attack')).status === 406, 60_000)
    expect(await edge.stop()).toBe(0)
    expect(await service.stop()).toBe(0)
  }, 180_000)

  test('the audit log is the proxy’s, with the status that the client got', async () => {
    const audit = join(folder, 'audit.log')
    file('audit.yaml', `waf: { rules: null, auditLogFile: ${audit}, service: { timeout: 3s } }\n`)
    const flags = ['--config', join(folder, 'audit.yaml'), '--waf-setup', setup]
    const service = await startWafService(flags)
    const edge = await startProxy([service.port], 'audit.yaml')
    const [passed, denied] = [await ask(edge, '/?note=it'), await ask(edge, '/?a=attack')]
    expect([passed.status, denied.status]).toEqual([200, 406])
    const records = (): string[] => logFrom(audit, 0).split('\n')
    const recordOf = (id: string): string => records().find((line) => line.includes(id)) ?? ''
    await until('both are written', () => recordOf(passed.id) !== '' && recordOf(denied.id) !== '')
    expect(recordOf(passed.id)).toContain('"http_code":200')
    expect(recordOf(denied.id)).toContain('"http_code":406')
    expect(await edge.stop()).toBe(0)
    expect(await service.stop()).toBe(0)
  }, 180_000)
})

describe('what goes away', () => {
  test('a service that is killed and comes back is found again', async () => {
    const service = await startService()
    const edge = await startProxy([service.port])
    expect((await ask(edge, '/?a=attack')).status).toBe(406)
    service.process.kill('SIGKILL')
    await once(service.process, 'exit')
    expect((await ask(edge, '/')).status).toBe(503)
    const again = await startService({ port: service.port })
    // Each wire thread finds it by itself.
    const answers = async (): Promise<number[]> => {
      const asked = Array.from({ length: 8 }, (_, index) =>
        ask(edge, index % 2 === 0 ? '/' : '/?a=attack'),
      )
      return (await Promise.all(asked)).map(({ status }) => status)
    }
    const right = JSON.stringify([200, 406, 200, 406, 200, 406, 200, 406])
    await until('all is well', async () => JSON.stringify(await answers()) === right, 60_000)
    expect(await edge.stop()).toBe(0)
    expect(await again.stop()).toBe(0)
    await service.stop()
  }, 180_000)

  test('of two services one may be told to end, or killed: the other one judges', async () => {
    const [one, two] = await Promise.all([startService(), startService()])
    const edge = await startProxy([one.port, two.port])
    const counts = { asked: 0, wrong: [] as number[] }
    let isOver = false
    const client = async (): Promise<void> => {
      while (!isOver) {
        const attack = counts.asked % 2 === 0
        counts.asked += 1
        const body = counts.asked % 3 === 0 ? { body: `a=${attack ? 'attack' : 'b'}` } : {}
        const { status } = await ask(edge, `/?a=${attack ? 'attack' : 'b'}`, body)
        if (status !== (attack ? 406 : 200)) counts.wrong.push(status)
      }
    }
    const clients = Array.from({ length: 4 }, client)
    const after = async (more: number): Promise<void> => {
      const from = counts.asked
      await until('requests go on', () => counts.asked >= from + more, 60_000)
    }
    await after(40)
    // Told to end: it answers what it was asked, and sends its proxies elsewhere.
    expect(await one.stop()).toBe(0)
    await after(40)
    const third = await startService({ port: one.port })
    await until(
      'it is asked again',
      async () => {
        await after(10)
        return (await openedConnections(edge)) > 2
      },
      60_000,
    )
    expect(counts.wrong).toEqual([])
    two.process.kill('SIGKILL')
    await after(40)
    isOver = true
    await Promise.all(clients)
    // What it knew of the exchanges that wait for their response is gone with it: waf.onFailure.
    expect(counts.wrong.filter((status) => status !== 503)).toEqual([])
    expect(counts.wrong.length).toBeLessThanOrEqual(clients.length)
    expect(await edge.stop()).toBe(0)
    expect(await third.stop()).toBe(0)
    await two.stop()
  }, 180_000)
})

function openedConnections({ statusPort }: RunningEdge): Promise<number> {
  return metric(statusPort, 'edge_waf_service_connections_total')
}
