/** Changes of configuration, rules and certificates while requests run: none of them is lost. */
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { once } from 'node:events'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { startLoad } from '../harness/load.ts'
import { metric, until } from '../harness/wait.ts'

// The long form (EDGE_TEST_LONG=1) is the one of the acceptance: 50 of each.
const rounds = process.env['EDGE_TEST_LONG'] === '1' ? 50 : 10
const accepted = 'edge_config_reloads_total{result="accepted"}'
const refused = 'edge_config_reloads_total{result="refused"}'

let folder = ''
const closers: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'edge-reload-'))
})
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  rmSync(folder, { recursive: true, force: true })
})

/** A backend that says its name. */
async function named(name: string): Promise<string> {
  const server = createServer((_request, response) => response.end(name))
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(
    () => server.closeAllConnections(),
    () => server.close(),
  )
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
}

async function started(args: readonly string[]): Promise<RunningEdge> {
  const edge = await startEdge({ arguments: ['--no-redirect', ...args] })
  closers.push(() => edge.stop())
  return edge
}

async function bodyOf(edge: RunningEdge, path = '/'): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${edge.httpPort}${path}`)
  return answer.text()
}

/** As editors do it: whole at once. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}

function certify(name: string): { chain: string; key: string } {
  const [key, chain] = [join(folder, 'made.key'), join(folder, 'made.pem')]
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`]
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const out = ['-keyout', key, '-out', chain, '-days', '30']
  execFileSync('openssl', ['req', ...kind, ...subject, ...out], { stdio: 'ignore' })
  return { chain: readFileSync(chain, 'utf8'), key: readFileSync(key, 'utf8') }
}

test(`${rounds} reloads, half of them broken, lose no request`, async () => {
  const [one, two] = [await named('one'), await named('two')]
  const file = join(folder, 'edge.yaml')
  const rules = join(folder, 'own.conf')
  writeFileSync(rules, 'SecAction "id:1,phase:1,pass,nolog"\n')
  // The order of the upstreams changes, so a mixed-up endpoint id would show.
  const good = (name: string): string =>
    [
      'waf: { mode: block, setupFiles: [own.conf] }',
      `routes: [{ name: all, upstream: ${name} }]`,
      'upstreams:',
      ...(name === 'one' ? [`- {name: one, endpoints: [{url: "${one}"}]}`] : []),
      `- {name: two, endpoints: [{url: "${two}"}]}`,
      ...(name === 'one' ? [] : [`- {name: one, endpoints: [{url: "${one}"}]}`]),
      '',
    ].join('\n')
  const broken = [
    () => replace(file, 'waf: { mode: blok }\n'),
    () => replace(file, 'waf: [\n'),
    () => replace(file, `${good('one')}listen: { shared: true }\n`),
    () => {
      writeFileSync(rules, 'SecRule ARGS "@nosuch x" "id:1,phase:2,deny"\n')
    },
    () => replace(file, `${good('one')}limits: { workerQueueMax: 7 }\n`),
  ]
  writeFileSync(file, good('one'))
  const edge = await started(['--config', file])
  const urls = [`http://127.0.0.1:${edge.httpPort}/`, `https://127.0.0.1:${edge.httpsPort}/`]
  const load = startLoad(urls)
  let [taken, kept] = [0, 0]
  for (let round = 0; round < rounds; round += 1) {
    const before = load.succeeded
    if (round % 2 === 0) {
      broken[(round / 2) % broken.length]?.()
      kept += 1
    } else {
      const name = round % 4 === 1 ? 'two' : 'one'
      writeFileSync(rules, `SecAction "id:${round},phase:1,pass,nolog"\n`)
      replace(file, good(name))
      taken += 1
    }
    // One of three is asked for by hand; the others are seen by themselves.
    const counts = async () => [
      await metric(edge.statusPort, accepted),
      await metric(edge.statusPort, refused),
    ]
    if (round % 3 === 0) edge.process.kill('SIGHUP')
    await until(`round ${round}: ${taken} and ${kept}`, async () => {
      const [ok, no] = await counts()
      return ok === taken && no === kept
    })
    await until('requests go on', () => load.succeeded > before + 4)
    if (round % 2 === 1) expect(await bodyOf(edge)).toBe(round % 4 === 1 ? 'two' : 'one')
  }
  const result = await load.stop()
  expect(result.failures).toEqual([])
  expect(result.succeeded).toBe(result.started)
  expect(await metric(edge.statusPort, 'edge_config_generation')).toBe(taken + 1)
  expect(await metric(edge.statusPort, 'edge_waf_worker_restarts_total')).toBe(0)
}, 120_000)

test('a refused reload says why, with the place, and readiness stays', async () => {
  const url = await named('one')
  const file = join(folder, 'edge.yaml')
  writeFileSync(file, 'waf: { mode: off }\n')
  const edge = await started(['--config', file, '--backend', url])
  replace(file, 'waf: { mode: off }\nwireThreads: 7\n')
  await until('a refusal', async () => (await metric(edge.statusPort, refused)) === 1)
  await until('a log line', () => edge.output().includes('cannot change while the program runs'))
  expect(edge.output()).toMatch(/edge\.yaml:2:14: wireThreads cannot change/)
  const ready = await fetch(`http://127.0.0.1:${edge.statusPort}/readyz?verbose`)
  expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining('refused at')])
  expect(await metric(edge.statusPort, 'edge_config_last_reload_successful')).toBe(0)
  replace(file, 'waf: { mode: off }\n')
  await until('it is well again', async () => (await metric(edge.statusPort, accepted)) === 1)
  expect(await metric(edge.statusPort, 'edge_config_last_reload_successful')).toBe(1)
}, 60_000)

test('an exchange keeps the configuration it began with', async () => {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<() => void>()
  const server = createServer((_request, response) => arrive(() => response.end('late')))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => server.close())
  const address = server.address()
  const slow = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  const other = await named('other')
  const file = join(folder, 'edge.yaml')
  const to = (url: string): string => `upstreams: [{name: a, endpoints: [{url: "${url}"}]}]\n`
  writeFileSync(file, to(slow))
  const edge = await started(['--config', file])
  const answer = bodyOf(edge)
  const finish = await arrived
  replace(file, to(other))
  const isTaken = async () => (await metric(edge.statusPort, accepted)) === 1
  await until(() => `the reload:\n${edge.output()}`, isTaken)
  expect(await bodyOf(edge)).toBe('other')
  finish()
  expect(await answer).toBe('late')
}, 60_000)

test('with --last-good a broken file at the start is replaced by the last good one', async () => {
  const url = await named('one')
  const file = join(folder, 'edge.yaml')
  const state = { XDG_STATE_HOME: join(folder, 'state') }
  const start = (...args: string[]) =>
    startEdge({
      arguments: ['--no-redirect', '--config', file, '--waf', 'off', ...args],
      environment: state,
    })
  writeFileSync(file, `upstreams: [{name: a, endpoints: [{url: "${url}"}]}]\n`)
  const first = await start()
  expect(await first.stop()).toBe(0)
  writeFileSync(file, 'upstreams: [\n')
  await expect(start()).rejects.toThrow('edge ended with 78')
  const second = await start('--last-good')
  closers.push(() => second.stop())
  expect(await bodyOf(second)).toBe('one')
  expect(second.output()).toContain('starting with the last good configuration')
}, 60_000)

/** Presents SNI `name`; the serial number of what is served. */
async function served(edge: RunningEdge, name = 'edge.test'): Promise<string> {
  const socket = connect({
    port: edge.httpsPort,
    host: '127.0.0.1',
    servername: name,
    rejectUnauthorized: false,
  })
  await once(socket, 'secureConnect')
  const { serialNumber } = socket.getPeerCertificate()
  socket.destroy()
  return serialNumber
}

test(`${rounds} changes of certificates, some broken, fail no handshake`, async () => {
  const url = await named('one')
  // As a mounted Secret: files are links into `..data`, which is a link that is swapped.
  const secret = join(folder, 'secret')
  mkdirSync(secret)
  const swap = (version: number, chain: string, key: string): void => {
    const data = join(secret, `..${version}`)
    mkdirSync(data)
    writeFileSync(join(data, 'tls.crt'), chain)
    writeFileSync(join(data, 'tls.key'), key)
    symlinkSync(`..${version}`, join(secret, '..new'))
    renameSync(join(secret, '..new'), join(secret, '..data'))
  }
  for (const name of ['tls.crt', 'tls.key']) symlinkSync(`..data/${name}`, join(secret, name))
  const first = certify('edge.test')
  swap(0, first.chain, first.key)
  const files = ['--cert', join(secret, 'tls.crt'), '--key', join(secret, 'tls.key')]
  const edge = await started(['--backend', url, '--waf', 'off', ...files])
  const load = startLoad([`https://127.0.0.1:${edge.httpsPort}/`])
  let good = await served(edge)
  let [taken, kept] = [0, 0]
  for (let round = 1; round <= rounds; round += 1) {
    const { chain, key } = certify('edge.test')
    const kind = round % 5
    if (kind === 1) swap(round, chain.slice(0, chain.length / 2), key)
    else if (kind === 2) swap(round, chain, first.key)
    else if (kind === 3) swap(round, '', '')
    else swap(round, chain, key)
    if (kind === 1 || kind === 2 || kind === 3) kept += 1
    else taken += 1
    await until(`round ${round}: ${taken} taken, ${kept} kept`, async () => {
      const ok = await metric(edge.statusPort, accepted)
      const no = await metric(edge.statusPort, 'edge_certificate_reload_failures_total')
      return ok === taken && no === kept
    })
    const now = await served(edge)
    if (kind === 1 || kind === 2 || kind === 3) expect(now).toBe(good)
    else expect(now).not.toBe(good)
    good = now
  }
  const result = await load.stop()
  expect(result.failures).toEqual([])
  expect(result.succeeded).toBe(result.started)
}, 180_000)
