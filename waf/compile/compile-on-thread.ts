/** Compiles rules on a throw-away thread, so that a reload takes no time from the main thread. */
import { Worker } from 'node:worker_threads'
import type { Program } from '../program.ts'
import type { SecLangFault } from '../rule.ts'
import { reasonOf, SecLangError } from '../seclang/faults.ts'
import type { RulesetOptions } from '../seclang/load.ts'
import type { Tuning } from '../tuning/tuning.ts'
import type { CompileLimits } from './compile.ts'

/** What to load and the limits to compile in. */
export interface CompileOptions extends RulesetOptions, Partial<CompileLimits> {
  readonly tunings?: readonly Tuning[]
}

/** What the thread posts, once. */
export type CompileAnswer =
  | { readonly kind: 'program'; readonly program: Program }
  | { readonly kind: 'faults'; readonly faults: readonly SecLangFault[] }
  | { readonly kind: 'failure'; readonly message: string }

const entry = new URL('./compile-thread.ts', import.meta.url)

/**
 * Loads and compiles. The main thread must hold the addon already, since the plan lives there.
 * Rejects with a `SecLangError` that holds all faults of the rules.
 */
export function compileOnThread(options: CompileOptions): Promise<Program> {
  const { promise, resolve, reject } = Promise.withResolvers<Program>()
  const worker = new Worker(entry, { workerData: options })
  worker.once('message', (answer: CompileAnswer) => {
    if (answer.kind === 'program') resolve(answer.program)
    else if (answer.kind === 'faults') reject(new SecLangError(answer.faults))
    else reject(new Error(answer.message))
  })
  worker.once('error', (error) => reject(new Error(reasonOf(error), { cause: error })))
  // After an answer this changes nothing; without one nobody would wait for ever.
  worker.once('exit', (code) => reject(new Error(`the compile thread ended with ${code}`)))
  return promise
}
