/** Ruleset → scan plan (into the addon) and program (for the workers). */
import { prepare } from '../prepared.ts'
import { liveLeaves } from '../prune.ts'
import type { Program, ProgramRule } from '../program.ts'
import type { Rule, Ruleset, SecLangFault } from '../rule.ts'
import type { DecodeLimits, Leaf, ScanPlan } from '../scan-plan.ts'
import { settledArguments, settleLeaves, settleTests } from '../settle.ts'
import { reasonOf, SecLangError } from '../seclang/faults.ts'
import { LeafTable, testOf } from './leaves.ts'

/** Gives the plan's JSON to the addon; the plan's id. Throws with a leaf's source and why. */
export type CompilePlan = (json: string) => number

/** What the proxy's configuration says of a scan. */
export interface CompileLimits {
  /** CPU time that one scan may take. */
  readonly scanBudgetMs: number
  readonly decoding: DecodeLimits
}

/** Far above what a clean request costs and far below what a client waits for. */
export const defaultCompileLimits: CompileLimits = {
  scanBudgetMs: 250,
  decoding: {
    inspectRaw: false,
    bodyBytesMax: 10_485_760,
    bodiesBytesMax: 67_108_864,
    ratioMax: 100,
    codingsMax: 3,
  },
}

const PHASES = [1, 2, 3, 4, 5] as const

/** Compiles the ruleset. Throws a `SecLangError` when the addon refuses a pattern. */
export function compile(
  ruleset: Ruleset,
  compilePlan: CompilePlan,
  limits: CompileLimits = defaultCompileLimits,
): Program {
  const table = new LeafTable()
  const rules = new Map<Rule, ProgramRule>()
  for (const item of ruleset.items) {
    if (item.kind === 'marker') continue
    rules.set(item, { rule: item, tests: item.links.map((one) => testOf(one, item.phase, table)) })
  }
  const program: Program = {
    phases: [[], ...PHASES.map((phase) => phaseItems(ruleset, rules, phase))],
    settings: ruleset.settings,
    plan: 0,
    scans: scansOf(table.leaves),
    components: ruleset.settings.componentSignatures,
    files: ruleset.files,
    notices: ruleset.notices,
  }
  return planned(program, table.leaves, (leaves) =>
    validateCompiled(scanPlan(ruleset, leaves, limits), compilePlan),
  )
}

/** What the start of every transaction makes certain goes into the plan before it is compiled. */
function planned(
  program: Program,
  leaves: readonly Leaf[],
  compileLeaves: (leaves: readonly Leaf[]) => number,
): Program {
  const settled = settledArguments(prepare(program))
  const certain = settleLeaves(leaves, settled)
  const settledProgram = { ...settleTests(program, settled), scans: scansOf(certain) }
  return { ...settledProgram, plan: compileLeaves(markIdle(certain, settledProgram)) }
}

/** Leaves of rules that no request reaches (other paranoia levels) stay, but are not scanned. */
function markIdle(leaves: readonly Leaf[], program: Program): Leaf[] {
  const live = liveLeaves(prepare(program))
  return leaves.map((leaf, index) =>
    live.has(index) || leaf.textOnly || leaf.dynamic ? leaf : { ...leaf, idle: true },
  )
}

/** By phase: whether there is a leaf to scan. */
function scansOf(leaves: readonly Leaf[]): boolean[] {
  return [false, ...PHASES.map((phase) => leaves.some((leaf) => scansIn(leaf, phase)))]
}

function scansIn(leaf: Leaf, phase: number): boolean {
  return leaf.phase === phase && !leaf.dynamic && !leaf.textOnly
}

/** A marker keeps its place in every phase: `skipAfter` only looks at the phase that runs. */
function phaseItems(
  ruleset: Ruleset,
  rules: ReadonlyMap<Rule, ProgramRule>,
  phase: number,
): (ProgramRule | string)[] {
  const items: (ProgramRule | string)[] = []
  for (const item of ruleset.items) {
    const compiled = item.kind === 'marker' ? item.name : rules.get(item)
    if (compiled === undefined) continue
    if (typeof compiled === 'string' || compiled.rule.phase === phase) items.push(compiled)
  }
  return items
}

function scanPlan(ruleset: Ruleset, leaves: readonly Leaf[], limits: CompileLimits): ScanPlan {
  const { settings } = ruleset
  return {
    leaves,
    limits: {
      scanBudgetMs: limits.scanBudgetMs,
      argumentsMax: settings.argumentsLimit,
      jsonDepthMax: settings.requestBodyJsonDepthLimit,
      bodyBytesMax: settings.requestBodyLimitBytes,
      noFilesBytesMax: settings.requestBodyNoFilesLimitBytes,
      decoding: limits.decoding,
    },
    argumentSeparator: settings.argumentSeparator,
    requestBodyAccess: settings.requestBodyAccess,
    responseBodyAccess: settings.responseBodyAccess,
  }
}

/** Compiles the plan; what the addon refuses comes back as faults at the rules' lines. */
function validateCompiled(plan: ScanPlan, compilePlan: CompilePlan): number {
  try {
    return compilePlan(JSON.stringify(plan))
  } catch (error) {
    throw new SecLangError(planFaults(reasonOf(error), plan.leaves))
  }
}

/** Each line of the reason that names a leaf's source is a fault there; else all of it is one. */
function planFaults(reason: string, leaves: readonly Leaf[]): SecLangFault[] {
  const sources = new Set(leaves.map((leaf) => leaf.source))
  const faults = reason.split('\n').flatMap((line): SecLangFault[] => {
    const parts = /^(.*?):(\d+)(?::\s*|\s+)(.*)$/.exec(line)
    const [, file, number, message] = parts ?? []
    if (file === undefined || number === undefined || message === undefined) return []
    if (!sources.has(`${file}:${number}`)) return []
    return [
      { file, line: Number(number), column: 1, message, mend: 'mend the operator or its argument' },
    ]
  })
  if (faults.length > 0) return faults
  const mend = 'this is a fault of the program: please report it with the rules'
  return [{ file: 'scan plan', line: 1, column: 1, message: reason, mend }]
}
