/** What `helm test` runs in a cluster, against a program of this machine. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningEdge, freePort, root, startEdge } from '../harness/edge.ts'

let folder = ''
let edge: RunningEdge | null = null
let port = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'edge-probe-'))
  const rule = join(folder, 'deny.conf')
  writeFileSync(
    rule,
    `SecRule ARGS:id "@contains ' or '" "id:1,phase:1,deny,status:403,t:lowercase"\n`,
  )
  const backend = `http://127.0.0.1:${await freePort()}`
  // The port is announced as it is: port 0 would be announced as 0.
  port = await freePort()
  const listen = ['--https', `127.0.0.1:${port}`]
  const args = [...listen, '--backend', backend, '--waf-setup', rule, '--workers', '1']
  edge = await startEdge({ arguments: args })
}, 60_000)

afterAll(async () => {
  await edge?.stop()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

function probe(httpsPort: number): { readonly code: number | null; readonly out: string } {
  const env = {
    PATH: [root, process.env['PATH']].join(delimiter),
    HOST: '127.0.0.1',
    HTTP_PORT: String(edge?.httpPort),
    HTTPS_PORT: String(httpsPort),
    BLOCKS: 'true',
  }
  const script = join(root, 'helm/files/probe.mjs')
  const { status, stdout } = spawnSync(process.execPath, [script], { env, encoding: 'utf8' })
  return { code: status, out: stdout }
}

test('a release is asked over every protocol, for its health, an answer and a block', () => {
  const { code, out } = probe(port)
  const wanted = [
    '/_gwhealthz',
    'HTTP/1.1 over TLS',
    'HTTP/2',
    'Alt-Svc announces HTTP/3',
    'HTTP/3',
  ]
  const attacks = ['1.1', '2', '3'].map((version) => `an attack over HTTP/${version}`)
  expect(out.trim().replaceAll(/: .*/g, '').split('\n')).toEqual(
    [...wanted, ...attacks].map((name) => `ok   ${name}`),
  )
  expect(code).toBe(0)
}, 60_000)

test('a release that does not answer fails the test, and says what', async () => {
  const { code, out } = probe(await freePort())
  expect(code).toBe(1)
  expect(out).toContain('ok   /_gwhealthz: status 200')
  expect(out).toContain('FAIL HTTP/2: ')
  expect(out).toContain('FAIL HTTP/3: no HTTP/3 at https://127.0.0.1:')
}, 60_000)
