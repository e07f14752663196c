/** The time budget of an inspection, through the proxy: `waf.onFailure` decides what follows. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Backend, startBackend } from '../harness/backend.ts'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { eventually } from '../limits/raw.ts'

// No literal to look for, so that each pattern reads the whole text.
const patterns = Array.from({ length: 60 }, (_, at) => `[a-f][0-9]{${at + 2}}[g-k][l-z]n?[A-F]`)
const rules = patterns.map(
  (pattern, at) => `SecRule ARGS "@rx ${pattern}" "id:${at + 1},phase:2,deny,status:403"`,
)
// Every byte that a pattern wants, in the wrong order: its gate lets the text through.
const dear = `a=Azg${'a1'.repeat(60_000)}`

let backend: Backend
const directory = mkdtempSync(join(tmpdir(), 'edge-budget-'))

beforeAll(async () => {
  backend = await startBackend()
  writeFileSync(join(directory, 'rules.conf'), `${rules.join('\n')}\n`)
})

afterAll(() => {
  backend.close()
  rmSync(directory, { recursive: true })
})

async function start(name: string, waf: string): Promise<RunningEdge> {
  const file = join(directory, `${name}.yaml`)
  writeFileSync(
    file,
    `upstreams: [{ name: app, endpoints: [{ url: '${backend.url}' }] }]
routes: [{ name: all, upstream: app, inspectMax: 1MiB }]
waf: { budget: 1ms, ${waf} }\n`,
  )
  return startEdge({
    arguments: ['--config', file, '--no-redirect', '--waf-setup', join(directory, 'rules.conf')],
  })
}

const send = (edge: RunningEdge, body: string) =>
  fetch(`http://127.0.0.1:${edge.httpPort}/echo`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body,
  })

const cases = [
  ['deny', 'mode: block', 503, '"error.type":"WAF_BUDGET_EXCEEDED"'],
  ['deny', 'mode: detect', 503, '"error.type":"WAF_BUDGET_EXCEEDED"'],
  ['pass', 'mode: block', 200, '"edge.waf.verdict":"failed"'],
  ['pass', 'mode: detect', 200, '"edge.waf.verdict":"failed"'],
] as const

describe.each(cases)('onFailure: %s, %s', (onFailure, mode, status, logged) => {
  test(`a request over its budget is answered ${status}, logged and counted`, async () => {
    const edge = await start(`${onFailure}-${status}`, `onFailure: ${onFailure}, ${mode}`)
    try {
      expect((await send(edge, dear)).status).toBe(status)
      expect(await eventually(() => edge.output().includes(logged))).toBe(true)
      const answer = await fetch(`http://127.0.0.1:${edge.statusPort}/metrics`)
      expect(await answer.text()).toMatch(/edge_waf_requests_total\{.*verdict="failed".*\} 1\n/)
    } finally {
      await edge.stop()
    }
  }, 60_000)
})
