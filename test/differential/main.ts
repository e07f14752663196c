/**
 * `npm run e2e:differential -- [--count 20000] [--seed N] [--fronts 2000]
 * [--ungated 1000] [--minutes 60]`: the same generated
 * requests through our engine and through libmodsecurity3, with the same rules. Prints what they
 * match differently, by cause (decisions.yaml). Exit 3 when a difference is of no known cause; 1
 * when a package is missing.
 */
import { parseArgs } from 'node:util'
import { crsDirectory } from '../harness/edge.ts'
import { OracleMissing } from '../oracle/oracle.ts'
import { differences, shrink } from './compare.ts'
import type { Difference } from './compare.ts'
import { covers, readDecisions } from './decisions.ts'
import { Draw } from './draw.ts'
import { openOurs, openTheirs, RuleFiles } from './engines.ts'
import type { Contender } from './engines.ts'
import { openFronts } from './fronts.ts'
import { generate } from './generate.ts'
import { readMaterial } from './material.ts'
import { assemble } from './request.ts'
import type { Parts, PlainRequest } from './request.ts'
import { Ungated } from './ungated.ts'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    fronts: { type: 'string', default: '2000' },
    minutes: { type: 'string', default: '60' },
    ungated: { type: 'string', default: '1000' },
  },
})

/** Requests that wait for the slower engine at once. */
const PARALLEL = 64
/** Unknown differences that are shrunk and shown; one for each rule and side. */
const SHOWN_MAX = 60

type Engines = readonly [Contender, Contender]

/** Differences so far, by cause, and one example for each rule and side of those without one. */
class Findings {
  requests = 0
  ids = 0
  /** Requests that a server refused before its engine; nothing is compared. */
  readonly refused = { ours: 0, theirs: 0 }
  readonly #decisions = readDecisions()
  readonly #known = new Map<string, Map<string, number>>()
  readonly #unknown = new Map<string, { count: number; parts: Parts; difference: Difference }>()

  add(parts: Parts, found: readonly Difference[]): void {
    for (const difference of found) {
      const key = `${difference.match.id} only ${difference.only}`
      const decision = this.#decisions.find((one) => covers(one, difference))
      if (decision === undefined) {
        const seen = this.#unknown.get(key) ?? { count: 0, parts, difference }
        this.#unknown.set(key, { ...seen, count: seen.count + 1 })
      } else {
        const counts = this.#known.get(decision.name) ?? new Map<string, number>()
        this.#known.set(decision.name, counts.set(key, (counts.get(key) ?? 0) + 1))
      }
    }
  }

  /** True when every difference is of a known cause. */
  async tell(engines: Engines): Promise<boolean> {
    print(`${this.requests} requests, ${this.ids} matched ids compared`)
    const { ours, theirs } = this.refused
    if (ours + theirs > 0) print(`refused by the server: ${ours} by ours, ${theirs} by theirs`)
    for (const [name, counts] of this.#known) {
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
      const each = [...counts].map(([key, count]) => `${count} × ${key}`).toSorted()
      print(`known: ${name}: ${total}\n  ${each.join('\n  ')}`)
    }
    const found = [...this.#unknown].toSorted(([, a], [, b]) => b.count - a.count)
    for (const [key, { count, parts, difference }] of found.slice(0, SHOWN_MAX)) {
      const { variable, value } = difference.match
      print(`UNKNOWN: ${count} × ${key}, ${variable}: ${JSON.stringify(value)}`)
      print(shown(assemble(await shrink(parts, difference, engines))))
    }
    return found.length === 0
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

function shown({ method, target, headers, body }: PlainRequest): string {
  const lines = [`${method} ${target}`, ...headers.map((pair) => pair.join(': '))]
  if (body !== null) lines.push('', Buffer.from(body).toString('latin1'))
  return lines.map((line) => `    ${JSON.stringify(line).slice(1, -1)}`).join('\n')
}

async function run(engines: Engines, count: number, parallel: number): Promise<boolean> {
  const [ours, theirs] = engines
  const material = readMaterial(crsDirectory() ?? '')
  const draw = new Draw(Number(values.seed))
  const findings = new Findings()
  const one = async (parts: Parts): Promise<void> => {
    const request = assemble(parts)
    const [left, right] = await Promise.all([ours.ask(request), theirs.ask(request)])
    findings.requests += 1
    if (left === 'refused') findings.refused.ours += 1
    if (right === 'refused') findings.refused.theirs += 1
    if (left === 'refused' || right === 'refused') return
    findings.ids += new Set([...left.keys(), ...right.keys()]).size
    findings.add(parts, differences(request, left, right))
  }
  const until = Date.now() + Number(values.minutes) * 60_000
  while (findings.requests < count && Date.now() < until) {
    const batch = Math.min(parallel, count - findings.requests)
    await Promise.all(draw.several(batch, () => generate(material, draw)).map(one))
  }
  return findings.tell(engines)
}

/** Our scan against our own operators one by one; true when all hits are the same. */
function runUngated(rules: RuleFiles, count: number): boolean {
  const material = readMaterial(crsDirectory() ?? '')
  const draw = new Draw(Number(values.seed))
  const ungated = new Ungated(rules)
  let differing = 0
  for (let index = 0; index < count; index += 1) {
    const request = assemble(generate(material, draw))
    const lines = ungated.differences(request)
    if (lines.length === 0) continue
    differing += 1
    if (differing <= 5) print(`${lines.slice(0, 5).join('\n')}\n${shown(request)}`)
  }
  print(`without gates: ${count} requests, ${ungated.count} leaves, ${differing} differ`)
  ungated.close()
  return differing === 0
}

async function main(): Promise<number> {
  const crs = crsDirectory()
  if (crs === null) {
    print('not run: needs EDGE_CRS_DIR (default ../shared/crs)')
    return 1
  }
  const rules = new RuleFiles(crs)
  try {
    const neutral = runUngated(rules, Number(values.ungated))
    const theirs = await openTheirs(rules)
    const ours = openOurs(rules)
    const same = values.count === '0' || (await run([ours, theirs], Number(values.count), PARALLEL))
    await Promise.all([ours.close(), theirs.close()])
    if (Number(values.fronts) === 0) return same && neutral ? 0 : 3
    const fronts = await openFronts(rules, crs)
    print('over sockets:')
    const alike = await run(fronts.engines, Number(values.fronts), 1)
    await fronts.close()
    return same && alike && neutral ? 0 : 3
  } finally {
    rules.remove()
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof OracleMissing)) throw error
  print(error.message)
  process.exitCode = 1
}
