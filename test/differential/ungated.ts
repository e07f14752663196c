/**
 * Our scan against our own operators without it: no sieve, no gates, no memo, no shared texts. Each
 * leaf of the plan is run alone over the same request; the hits must be the same.
 */
import { compile, defaultCompileLimits } from '../../waf/compile/compile.ts'
import type { Hit, ScanPlan } from '../../waf/scan-plan.ts'
import {
  AddonScanner,
  compileScanPlan,
  createOfflinePort,
  dropScanPlan,
  type Scanned,
  type ScanResult,
} from '../../waf/scanner.ts'
import { parseSecLang } from '../../waf/seclang/parser.ts'
import type { RuleFiles } from './engines.ts'
import type { PlainRequest } from './request.ts'

/** The scan of one plan, both ways. */
export class Ungated {
  readonly #port = createOfflinePort()
  readonly #scanner = new AddonScanner(this.#port)
  readonly #plan: number
  readonly #leaves: ScanPlan['leaves']

  constructor(rules: RuleFiles) {
    let plan: ScanPlan | null = null
    let id = 0
    compile(
      parseSecLang([{ file: rules.all }]),
      (json) => {
        plan ??= JSON.parse(json) as ScanPlan
        const compiled = compileScanPlan(json)
        id ||= compiled
        return compiled
      },
      { ...defaultCompileLimits, scanBudgetMs: 10_000 },
    )
    this.#plan = id
    this.#leaves = (plan as ScanPlan | null)?.leaves ?? []
  }

  /** Leaves that run over requests. */
  get count(): number {
    return this.#scanned().length
  }

  /** What only one of the two ways found, one line each; nothing when they agree. */
  differences({ method, target, headers, body }: PlainRequest): string[] {
    const handle = this.#port.begin({
      method,
      target,
      protocol: 'HTTP/1.1',
      headers: headers.map(([name, value]) => [name, value]),
      peer: '192.0.2.1',
      peerPort: 40_000,
      local: '198.51.100.2',
      localPort: 80,
      ...(body === null ? {} : { body }),
    })
    try {
      return [1, 2].flatMap((phase) => this.#phase(handle, phase))
    } finally {
      this.#port.end(handle)
    }
  }

  close(): void {
    dropScanPlan(this.#plan)
  }

  #scanned(): { leaf: ScanPlan['leaves'][number]; index: number }[] {
    const all = this.#leaves.map((leaf, index) => ({ leaf, index }))
    return all.filter(({ leaf }) => leaf.phase <= 2 && !leaf.dynamic && !leaf.textOnly)
  }

  #phase(handle: number, phase: number): string[] {
    const gated = linesOf(hitsOf(this.#scanner.scan(handle, this.#plan, phase)))
    const alone = this.#scanned().filter(({ leaf }) => leaf.phase === phase && leaf.idle !== true)
    const found = alone.flatMap(({ leaf, index }) => {
      const query = { plan: this.#plan, leaf: index, argument: leaf.argument }
      return linesOf(this.#scanner.evaluate(handle, query))
    })
    const [one, other] = [new Set(gated), new Set(found)]
    return [
      ...gated.filter((line) => !other.has(line)).map((line) => `only with gates: ${line}`),
      ...found.filter((line) => !one.has(line)).map((line) => `only without gates: ${line}`),
    ]
  }
}

function hitsOf(found: Scanned | 'over-budget'): ScanResult {
  return found === 'over-budget' ? found : found.hits()
}

function linesOf(result: ScanResult): string[] {
  if (result === 'over-budget') return ['over budget']
  return result.map(({ leaf, variable, name, value, captures }: Hit) =>
    JSON.stringify([leaf, variable, name, value, captures]),
  )
}
