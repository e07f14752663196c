/** WebSockets as browsers open them (Node's own client, undici's over h2), and behind the WAF. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import * as http2 from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, WebSocket as Undici } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { crsDirectory, startEdge, type RunningEdge } from '../harness/edge.ts'
import { type GoBackend, startGoBackend } from '../harness/go.ts'

const crs = crsDirectory()
if (!crs) console.warn('NOT RUN with CRS: no rule set at EDGE_CRS_DIR or ../shared/crs; own rule')

const directory = mkdtempSync(join(tmpdir(), 'edge-websocket-'))
let backend: GoBackend
let edge: RunningEdge

beforeAll(async () => {
  backend = await startGoBackend(['websocket-backend'])
  const file = join(directory, 'rules.conf')
  const rules = crs ? ['--rules', crs] : ['--waf-setup', file]
  writeFileSync(file, `SecRule ARGS "@detectXSS" "id:1,phase:2,deny,status:403,log,msg:'XSS'"\n`)
  const routes = [
    { name: 'without', path: '/echo/without', upstream: 'default', websocket: false },
    { name: 'with', upstream: 'default' },
  ]
  const upstreams = [{ name: 'default', endpoints: [{ url: `http://${backend.address}` }] }]
  writeFileSync(join(directory, 'edge.yaml'), JSON.stringify({ upstreams, routes }))
  const config = join(directory, 'edge.yaml')
  const flags = ['--config', config, '--no-redirect', '--waf', 'block', ...rules]
  edge = await startEdge({ arguments: flags, readyTimeoutMs: 60_000 })
}, 120_000)

afterAll(async () => {
  const code = await edge.stop()
  await backend.stop()
  rmSync(directory, { recursive: true, force: true })
  expect(code).toBe(0)
}, 60_000)

const attack = `q=${encodeURIComponent('<script>alert(document.cookie)</script>')}`

/** What both clients have of the browser's interface. */
interface Client {
  send(text: string): void
  close(): void
  addEventListener(type: 'open' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number }) => void): void
}

const long = 'x'.repeat(100_000)

/** Says two things once it is open; what came back, or `failed`, and the close code. */
function converse(client: Client): Promise<readonly unknown[]> {
  const seen: unknown[] = []
  return new Promise((resolve) => {
    client.addEventListener('open', () => {
      client.send('hello')
      client.send(long)
    })
    client.addEventListener('message', ({ data }) => {
      seen.push(data === long ? 'long' : data)
      if (seen.length === 2) client.close()
    })
    client.addEventListener('error', () => seen.push('failed'))
    client.addEventListener('close', ({ code }) => resolve([...seen, code]))
  })
}

const echoed = ['hello', 'long', 1005]
const refused = ['failed', 1006]

test("Node's WebSocket, WAF on", async () => {
  const url = `ws://127.0.0.1:${edge.httpPort}`
  expect(await converse(new WebSocket(`${url}/echo`))).toEqual(echoed)
  const before = backend.lines.length
  expect(await converse(new WebSocket(`${url}/echo?${attack}`))).toEqual(refused)
  expect(await converse(new WebSocket(`${url}/echo/without`))).toEqual(refused)
  expect(backend.lines.length).toBe(before)
}, 30_000)

test.each([false, true])(
  "undici's WebSocket over TLS, h2: %s",
  async (allowH2) => {
    const dispatcher = new Agent({ allowH2, connect: { rejectUnauthorized: false } })
    const url = `wss://localhost:${edge.httpsPort}`
    expect(await converse(new Undici(`${url}/echo`, { dispatcher }))).toEqual(echoed)
    await dispatcher.destroy()
  },
  30_000,
)

/** The status of an extended CONNECT, and the first bytes of a tunnel that opened. */
async function extended(path: string): Promise<{ status: number; echo: string }> {
  const url = `https://localhost:${edge.httpsPort}`
  const session = http2.connect(url, { rejectUnauthorized: false })
  await once(session, 'remoteSettings')
  const stream = session.request(
    {
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': path,
      'sec-websocket-version': '13',
      'user-agent': 'Mozilla/5.0',
      accept: '*/*',
      origin: url,
    },
    { endStream: false },
  )
  stream.on('error', () => {})
  const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  const status = Number(head[':status'])
  let echo = ''
  if (status === 200) {
    stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
    echo = String((await once(stream, 'data'))[0]).slice(-2)
  }
  session.destroy()
  return { status, echo }
}

test('an extended CONNECT is inspected as the GET it stands for', async () => {
  expect(await extended('/echo')).toEqual({ status: 200, echo: 'hi' })
  const before = backend.lines.length
  expect(await extended(`/echo?${attack}`)).toMatchObject({ status: 403 })
  expect(await extended('/echo/without')).toMatchObject({ status: 501 })
  expect(backend.lines.length).toBe(before)
}, 30_000)

test('no answer of the edge itself looks like an open tunnel', async () => {
  expect(await extended('/_gwhealthz')).toMatchObject({ status: 403 })
}, 30_000)
