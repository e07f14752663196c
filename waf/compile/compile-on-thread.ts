/** Compiles rules on a throw-away thread, so that a reload takes no time from the main thread. */
import { Worker } from 'node:worker_threads'
import { renamePlans } from '../program.ts'
import type { Program } from '../program.ts'
import type { SecLangFault } from '../rule.ts'
import { compileScanPlanAside, dropScanPlan } from '../scanner.ts'
import { SecLangError } from '../seclang/faults.ts'
import type { RulesetOptions } from '../seclang/load.ts'
import type { Tuning } from '../tuning/tuning.ts'
import type { CompileLimits } from './compile.ts'
import { compilationName } from './inputs.ts'
import { readEntry } from './rules-cache.ts'
import { reasonOf } from '../reason-of.ts'

/** What to load and the limits to compile in. */
export interface CompileOptions extends RulesetOptions, Partial<CompileLimits> {
  readonly tunings?: readonly Tuning[]
}

/** What the thread is born with. */
export interface CompileOrder {
  readonly options: CompileOptions
  /** Null: nothing is kept. */
  readonly cacheFolder: string | null
}

/** What the thread posts: one of the first three, and then perhaps the last. */
export type CompileAnswer =
  | { readonly kind: 'program'; readonly program: Program }
  | { readonly kind: 'faults'; readonly faults: readonly SecLangFault[] }
  | { readonly kind: 'failure'; readonly message: string }
  | { readonly kind: 'not-kept'; readonly message: string }

/** Where compiled rules are kept, and who hears that they cannot be. */
export interface RulesCache {
  readonly folder: string
  readonly onFailure: (reason: string) => void
}

const entry = new URL('./compile-thread.ts', import.meta.url)

/** Takes the program from the cache, or compiles it. Rejects as `compileOnThread`. */
export async function compileRuleset(
  options: CompileOptions,
  cache: RulesCache | null,
): Promise<Program> {
  const kept = cache === null ? null : await revive(options, cache.folder)
  return kept ?? compileOnThread(options, cache)
}

/** Null when the cache has no such program, or what it has does not compile. */
async function revive(options: CompileOptions, folder: string): Promise<Program | null> {
  const stored = readEntry(folder, compilationName(options))
  if (stored === null) return null
  const ids: number[] = []
  try {
    for (const plan of stored.plans) ids.push(await compileScanPlanAside(plan))
    return renamePlans(stored.program, (index) => ids[index] ?? 0)
  } catch {
    for (const id of ids) dropScanPlan(id)
    return null
  }
}

/**
 * Loads and compiles. The main thread must hold the addon already, since the plan lives there.
 * Rejects with a `SecLangError` that holds all faults of the rules.
 */
export function compileOnThread(
  options: CompileOptions,
  cache: RulesCache | null = null,
): Promise<Program> {
  const { promise, resolve, reject } = Promise.withResolvers<Program>()
  const order: CompileOrder = { options, cacheFolder: cache?.folder ?? null }
  const worker = new Worker(entry, { workerData: order })
  worker.on('message', (answer: CompileAnswer) => {
    if (answer.kind === 'program') resolve(answer.program)
    else if (answer.kind === 'faults') reject(new SecLangError(answer.faults))
    else if (answer.kind === 'not-kept') cache?.onFailure(answer.message)
    else reject(new Error(answer.message))
  })
  worker.once('error', (error) => reject(new Error(reasonOf(error), { cause: error })))
  // After an answer this changes nothing; without one nobody would wait for ever.
  worker.once('exit', (code) => reject(new Error(`the compile thread ended with ${code}`)))
  // Keeping a copy for the next start must not hold up the end of this one.
  promise.then(
    () => worker.unref(),
    () => undefined,
  )
  return promise
}
