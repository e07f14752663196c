/** The throw-away thread's entry: options in `workerData`, one `CompileAnswer` out. */
import { parentPort, workerData } from 'node:worker_threads'
import { compileScanPlan } from '../scanner.ts'
import { reasonOf, SecLangError } from '../seclang/faults.ts'
import { loadRuleset } from '../seclang/load.ts'
import { compile, defaultCompileLimits } from './compile.ts'
import type { CompileAnswer, CompileOptions } from './compile-on-thread.ts'

parentPort?.postMessage(answer(workerData))

function answer(options: CompileOptions): CompileAnswer {
  try {
    const ruleset = loadRuleset(options)
    const limits = {
      scanBudgetMs: options.scanBudgetMs ?? defaultCompileLimits.scanBudgetMs,
      decoding: options.decoding ?? defaultCompileLimits.decoding,
    }
    return { kind: 'program', program: compile(ruleset, compileScanPlan, limits) }
  } catch (error) {
    if (error instanceof SecLangError) return { kind: 'faults', faults: error.faults }
    return { kind: 'failure', message: reasonOf(error) }
  }
}
