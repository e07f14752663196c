/**
 * Alerts and panels ask only for what a running program exports: names, labels and values are held
 * against a real scrape.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { errorCodes } from '../../proxy/errors.ts'
import { startBackend } from '../harness/backend.ts'
import { type RunningEdge, freePort, root, startEdge } from '../harness/edge.ts'
import { H3Client, pythonWithAioquic } from '../harness/h3.ts'
import { pythonWith } from '../harness/python.ts'
import { until } from '../harness/wait.ts'
import { rows } from './dashboard.ts'

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: Readonly<Record<'summary' | 'description', string>>
}

const alerts: readonly Alert[] = parse(readFileSync(join(root, 'helm/files/alerts.yaml'), 'utf8'))

const asked: readonly (readonly [who: string, expr: string])[] = [
  ...alerts.map(({ alert, expr }) => [alert, expr] as const),
  ...rows.flatMap(({ panels }) =>
    panels.flatMap(({ title, queries }) => queries.map(({ expr }) => [title, expr] as const)),
  ),
]

/** What Prometheus adds as it scrapes, and what histograms have. */
const added: ReadonlySet<string> = new Set(['namespace', 'job', 'pod', 'le'])

/** A family's labels, each with the values that were seen. */
type Labels = ReadonlyMap<string, ReadonlySet<string>>

let folder = ''
let backend: Awaited<ReturnType<typeof startBackend>>
let edge: RunningEdge | null = null
let families = new Map<string, Labels>()

beforeAll(async () => {
  pythonWithAioquic()
  folder = mkdtempSync(join(tmpdir(), 'edge-metrics-'))
  backend = await startBackend()
  const dead = `http://127.0.0.1:${await freePort()}`
  const config = {
    upstreams: [
      { name: 'half', endpoints: [{ url: backend.url }, { url: dead }] },
      { name: 'gone', endpoints: [{ url: dead }] },
    ],
    routes: [
      { name: 'half', upstream: 'half' },
      { name: 'gone', upstream: 'gone', path: '/gone' },
    ],
    listen: { redirect: false },
  }
  const file = join(folder, 'edge.yaml')
  writeFileSync(file, JSON.stringify(config))
  const rule = join(folder, 'deny.conf')
  writeFileSync(rule, 'SecRule ARGS:deny "@streq 1" "id:1,phase:1,log,deny,status:403"\n')
  const started = await startEdge({
    arguments: ['--config', file, '--waf-setup', rule, '--workers', '1'],
  })
  edge = started
  await load(started)
  const wanted = ['edge_errors_total', 'edge_upstream_retries_total', 'edge_events_lost_total']
  await until('every family is there', async () => {
    families = await scrape(started)
    return wanted.every((name) => families.has(name))
  })
}, 120_000)

afterAll(async () => {
  await edge?.stop()
  backend.close()
  rmSync(folder, { recursive: true, force: true })
})

async function load(edge: RunningEdge): Promise<void> {
  const clear = `http://127.0.0.1:${edge.httpPort}`
  for (const path of ['/', '/', '/', '/', '/?deny=1', '/gone']) {
    // oxlint-disable-next-line no-await-in-loop -- each endpoint in its turn
    await (await fetch(clear + path)).arrayBuffer()
  }
  const socket = connect(edge.httpPort, '127.0.0.1').resume()
  socket.end('GET / HTTP/1.1\r\nhost : x\r\n\r\n')
  await once(socket, 'close')
  const client = new H3Client(edge.httpsPort)
  const request = { method: 'GET', path: '/', authority: 'localhost', headers: [] }
  expect((await client.request(request)).status).toBe(200)
  client.close()
}

/** Every family of `/metrics` with the labels of its series. */
async function scrape(edge: RunningEdge): Promise<Map<string, Labels>> {
  const answer = await fetch(`http://127.0.0.1:${edge.statusPort}/metrics`)
  const found = new Map<string, Map<string, Set<string>>>()
  for (const line of (await answer.text()).split('\n')) {
    const [, name = '', labels = ''] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? []
    if (name === '' || line.startsWith('#')) continue
    const family = found.get(name) ?? new Map<string, Set<string>>()
    found.set(name, family)
    for (const [, label = '', value = ''] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      const values = family.get(label) ?? new Set<string>()
      family.set(label, values.add(value))
    }
  }
  return found
}

const selectors = /\b((?:edge|process)_\w+)(?:\{([^}]*)\})?/g

test.each(asked)('%s asks for what there is', (_, expr) => {
  const found = [...expr.matchAll(selectors)]
  expect(found.length).toBeGreaterThan(0)
  for (const [, name = '', matchers = ''] of found) {
    const labels = families.get(name)
    expect(labels, `${name} in a scrape`).toBeDefined()
    for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)) {
      if (!added.has(label)) expect([...(labels?.keys() ?? [])], name).toContain(label)
    }
  }
  // What is grouped by must be a label of at least one of the families.
  const names = found.map(([, name = '']) => name)
  const known = new Set(names.flatMap((name) => [...(families.get(name)?.keys() ?? [])]))
  for (const [, list = ''] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
    for (const label of list.split(',').map((text) => text.trim())) {
      expect(known.has(label) || added.has(label), `by (${label}) of ${names.join(' ')}`).toBe(true)
    }
  }
})

test('every expression is PromQL', () => {
  // Grafana fills these in.
  const fill = (expr: string): string => expr.replaceAll(/\$__(?:rate_interval|range)/g, '5m')
  const input = JSON.stringify(asked.map(([, expr]) => fill(expr)))
  const args = [join(root, 'test/chart/promql_check.py')]
  const python = pythonWith('promql-parser==0.12.0')
  const { stdout } = spawnSync(python, args, { input, encoding: 'utf8' })
  const faults: readonly (string | null)[] = JSON.parse(stdout)
  expect(faults).toEqual(asked.map(() => null))
}, 60_000)

describe('alerts', () => {
  test('errors that they name exist', () => {
    const texts = alerts.flatMap(({ expr }) => [...expr.matchAll(/error=~"([^"]*)"/g)])
    const patterns = texts.flatMap(([, text = '']) => text.split('|'))
    expect(patterns.length).toBeGreaterThan(3)
    for (const pattern of patterns) {
      expect(
        errorCodes.some((code) => new RegExp(`^(?:${pattern})$`).test(code)),
        pattern,
      ).toBe(true)
    }
  })

  test('verdicts that are no denials are those of the program', () => {
    const seen = families.get('edge_waf_requests_total')?.get('verdict')
    expect([...(seen ?? [])].toSorted()).toEqual(['deny', 'pass'])
  })

  test('each says how grave it is, what is so and what it means', () => {
    for (const { alert, labels, annotations } of alerts) {
      expect(alert).toMatch(/^Edge[A-Z]/)
      expect(['critical', 'warning', 'info']).toContain(labels.severity)
      expect(annotations.summary.length, alert).toBeGreaterThan(10)
      expect(annotations.description.length, alert).toBeGreaterThan(20)
    }
    expect(new Set(alerts.map(({ alert }) => alert)).size).toBe(alerts.length)
  })
})
