/**
 * The throw-away thread's entry: options in `workerData`, one `CompileAnswer` out. What it compiled
 * is kept on disk afterwards, when nobody waits any more.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { Program } from '../program.ts'
import { renamePlans } from '../program.ts'
import type { Ruleset } from '../rule.ts'
import type { ScanPlan } from '../scan-plan.ts'
import { compileScanPlan } from '../scanner.ts'
import { SecLangError } from '../seclang/faults.ts'
import { loadRuleset } from '../seclang/load.ts'
import { compile, defaultCompileLimits } from './compile.ts'
import type { CompileAnswer, CompileOrder } from './compile-on-thread.ts'
import { compilationName, inputsOf } from './inputs.ts'
import { writeEntry } from './rules-cache.ts'
import { reasonOf } from '../reason-of.ts'

const order: CompileOrder = workerData
try {
  run(order)
} catch (error) {
  if (error instanceof SecLangError) answer({ kind: 'faults', faults: error.faults })
  else answer({ kind: 'failure', message: reasonOf(error) })
}

function answer(message: CompileAnswer): void {
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
  parentPort?.postMessage(message)
}

function run({ options, cacheFolder }: CompileOrder): void {
  const ruleset = loadRuleset(options)
  const limits = {
    scanBudgetMs: options.scanBudgetMs ?? defaultCompileLimits.scanBudgetMs,
    decoding: options.decoding ?? defaultCompileLimits.decoding,
  }
  const plans = new Map<number, string>()
  const compilePlan = (json: string): number => {
    const id = compileScanPlan(json)
    plans.set(id, json)
    return id
  }
  const program = compile(ruleset, compilePlan, limits, options.tunings)
  answer({ kind: 'program', program })
  if (cacheFolder === null) return
  try {
    keep({ options, cacheFolder }, { ruleset, program, plans })
  } catch (error) {
    answer({ kind: 'not-kept', message: reasonOf(error) })
  }
}

interface Compiled {
  readonly ruleset: Ruleset
  readonly program: Program
  readonly plans: ReadonlyMap<number, string>
}

/**
 * Reads everything once more: only rules that come out the same, between two equal looks at the
 * files, are known to be made of these contents.
 */
function keep(
  {
    options,
    cacheFolder,
  }: { readonly options: CompileOrder['options']; readonly cacheFolder: string },
  { ruleset, program, plans }: Compiled,
): void {
  const files = (program.files ?? []).filter((file) => file.startsWith('/'))
  const inputs = inputsOf(files, ruleset.lookups)
  const name = compilationName(options)
  const isSame = JSON.stringify(loadRuleset(options)) === JSON.stringify(ruleset)
  const after = inputsOf(files, ruleset.lookups)
  if (inputs === null || !isSame || JSON.stringify(after) !== JSON.stringify(inputs)) return
  const ids = [...plans.keys()]
  // They compiled: when they are compiled again, what no request reaches is left out.
  const checked = [...plans.values()].map((json) => {
    const plan: ScanPlan = JSON.parse(json)
    return JSON.stringify({ ...plan, checked: true })
  })
  writeEntry(cacheFolder, name, {
    inputs,
    program: renamePlans(program, (plan) => ids.indexOf(plan)),
    plans: checked,
  })
}
