/**
 * Responses whose bodies the rules read, on every protocol: what crosses to the worker, what is
 * held, what the client gets.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { H3Client } from '../harness/h3.ts'
import { metric, until } from '../harness/wait.ts'

const limitBytes = 64
const rules = `SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html
SecResponseBodyLimit ${limitBytes}
SecRule RESPONSE_BODY "@rx ." "id:1,phase:3,deny,status:418"
SecRule RESPONSE_HEADERS:X-Leak "@streq yes" "id:2,phase:3,deny,status:451"
SecRule RESPONSE_HEADERS:X-Open "@streq yes" "id:3,phase:3,pass,ctl:responseBodyAccess=Off"
SecRule RESPONSE_BODY "@contains secret" "id:4,phase:4,deny,status:403"
SecRule OUTBOUND_DATA_ERROR "@eq 1" "id:5,phase:4,deny,status:409,chain"
SecRule REQUEST_URI "@contains strict" "t:none"
`

const html = { 'content-type': 'text/html; charset=utf-8' }
const secretAt = (bytes: number): string => `${'x'.repeat(bytes)}secret`

/** Pieces of a body, so that no two come in one packet; then its end, or none. */
async function pieces(response: http.ServerResponse, texts: readonly string[], ends = true) {
  for (const text of texts) {
    response.write(text)
    await sleep(40)
  }
  if (ends) response.end()
}

function answer(request: http.IncomingMessage, response: http.ServerResponse): void {
  const path = request.url ?? ''
  const send = (text: string, headers: Record<string, string> = html): void => {
    response.writeHead(200, { ...headers, 'content-length': text.length }).end(text)
  }
  if (path === '/page') return send('a page')
  if (path === '/leak') return send('a secret')
  if (path === '/type') return send('a secret', { 'content-type': 'image/png' })
  if (path === '/untyped') return send('a secret', {})
  if (path === '/open') return send('a secret', { ...html, 'x-open': 'yes' })
  if (path === '/full') return send('x'.repeat(limitBytes))
  if (path === '/long') return send(secretAt(2 * limitBytes))
  if (path === '/long-strict') return send('x'.repeat(2 * limitBytes))
  if (path === '/long-leak') return send(`secret${'x'.repeat(2 * limitBytes)}`)
  response.writeHead(200, path.startsWith('/head') ? { ...html, 'x-leak': 'yes' } : html)
  if (path === '/slow') return void pieces(response, ['a sec', 'ret', ' page'])
  if (path === '/slow-page') return void pieces(response, ['a ', 'slow ', 'page'])
  if (path === '/long-slow') return void pieces(response, ['x'.repeat(limitBytes), 'secret'])
  if (path === '/broken' || path === '/head-broken') {
    response.write('half a page')
    return void sleep(40).then(() => response.destroy())
  }
  if (path === '/hang') return void pieces(response, ['half a page'], false)
  if (path === '/trailers') response.addTrailers({ 'x-checksum-a': 'sum' })
  response.end('with trailers')
}

interface Answer {
  readonly status: number
  readonly body: string
  readonly fields: Readonly<Record<string, unknown>>
}

interface Target {
  readonly edge: RunningEdge
  readonly h3: H3Client
}

type Ask = (target: Target, path: string, method?: string) => Promise<Answer>

const overH1: Ask = async ({ edge }, path, method = 'GET') => {
  const headers = { te: 'trailers', connection: 'te' }
  const request = http.request({ port: edge.httpPort, agent: false, path, method, headers })
  const answered = once(request.end(), 'response') as Promise<[http.IncomingMessage]>
  const [response] = await answered
  let body = ''
  for await (const piece of response) body += String(piece)
  const fields = { ...response.headers, ...response.trailers }
  return { status: response.statusCode ?? 0, body, fields }
}

const overH2: Ask = async ({ edge }, path, method = 'GET') => {
  const url = `https://localhost:${edge.httpsPort}`
  const session = http2.connect(url, { rejectUnauthorized: false })
  const stream = session.request({ ':method': method, ':path': path })
  let fields: Record<string, unknown> = {}
  for (const section of ['response', 'trailers'])
    stream.on(section, (found) => (fields = { ...fields, ...found }))
  let body = ''
  for await (const piece of stream) body += String(piece)
  session.close()
  return { status: Number(fields[':status']), body, fields }
}

const overH3: Ask = async ({ h3 }, path, method = 'GET') => {
  const answered = await h3.request({ method, path, authority: 'localhost', headers: [] })
  const { status, headers, body } = answered
  return { status, body: String(body), fields: Object.fromEntries(headers) }
}

let backend: http.Server
let folder = ''
const targets: Record<'rejecting' | 'partial', Target | null> = { rejecting: null, partial: null }

function target(name: keyof typeof targets): Target {
  const found = targets[name]
  if (found === null) throw new Error(`${name} did not start`)
  return found
}

async function start(action: string): Promise<Target> {
  const setup = join(folder, `${action}.conf`)
  writeFileSync(setup, `${rules}SecResponseBodyLimitAction ${action}\n`)
  const { port } = backend.address() as AddressInfo
  const flags = ['--config', join(folder, 'edge.yaml'), '--backend', `http://127.0.0.1:${port}`]
  const edge = await startEdge({ arguments: [...flags, '--no-redirect', '--waf-setup', setup] })
  return { edge, h3: new H3Client(edge.httpsPort) }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-responses-'))
  writeFileSync(join(folder, 'edge.yaml'), 'waf: { rules: null }\n')
  backend = http.createServer(answer).listen(0, '127.0.0.1')
  await once(backend, 'listening')
  targets.rejecting = await start('Reject')
  targets.partial = await start('ProcessPartial')
}, 120_000)

afterAll(async () => {
  for (const found of Object.values(targets)) {
    found?.h3.close()
    expect(await found?.edge.stop()).toBe(0)
  }
  backend.closeAllConnections()
  backend.close()
  rmSync(folder, { recursive: true })
}, 60_000)

const records = ({ edge }: Target): Promise<number> =>
  metric(edge.statusPort, 'edge_waf_records_total')

/** How many records a worker gets for one such request, its outcome included. */
async function recordsOf(found: Target, asked: () => Promise<unknown>): Promise<number> {
  const count = 5
  // What came before has told its outcome, too.
  await until('nothing is on its way', async () => {
    const before = await records(found)
    await sleep(30)
    return (await records(found)) === before
  })
  const before = await records(found)
  for (let index = 0; index < count; index += 1) await asked()
  let now = before
  await until('the outcomes are told', async () => {
    now = await records(found)
    return now >= before + 3 * count
  })
  await sleep(30)
  return ((await records(found)) - before) / count
}

/** Head, response and outcome. */
const oneCrossing = 3

describe.each(Object.entries({ h1: overH1, h2: overH2, h3: overH3 }))('%s', (name, ask) => {
  const crossings: readonly [string, number][] = [
    ['/page', 200],
    ['/leak', 403],
    ['/type', 200],
    ['/untyped', 200],
    ['/slow-page', 200],
    ['/long', 403],
  ]
  for (const [path, status] of crossings)
    test(`${path} crosses once`, async () => {
      const found = target('rejecting')
      const asked = async (): Promise<void> => {
        expect((await ask(found, path)).status).toBe(status)
      }
      expect(await recordsOf(found, asked)).toBe(oneCrossing)
    }, 30_000)

  // aioquic takes the length that an answer to HEAD announces for that of its DATA.
  if (name !== 'h3')
    test('HEAD crosses once', async () => {
      const found = target('rejecting')
      const asked = async (): Promise<void> => {
        expect(await ask(found, '/page', 'HEAD')).toMatchObject({ status: 200, body: '' })
      }
      expect(await recordsOf(found, asked)).toBe(oneCrossing)
    }, 30_000)

  const cases: readonly [keyof typeof targets, string, number, string?][] = [
    ['rejecting', '/page', 200, 'a page'],
    ['rejecting', '/slow', 403],
    ['rejecting', '/slow-page', 200, 'a slow page'],
    ['rejecting', '/open', 200, 'a secret'],
    ['rejecting', '/head', 451],
    // Phase 3 goes before what became of the body.
    ['rejecting', '/head-broken', 451],
    ['rejecting', '/broken', 502],
    ['rejecting', '/full', 200, 'x'.repeat(limitBytes)],
    ['rejecting', '/long', 403],
    ['rejecting', '/long-slow', 403],
    ['partial', '/full', 200, 'x'.repeat(limitBytes)],
    ['partial', '/long', 200, secretAt(2 * limitBytes)],
    ['partial', '/long-slow', 200, secretAt(limitBytes)],
    ['partial', '/long-leak', 403],
    ['partial', '/long-strict', 409],
  ]
  for (const [edge, path, status, body] of cases)
    test(`${path} of the ${edge} edge is answered with ${status}`, async () => {
      const answered = await ask(target(edge), path)
      expect(answered.status).toBe(status)
      if (body !== undefined) expect(answered.body).toBe(body)
      else expect(answered.body).not.toContain('secret')
    })

  test('trailers follow a body that was held', async () => {
    const answered = await ask(target('rejecting'), '/trailers')
    expect(answered).toMatchObject({ status: 200, body: 'with trailers' })
    expect(answered.fields['x-checksum-a']).toBe('sum')
  })
})

/** Each begins a request and is gone once half of its response is held. */
const leavers: Readonly<Record<string, (edge: RunningEdge, held: () => Promise<void>) => unknown>> =
  {
    async h1(edge, held) {
      const socket = connect(edge.httpPort, '127.0.0.1')
      socket.write('GET /hang HTTP/1.1\r\nhost: a\r\n\r\n')
      await held()
      socket.resetAndDestroy()
    },
    async h2(edge, held) {
      const url = `https://localhost:${edge.httpsPort}`
      const session = http2.connect(url, { rejectUnauthorized: false })
      const stream = session.request({ ':path': '/hang' })
      stream.on('error', () => {})
      await held()
      stream.close(http2.constants.NGHTTP2_CANCEL)
      session.close()
    },
  }

test.each(Object.entries(leavers))(
  'a client of %s that leaves while the body is held frees it',
  async (_, leave) => {
    const { edge } = target('rejecting')
    const heldBytes = (): Promise<number> => metric(edge.statusPort, 'edge_inspected_bodies_bytes')
    await until('nothing is held', async () => (await heldBytes()) === 0)
    await leave(edge, () => until('it is held', async () => (await heldBytes()) > 0))
    await until('it is let go', async () => (await heldBytes()) === 0)
  },
  30_000,
)
