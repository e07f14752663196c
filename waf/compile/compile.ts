/** Ruleset → scan plan (into the addon) and program (for the workers). */
import { dirname, resolve } from 'node:path'
import type { Program, ProgramRule } from '../program.ts'
import type { Rule, Ruleset, SecLangFault } from '../rule.ts'
import type { DecodeLimits, Leaf, ScanPlan } from '../scan-plan.ts'
import { SecLangError } from '../seclang/faults.ts'
import type { Tuning } from '../tuning/tuning.ts'
import { compileVariants } from './compile-variants.ts'
import { guarded } from './guard.ts'
import { LeafTable, testOf } from './leaves.ts'
import { reasonOf } from '../reason-of.ts'

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
  tunings: readonly Tuning[] = [],
): Program {
  const table = new LeafTable()
  const rules = new Map<Rule, ProgramRule>()
  for (const item of ruleset.items) {
    if (item.kind === 'marker') continue
    rules.set(item, { rule: item, tests: item.links.map((one) => testOf(one, item.phase, table)) })
  }
  for (const [rule, compiled] of guarded(ruleset, rules, table)) rules.set(rule, compiled)
  const program: Program = {
    phases: [[], ...PHASES.map((phase) => phaseItems(ruleset, rules, phase))],
    settings: ruleset.settings,
    plan: 0,
    scans: scansOf(table.leaves),
    components: ruleset.settings.componentSignatures,
    files: [...new Set([...ruleset.files, ...dataFiles(ruleset)])],
    lookups: ruleset.lookups,
    notices: ruleset.notices,
  }
  const compiler = new LeavesCompiler(ruleset, { limits, compilePlan })
  const compiled = compileVariants(program, table.leaves, {
    tunings,
    compileLeaves: (leaves) => compiler.compile(leaves),
  })
  const { variants, tunings: ofEach } = compiled
  const plan = variants[0]?.plan ?? 0
  const scans = scansOf(compiler.first)
  return { ...compiled.program, variants, tunings: ofEach, plan, scans }
}

/** Files of phrases and addresses, which stand beside the rules that name them. */
function dataFiles({ items }: Ruleset): string[] {
  const links = items.flatMap((item) => (item.kind === 'rule' ? item.links : []))
  const fromFile = links.filter(({ operator }) => operator.endsWith('fromfile'))
  return fromFile.map(({ source, argument }) => resolve(dirname(source.file), argument))
}

/** Compiles the leaves of one variant after the other. */
class LeavesCompiler {
  readonly #ruleset: Ruleset
  readonly #options: { readonly limits: CompileLimits; readonly compilePlan: CompilePlan }
  #first: readonly Leaf[] | null = null

  constructor(
    ruleset: Ruleset,
    options: { readonly limits: CompileLimits; readonly compilePlan: CompilePlan },
  ) {
    this.#ruleset = ruleset
    this.#options = options
  }

  /** The leaves that were compiled first. */
  get first(): readonly Leaf[] {
    return this.#first ?? []
  }

  compile(leaves: readonly Leaf[]): number {
    const { limits, compilePlan } = this.#options
    // The first plan has judged every leaf; those after it need not judge the idle ones again.
    const checked = this.#first !== null
    this.#first ??= leaves
    return validateCompiled(scanPlan(this.#ruleset, { leaves, limits, checked }), compilePlan)
  }
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

function scanPlan(
  { settings }: Ruleset,
  {
    leaves,
    limits,
    checked,
  }: {
    readonly leaves: readonly Leaf[]
    readonly limits: CompileLimits
    readonly checked: boolean
  },
): ScanPlan {
  return {
    leaves,
    ...(checked ? { checked } : {}),
    limits: {
      scanBudgetMs: limits.scanBudgetMs,
      argumentsMax: settings.argumentsLimit,
      jsonDepthMax: settings.requestBodyJsonDepthLimit,
      bodyBytesMax: settings.requestBodyLimitBytes,
      noFilesBytesMax: settings.requestBodyNoFilesLimitBytes,
      decoding: limits.decoding,
      bodyOverLimit: settings.requestBodyLimitAction,
      ...(settings.uploadFileLimit === null ? {} : { uploadFilesMax: settings.uploadFileLimit }),
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
