/** What the rules of a configuration are compiled from, and by what name a service knows them. */
import { fileURLToPath } from 'node:url'
import type { CompileOptions } from '../waf/compile/compile-on-thread.ts'
import { noSettings } from '../waf/tuning/tuning.ts'
import type { EdgeConfig } from './config/schema.ts'
import { settingsOf, tuningsOf } from './tuning.ts'

const unset = JSON.stringify(noSettings)

/** Whether nothing is ever inspected. */
export function isOff({ waf, routes }: EdgeConfig): boolean {
  return waf.mode === 'off' || routes.every((route) => route.waf.mode === 'off')
}

/** Everything that a program is compiled from. */
export function compileOptionsOf(config: EdgeConfig): CompileOptions {
  const { waf } = config
  const tunings = tuningsOf(config).all
  return {
    baseFile: waf.baseFile ?? fileURLToPath(new URL('../waf/base.conf', import.meta.url)),
    crsDirectory: waf.rules,
    paranoia: waf.paranoia,
    setupFiles: waf.setupFiles,
    geoDatabase: waf.geoDatabase,
    settings: settingsOf(waf),
    scanBudgetMs: waf.budgetMs,
    decoding: waf.decoding,
    tunings,
    tunable: tunings.some(({ settings }) => JSON.stringify(settings) !== unset),
  }
}
