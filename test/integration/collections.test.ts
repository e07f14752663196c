/**
 * Rules that count over requests, through the real program with two WAF workers: the same counter
 * whatever the protocol and the worker, and still there after a crash.
 */
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { logFrom, startEdge, type RunningEdge } from '../harness/edge.ts'
import { H3Client } from '../harness/h3.ts'
import { metric, until } from '../harness/wait.ts'

const requestsMax = 20
const burst = 4
// The window is longer than any test: what ends is tested in virtual time.
const rules = `
SecAction "id:1000,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}_%{REQUEST_HEADERS.x-client}"
SecAction "id:1001,phase:1,pass,nolog,initcol:global=global"
SecRule IP:DOS_BLOCK "@eq 1" "id:1002,phase:1,deny,status:429,log,msg:'blocked'"
SecRule REQUEST_HEADERS:x-count "@streq window" "id:1003,phase:1,pass,nolog,\\
  setvar:ip.requests=+1,expirevar:ip.requests=600"
SecRule IP:REQUESTS "@gt ${requestsMax}" "id:1004,phase:1,deny,status:429,log,\\
  msg:'too many',logdata:'requests %{ip.requests}'"
SecRule REQUEST_HEADERS:x-count "@streq bursts" "id:1005,phase:5,pass,nolog,\\
  setvar:ip.dos_counter=+1,expirevar:ip.dos_counter=600"
SecRule IP:DOS_COUNTER "@ge ${burst}" "id:1006,phase:5,pass,nolog,\\
  setvar:ip.dos_block=1,expirevar:ip.dos_block=600,setvar:!ip.dos_counter"
`

let folder: string
let configFile: string
let backend: Backend
let edge: RunningEdge
let h3: H3Client

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-collections-'))
  writeFileSync(join(folder, 'rules.conf'), rules)
  configFile = join(folder, 'edge.yaml')
  const waf = {
    setupFiles: ['rules.conf'],
    collections: { file: 'kept.sqlite', saveInterval: '1s' },
  }
  writeFileSync(configFile, JSON.stringify({ waf }))
  backend = await startBackend()
  await start()
}, 120_000)

afterAll(async () => {
  h3.close()
  await edge.stop()
  backend.close()
  rmSync(folder, { recursive: true })
})

function startProgram(): Promise<RunningEdge> {
  const flags = ['--config', configFile, '--backend', backend.url, '--no-redirect']
  return startEdge({ arguments: [...flags, '--workers', '2', '--wire-threads', '2'] })
}

async function start(): Promise<void> {
  edge = await startProgram()
  h3 = new H3Client(edge.httpsPort)
}

type Headers = Readonly<Record<string, string>>

/** The status of one request on a connection of its own. */
const send: Readonly<Record<string, (headers: Headers) => Promise<number>>> = {
  async h1(headers) {
    const sent = request({ port: edge.httpPort, host: '127.0.0.1', agent: false, headers }).end()
    const [response] = await once(sent, 'response')
    response.resume()
    return response.statusCode
  },
  async h2(headers) {
    const session = connect(`https://127.0.0.1:${edge.httpsPort}`, { rejectUnauthorized: false })
    try {
      const stream = session.request({ ':path': '/', ...headers })
      const [response] = await once(stream, 'response')
      stream.resume()
      return Number(response[':status'])
    } finally {
      session.close()
    }
  },
  async h3(headers) {
    const authority = `localhost:${edge.httpsPort}`
    const fields = Object.entries(headers)
    return (await h3.request({ method: 'GET', path: '/', authority, headers: fields })).status ?? 0
  },
}

for (const [protocol, ask] of Object.entries(send)) {
  test(`${protocol}: ${requestsMax} requests per window and client, then 429`, async () => {
    const headers = { 'x-client': `window-${protocol}`, 'x-count': 'window' }
    const begin = logFrom(edge.wafLog, 0).length
    const statuses: number[] = []
    for (let round = 0; round < 6; round += 1) {
      const sent = Array.from({ length: 5 }, () => ask(headers))
      statuses.push(...(await Promise.all(sent)))
    }
    const passed = statuses.filter((status) => status === 200).length
    // Of those that count at once, each may see what the others have counted.
    expect(passed).toBeLessThanOrEqual(requestsMax)
    expect(passed).toBeGreaterThan(requestsMax - 5)
    expect(new Set(statuses)).toEqual(new Set([200, 429]))
    expect(await ask(headers)).toBe(429)
    // No increment of any worker was lost.
    await until('every request is counted', () =>
      logFrom(edge.wafLog, begin).includes(`requests ${statuses.length + 1}`),
    )
    expect(await ask({ ...headers, 'x-client': `other-${protocol}` })).toBe(200)
  }, 60_000)

  test(`${protocol}: a client that sends bursts is blocked by phase 5`, async () => {
    const headers = { 'x-client': `bursts-${protocol}`, 'x-count': 'bursts' }
    for (let index = 0; index < burst; index += 1) expect(await ask(headers)).toBe(200)
    // Phase 5 runs on the outcome, which a worker learns of a moment later.
    await until('blocked', async () => (await ask({ 'x-client': `bursts-${protocol}` })) === 429)
  }, 60_000)
}

test('a reload keeps what was counted', async () => {
  const headers = { 'x-client': 'reload', 'x-count': 'window' }
  for (let index = 0; index <= requestsMax; index += 1) await send['h1']?.(headers)
  const accepted = 'edge_config_reloads_total{result="accepted"}'
  const before = await metric(edge.statusPort, accepted)
  // Another rule, so that the rules are compiled anew.
  appendFileSync(join(folder, 'rules.conf'), 'SecAction "id:1009,phase:1,pass,nolog"\n')
  edge.process.kill('SIGHUP')
  await until('reloaded', async () => (await metric(edge.statusPort, accepted)) > before)
  expect(await send['h1']?.(headers)).toBe(429)
}, 60_000)

test('a successor beside the running program begins with what that one has saved', async () => {
  const headers = { 'x-client': 'handover', 'x-count': 'window' }
  for (let index = 0; index <= requestsMax; index += 1) await send['h1']?.(headers)
  const saves = await saved()
  await until('two saves', async () => (await saved()) >= saves + 2)
  const successor = await startProgram()
  const answer = await fetch(`http://127.0.0.1:${successor.httpPort}/`, { headers })
  expect(answer.status).toBe(429)
  // Both go on saving to one file.
  expect(await send['h1']?.(headers)).toBe(429)
  expect(await successor.stop()).toBe(0)
}, 60_000)

test('what was counted is there after a crash', async () => {
  const headers = { 'x-client': 'crash', 'x-count': 'window' }
  for (let index = 0; index <= requestsMax; index += 1) await send['h1']?.(headers)
  const saves = await saved()
  // Two saves on, what was counted is in the file.
  await until('two saves', async () => (await saved()) >= saves + 2)
  const ended = once(edge.process, 'exit')
  edge.process.kill('SIGKILL')
  await ended
  h3.close()
  await edge.stop()
  await start()
  expect(await send['h1']?.({ 'x-client': 'crash' })).toBe(429)
  expect(await send['h1']?.({ 'x-client': 'no-crash' })).toBe(200)
}, 60_000)

function saved(): Promise<number> {
  return metric(edge.statusPort, 'edge_waf_collections_saves_total')
}
