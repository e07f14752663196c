/** kube-score's opinion on every render, and Helm 4 beside Helm 3. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { root } from '../harness/edge.ts'
import { type Accepted, accepted } from './accepted-findings.ts'
import { examples as ofProxy } from './examples.ts'
import { renderFile, rendered } from './generated.ts'
import { sidecarExamples } from './sidecar.ts'
import { helm, kubernetesVersion, tool } from './tools.ts'

const examples = [...ofProxy, ...sidecarExamples]

// The first run builds Helm 4: minutes on a small machine, nothing later.
const buildTimeoutMs = 15 * 60_000

beforeAll(() => {
  tool('helm')
  tool('helm4')
  tool('kube-score')
}, buildTimeoutMs)

interface Scored {
  readonly object_name: string
  readonly checks: readonly {
    readonly check: { readonly id: string }
    readonly grade: number
    readonly skipped: boolean
  }[]
}

/** Below it kube-score has something against the object. */
const gradeMin = 10

function findingsIn(file: string): string[] {
  const version = `v${kubernetesVersion.split('.').slice(0, 2).join('.')}`
  const args = ['score', '--output-format', 'json', '--kubernetes-version', version, file]
  const { stdout } = spawnSync(tool('kube-score'), args, { cwd: root, encoding: 'utf8' })
  const scored: readonly Scored[] = JSON.parse(stdout)
  expect(scored.length, file).toBeGreaterThan(0)
  const bad = scored.flatMap(({ checks }) =>
    checks.filter(({ grade, skipped }) => !skipped && grade < gradeMin),
  )
  return [...new Set(bad.map(({ check }) => check.id))]
}

function holdsIn(text: string, where: Accepted['where']): boolean {
  switch (where) {
    case 'everywhere':
      return true
    case 'on the network of the node':
      return text.includes('hostNetwork: true')
    case 'low ports of the node':
      return text.includes('NET_BIND_SERVICE')
    case 'without a NetworkPolicy':
      return !text.includes('kind: NetworkPolicy')
    case 'with a WAF service':
      return text.includes('app.kubernetes.io/component: waf')
    case 'with a mesh':
      return /component: mesh-agent|name: edgelink-sidecar/.test(text)
    case 'where privilege is asked for':
      return text.includes('privileged: true')
    case 'with pods beside the proxies':
      return /component: (controller|waf)/.test(text)
  }
}

test('kube-score finds nothing but what is accepted, and all of that', () => {
  const needed = new Set<Accepted>()
  for (const { name } of examples) {
    const file = renderFile(name)
    const text = readFileSync(join(root, file), 'utf8')
    for (const id of findingsIn(file)) {
      const found = accepted.find(({ check, where }) => check === id && holdsIn(text, where))
      expect(found, `${name}: ${id}`).toBeDefined()
      if (found !== undefined) needed.add(found)
    }
  }
  expect(accepted.filter((one) => !needed.has(one))).toEqual([])
}, 120_000)

test.each(examples)('Helm 4 renders $name as Helm 3 does', (example) => {
  const objects = (text: string): unknown[] =>
    parseAllDocuments(text).map((document): unknown => document.toJS())
  const stored = readFileSync(join(root, renderFile(example.name)), 'utf8')
  expect(objects(rendered(example, 'helm4')).filter(Boolean)).toEqual(
    objects(stored).filter(Boolean),
  )
})

test('Helm 4 lints it and refuses what Helm 3 refuses', () => {
  const kube = ['--kube-version', kubernetesVersion]
  expect(helm(['lint', '--strict', './helm', ...kube], '', 'helm4')).toMatchObject({ code: 0 })
  const wrong = ['template', 'my-proxy', './helm', ...kube, '--set', 'proxy.knd=daemonset']
  const refused = helm(wrong, '', 'helm4')
  expect(refused.code).not.toBe(0)
  expect(refused.err).toContain('knd')
})
