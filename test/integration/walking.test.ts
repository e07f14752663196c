/** The walking edge: one page and one attack over each protocol, through the real program. */
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startBackend, type Backend } from '../harness/backend.ts'
import { crsDirectory, freePort, startEdge, type RunningEdge } from '../harness/edge.ts'
import { H3Client } from '../harness/h3.ts'

const crs = crsDirectory()
if (!crs)
  console.warn('NOT RUN with CRS: no rule set at EDGE_CRS_DIR or ../shared/crs; own rule instead')

let backend: Backend
let edge: RunningEdge
let h3: H3Client

/** Without the CRS one own rule stands in, so that blocking is still proven. */
function rules(): string[] {
  if (crs) return ['--rules', crs]
  const file = join(tmpdir(), `edge-rule-${process.pid}.conf`)
  writeFileSync(file, `SecRule ARGS "@detectSQLi" "id:1,phase:2,deny,status:403,log,msg:'SQLi'"\n`)
  return ['--waf-setup', file]
}

beforeAll(async () => {
  backend = await startBackend()
  edge = await startEdge({ arguments: ['--backend', backend.url, ...rules()] })
  h3 = new H3Client(edge.httpsPort)
}, 120_000)

afterAll(async () => {
  h3.close()
  await edge.stop()
  backend.close()
})

/** curl's status, headers and body in one text; `--path-as-is` keeps odd targets. */
async function curl(...flags: string[]): Promise<string> {
  const all = ['-sik', '--path-as-is', '--max-time', '10', ...flags]
  return (await promisify(execFile)('curl', all, { encoding: 'latin1' })).stdout
}

const attack = "/?id=1'%20OR%20'1'='1"
const https = () => `https://localhost:${edge.httpsPort}`
const resolveLocal = () => ['--resolve', `localhost:${edge.httpsPort}:127.0.0.1`]

describe('a page', () => {
  test('h1 in clear is redirected to https with 308', async () => {
    const answer = await curl(`http://127.0.0.1:${edge.httpPort}/a?b=c`, '-H', 'Host: example.org')
    expect(answer).toMatch(/^HTTP\/1\.1 308 /)
    expect(answer.toLowerCase()).toContain('location: https://example.org')
    expect(answer).toContain('/a?b=c')
  })

  test.each(['--http1.1', '--http2'])('curl %s gets the page of the backend', async (flag) => {
    const answer = await curl(flag, ...resolveLocal(), `${https()}/hello`)
    expect(answer).toMatch(/^HTTP\/(1\.1|2) 200/)
    expect(answer).toContain('backend says hello')
    expect(answer.toLowerCase()).toContain('alt-svc: h3=')
    expect(answer.toLowerCase()).toContain('x-request-id: ')
  })

  test('aioquic gets the page over HTTP/3', async () => {
    const authority = `localhost:${edge.httpsPort}`
    const answer = await h3.request({ method: 'GET', path: '/hello', authority, headers: [] })
    expect(answer.error).toBeNull()
    expect(answer.status).toBe(200)
    expect(answer.body.toString()).toContain('backend says hello')
  })
})

describe('an attack is answered with 403 and the request id only', () => {
  test.each(['--http1.1', '--http2'])('curl %s', async (flag) => {
    const answer = await curl(flag, ...resolveLocal(), `${https()}${attack}`)
    expect(answer).toMatch(/^HTTP\/(1\.1|2) 403/)
    const id = /x-request-id: (\S+)/i.exec(answer)?.[1]
    expect(id).toBeTruthy()
    expect(answer.slice(answer.indexOf('\r\n\r\n'))).toContain(id)
    expect(answer).not.toMatch(/9421|SQL/)
  })

  test('HTTP/3', async () => {
    const authority = `localhost:${edge.httpsPort}`
    const headers = [['accept', 'application/json']] as const
    const answer = await h3.request({ method: 'GET', path: attack, authority, headers })
    expect(answer.status).toBe(403)
    expect(JSON.parse(answer.body.toString())).toHaveProperty('status', 403)
  })

  test('a form body on h2 is inspected', async () => {
    const form = ['--data-raw', 'id=1%27+UNION+SELECT+password+FROM+users--']
    const answer = await curl('--http2', ...resolveLocal(), ...form, `${https()}/login`)
    expect(answer).toMatch(/^HTTP\/2 403/)
  })

  test('none of the attacks reached the backend', () => {
    expect(backend.seen.filter((seen) => /OR|UNION/.test(seen.url + seen.body.toString()))).toEqual(
      [],
    )
  })
})

describe('/_gwhealthz', () => {
  test.each([
    ['clear h1', () => [`http://127.0.0.1:${edge.httpPort}/_gwhealthz`]],
    ['a query', () => [`http://127.0.0.1:${edge.httpPort}/_gwhealthz?x=1`]],
    [
      'HTTP/1.0 without Host',
      () => ['--http1.0', '-H', 'Host:', `http://127.0.0.1:${edge.httpPort}/_gwhealthz`],
    ],
    ['h2', () => ['--http2', ...resolveLocal(), `${https()}/_gwhealthz`]],
    ['HEAD', () => ['-I', `http://127.0.0.1:${edge.httpPort}/_gwhealthz`]],
  ])('answers ok on %s', async (_name, flags) => {
    const answer = await curl(...flags())
    expect(answer).toMatch(/^HTTP\/(1\.1|1\.0|2) 200/)
    expect(answer.toLowerCase()).toContain('content-type: text/plain')
  })

  test('answers over HTTP/3', async () => {
    const answer = await h3.request({
      method: 'GET',
      path: '/_gwhealthz',
      authority: 'x',
      headers: [],
    })
    expect([answer.status, answer.body.toString().trim()]).toEqual([200, 'ok'])
  })
})

test('a large body goes both ways unharmed on h1, h2 and h3', async () => {
  const plain = await startEdge({ arguments: ['--backend', backend.url, '--waf', 'off'] })
  const client = new H3Client(plain.httpsPort)
  const body = Buffer.alloc(300_000, 'abc')
  const file = join(plain.directory, 'body.bin')
  writeFileSync(file, body)
  const url = `https://127.0.0.1:${plain.httpsPort}/echo`
  for (const flag of ['--http1.1', '--http2']) {
    const answer = await curl(flag, '--data-binary', `@${file}`, url)
    expect(answer).toMatch(/ 200/)
    expect(answer.endsWith(body.toString())).toBe(true)
  }
  const request = { method: 'POST', path: '/echo', authority: 'localhost', headers: [], body }
  const answer = await client.request(request)
  expect([answer.error, answer.status, answer.body.equals(body)]).toEqual([null, 200, true])
  client.close()
  await plain.stop()
}, 30_000)

test('a backend that is not there is a 502 that names the request', async () => {
  const url = `http://127.0.0.1:${await freePort()}`
  const lost = await startEdge({ arguments: ['--backend', url, '--no-redirect', '--waf', 'off'] })
  const answer = await curl(`http://127.0.0.1:${lost.httpPort}/`)
  expect(answer).toMatch(/^HTTP\/1\.1 502 /)
  expect(answer.toLowerCase()).toContain('x-request-id: ')
  await lost.stop()
}, 30_000)
