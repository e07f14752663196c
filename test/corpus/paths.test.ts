/**
 * What the router reads, what the WAF inspects and what is forwarded is one path and one host: for
 * every spelling, a request reaches the guarded backend exactly when its forwarded form is guarded.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startEdge, type RunningEdge } from '../harness/edge.ts'
import { head } from './case.ts'
import { expectationOf, hosts, targets } from './paths.ts'
import { RawClient } from './raw-client.ts'
import { Recorder } from './recorder.ts'
import { all } from './strict-parser.ts'

const open = new Recorder()
const guarded = new Recorder()
const folder = mkdtempSync(join(tmpdir(), 'edge-paths-'))
let edge: RunningEdge
let inspecting: RunningEdge

beforeAll(async () => {
  const urls = { open: await open.start(), guarded: await guarded.start() }
  edge = await startEdge({ arguments: [...configured(urls, 'off'), '--no-redirect'] })
  inspecting = await startEdge({ arguments: [...configured(urls, 'block'), '--no-redirect'] })
}, 60_000)

afterAll(async () => {
  await edge.stop()
  await inspecting.stop()
  open.close()
  guarded.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Two backends behind one edge: `/admin` and `admin.example` go to the guarded one. */
function configured(urls: { open: string; guarded: string }, mode: string): string[] {
  const rule = join(folder, 'guard.conf')
  const transformations = 't:none,t:urlDecodeUni,t:normalisePath,t:removeWhitespace'
  writeFileSync(
    rule,
    `SecRuleEngine On\nSecRule REQUEST_FILENAME "@rx ^/admin(?:/|$)" ` +
      `"id:1,phase:1,deny,status:403,${transformations}"\n`,
  )
  const config = {
    routes: [
      { name: 'path', path: '/admin', upstream: 'guarded' },
      { name: 'host', hosts: ['admin.example'], upstream: 'guarded' },
      { name: 'rest', upstream: 'open' },
    ],
    upstreams: Object.entries(urls).map(([name, url]) => ({ name, endpoints: [{ url }] })),
    waf: { mode, rules: null, setupFiles: [rule] },
  }
  const file = join(folder, `${mode}.yaml`)
  writeFileSync(file, JSON.stringify(config))
  return ['--config', file]
}

interface Outcome {
  readonly status: number
  /** `backend target host` of what was forwarded. */
  readonly seen: readonly string[]
}

/** Sends one request after the other on one connection, with a new one where the edge closes. */
async function run(port: number, requests: readonly string[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = []
  let client = new RawClient({ port })
  try {
    for (const request of requests) {
      client.send(request)
      const answer = await client.answer('GET')
      const status = typeof answer === 'string' ? 0 : answer.status
      const seen = [...taken('open', open), ...taken('guarded', guarded)]
      outcomes.push({ status, seen })
      const last = typeof answer === 'string' || all(answer.fields, 'connection').includes('close')
      if (last) {
        client.destroy()
        client = new RawClient({ port })
      }
    }
  } finally {
    client.destroy()
  }
  return outcomes
}

function taken(name: string, recorder: Recorder): string[] {
  const { requests, faults } = recorder.take()
  const seen = requests.map(({ target, fields }) => `${name} ${target} ${all(fields, 'host')[0]}`)
  return [...seen, ...faults]
}

function isGuarded(target: string): boolean {
  return /^\/admin(\/|\?|$)/.test(target)
}

test('every target is refused, or routed by and forwarded as its canonical form', async () => {
  const requests = targets.map((target) => head(`GET ${target} HTTP/1.1`, 'Host: a'))
  const wrong: string[] = []
  for (const [index, { status, seen }] of (await run(edge.httpPort, requests)).entries()) {
    const target = targets[index] ?? ''
    const expected = expectationOf(target)
    const expectedText =
      'refused' in expected
        ? '400'
        : `200 ${isGuarded(expected.forwarded) ? 'guarded' : 'open'} ${expected.forwarded} a`
    const text = [status, ...seen].join(' ')
    if (text !== expectedText) wrong.push(`${target}: ${text} and not ${expectedText}`)
  }
  expect(targets.length).toBeGreaterThanOrEqual(300)
  expect(wrong).toEqual([])
}, 60_000)

test('a canonical target is its own canonical form', async () => {
  const canonical = targets.flatMap((target) => {
    const expected = expectationOf(target)
    return 'refused' in expected ? [] : [expected.forwarded]
  })
  const requests = canonical.map((target) => head(`GET ${target} HTTP/1.1`, 'Host: a'))
  const outcomes = await run(edge.httpPort, requests)
  const wrong = outcomes.filter(({ seen }, index) => seen[0]?.split(' ')[1] !== canonical[index])
  expect(wrong).toEqual([])
}, 60_000)

test('the WAF guards every spelling that would be forwarded to the guarded path', async () => {
  const requests = targets.map((target) => head(`GET ${target} HTTP/1.1`, 'Host: a'))
  const wrong: string[] = []
  for (const [index, { status, seen }] of (await run(inspecting.httpPort, requests)).entries()) {
    const target = targets[index] ?? ''
    const expected = expectationOf(target)
    const guards = 'forwarded' in expected && isGuarded(expected.forwarded)
    if (guards && status !== 403) wrong.push(`${target}: ${status}`)
    if ('refused' in expected && ![400, 403].includes(status)) wrong.push(`${target}: ${status}`)
    const passed = seen.filter((text) => text.startsWith('guarded') || isGuarded(text.slice(5)))
    wrong.push(...passed.map((text) => `${target}: reached ${text}`))
  }
  expect(wrong).toEqual([])
}, 60_000)

test('every host is refused, or routed by and forwarded as its canonical form', async () => {
  const forms = hosts.flatMap(([host, expected]) => [
    { request: head('GET /h HTTP/1.1', `Host: ${host}`), expected },
    ...(/^[^\s/?#\\]+$/.test(host)
      ? [{ request: head(`GET http://${host}/h HTTP/1.1`, 'Host: other'), expected }]
      : []),
  ])
  const outcomes = await run(
    edge.httpPort,
    forms.map(({ request }) => request),
  )
  const wrong: string[] = []
  for (const [index, { status, seen }] of outcomes.entries()) {
    const { request = '', expected = null } = forms[index] ?? {}
    const backend = /^admin\.example(:|$)/.test(expected ?? '') ? 'guarded' : 'open'
    const expectedText = expected === null ? '400' : `200 ${backend} /h ${expected}`
    const text = [status, ...seen].join(' ')
    if (text !== expectedText) wrong.push(`${request}: ${text} and not ${expectedText}`)
  }
  expect(wrong).toEqual([])
}, 60_000)
