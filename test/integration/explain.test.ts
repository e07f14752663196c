/** The id on the block page is the one that `edge explain` takes, whatever the protocol. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Backend, startBackend } from '../harness/backend.ts'
import { root, type RunningEdge, startEdge } from '../harness/edge.ts'
import { explained, explainedSoon } from '../harness/explained.ts'
import { H3Client } from '../harness/h3.ts'

const rules = `SecAuditLogParts ABCFHKZ
SecRule ARGS:q "@rx (?i)sel(ect)" "id:100,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase,\\
  capture,msg:'SQL',logdata:'%{TX.0}',severity:CRITICAL,tag:'attack-sqli',tag:'paranoia-level/1',\\
  setvar:tx.inbound_anomaly_score_pl1=+5,setvar:tx.score=+5"
SecRule TX:score "@ge 5" "id:200,phase:2,deny,status:403,t:none,msg:'Too much'"
`

let backend: Backend
let edge: RunningEdge
let folder = ''
const admin = (): string => `unix:${join(folder, 'admin.sock')}`

beforeAll(async () => {
  backend = await startBackend()
  folder = mkdtempSync(join(tmpdir(), 'edge-explain-'))
  const setup = join(folder, 'own.conf')
  writeFileSync(setup, rules)
  writeFileSync(join(folder, 'edge.yaml'), 'waf: { rules: null }\n')
  edge = await startEdge({
    arguments: [
      '--backend',
      backend.url,
      '--no-redirect',
      '--waf-setup',
      setup,
      '--admin',
      admin(),
    ],
    environment: {
      EDGE_WAF_EVENTS_FILE: join(folder, 'events.db'),
      EDGE_WAF_AUDIT_LOG_FILE: join(folder, 'audit.log'),
    },
  })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  backend.close()
  rmSync(folder, { recursive: true })
})

const path = '/a?q=x%2520SELECT%0a&password=hunter2'

async function overH1(): Promise<{ id: string; page: string }> {
  const answer = await fetch(`http://127.0.0.1:${edge.httpPort}${path}`)
  expect(answer.status).toBe(403)
  return { id: answer.headers.get('x-request-id') ?? '', page: await answer.text() }
}

async function overH2(): Promise<{ id: string; page: string }> {
  const session = connect(`https://127.0.0.1:${edge.httpsPort}`, { rejectUnauthorized: false })
  const stream = session.request({ ':path': path })
  const [head] = await once(stream, 'response')
  let page = ''
  for await (const chunk of stream.setEncoding('utf8')) page += chunk
  session.close()
  return { id: String(head['x-request-id']), page }
}

async function overH3(): Promise<{ id: string; page: string }> {
  const client = new H3Client(edge.httpsPort)
  const request = { method: 'GET', path, authority: 'localhost', headers: [] }
  const { headers, body } = await client.request(request)
  client.close()
  const id = headers.find(([name]) => name === 'x-request-id')?.[1] ?? ''
  return { id, page: body.toString('utf8') }
}

interface Page {
  readonly events: readonly Record<string, unknown>[]
  readonly next: number | null
}

async function events(query: string): Promise<Page> {
  const sent = request({ socketPath: join(folder, 'admin.sock'), path: `/events?${query}` })
  const [response] = await once(sent.end(), 'response')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return JSON.parse(text)
}

test.each([
  ['h1', overH1],
  ['h2', overH2],
  ['h3', overH3],
] as const)(
  'over %s the page names the id that explain takes',
  async (_, block) => {
    const { id, page } = await block()
    expect(id).not.toBe('')
    expect(page).toContain(id)
    const { code, out } = await explainedSoon(id, '--admin', admin())
    expect(code).toBe(0)
    expect(out).toContain('Stopped by 200 "Too much" in phase 2')
    expect(out).toContain('5 points from the rules below; the threshold is 5')
    expect(out).toContain('+5 = 5  100  SQL (critical, paranoia level 1)')
    expect(out).toMatch(/as received +x%20SELECT\\x0a\n +t:urlDecodeUni +x SELECT\\x0a\n/)
    expect(out).toMatch(/t:lowercase +x select\\x0a\n +found +select\n/)
    expect(out).toContain('ctl:ruleRemoveTargetById=100;ARGS:q')
    expect(out).not.toContain('hunter2')
  },
  60_000,
)

test('the file of the events and the audit log tell of it, too', async () => {
  const { id } = await overH1()
  const [stored, audit] = [join(folder, 'events.db'), join(folder, 'audit.log')]
  expect((await explainedSoon(id, '--file', stored)).out).toContain('Stopped by 200')
  expect((await explainedSoon(id, '--file', audit)).out).toContain('Stopped by 200')
  const line =
    readFileSync(audit, 'utf8')
      .split('\n')
      .find((one) => one.includes(id)) ?? ''
  expect(JSON.parse(line)).toMatchObject({
    transaction: {
      request: { uri: '/a?q=x%2520SELECT%0a&password=*******' },
      messages: [
        { details: { ruleId: '100', reference: 'o2,6o5,3t:urlDecodeUni,t:lowercase' } },
        { details: { ruleId: '200' } },
      ],
      matched_rules: [{ ruleId: '100' }, { ruleId: '200' }],
    },
  })
})

test('explain writes JSON, edge.yaml and Helm values', async () => {
  const { id } = await overH1()
  const { code, out } = await explainedSoon(id, '--admin', admin(), '--json')
  expect(code).toBe(0)
  expect(JSON.parse(out)).toMatchObject({
    event: { 'request.id': id, 'event.name': 'edge.waf.deny' },
    exclusion: { rules: [{ ruleId: 100, targets: [{ variable: 'ARGS', name: 'q' }] }] },
  })
  const yaml = (await explained(id, '--admin', admin(), '--as', 'yaml')).out
  expect(yaml).toContain('waf:\n  exclusions:\n    - rules: [100]\n      targets: ["ARGS:q"]\n')
  const helm = (await explained(id, '--admin', admin(), '--as', 'helm')).out
  expect(helm).toContain('config:\n  waf:\n    exclusions:\n      - rules: [100]\n')
})

test('the API pages through events and filters them', async () => {
  for (let count = 0; count < 3; count += 1) {
    const { id } = await overH1()
    await explainedSoon(id, '--admin', admin())
  }
  const first = await events('limit=2&rule=100&blocked=true&path=/a')
  expect(first.events).toHaveLength(2)
  const second = await events(`limit=2&cursor=${first.next}`)
  const ids = [...first.events, ...second.events].map((event) => event['request.id'])
  expect(new Set(ids).size).toBe(ids.length)
  expect((await events('rule=999')).events).toEqual([])
})

test('an unknown id is a problem, a dead API a failure, a wrong flag a usage error', async () => {
  const unknown = await explained('no-such-request', '--admin', admin())
  expect(unknown.code).toBe(3)
  expect(unknown.err).toContain('no event of request no-such-request')
  const codes: number[] = []
  for (const args of [
    ['x', '--admin', `unix:${join(folder, 'none.sock')}`],
    ['x', '--file', join(folder, 'none.db')],
    [],
    ['x'],
    ['x', '--admin', 'nonsense'],
    ['x', '--admin', admin(), '--as', 'xml'],
    ['x', 'y', '--admin', admin()],
  ]) {
    codes.push((await explained(...args)).code)
  }
  expect(codes).toEqual([1, 1, 2, 2, 2, 2, 2])
})

test('the command itself ends with that code', () => {
  const args = ['explain', 'no-such-request', '--admin', admin()]
  const { status, stderr } = spawnSync(join(root, 'edge'), args, { encoding: 'utf8' })
  expect([status, stderr.includes('no event')]).toEqual([3, true])
}, 60_000)
