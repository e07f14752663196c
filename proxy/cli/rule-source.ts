/** Which rules a command without a server works with: flags, edge.yaml, what is installed. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type EngineOptions, OfflineEngine, createEngine } from '../../waf/offline/engine.ts'
import type { Program } from '../../waf/program.ts'
import { SecLangError } from '../../waf/seclang/faults.ts'
import type { RulesetOptions } from '../../waf/seclang/load.ts'
import type { Environment } from '../config/environment.ts'
import { ConfigError } from '../config/faults.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { inspectsBody } from '../policy.ts'
import { rulesetOptions } from '../rules.ts'
import { loadConfig } from './load-config.ts'

/** The flags that choose rules, as `edge run` spells them. */
export const ruleFlags = {
  config: { type: 'string' },
  rules: { type: 'string' },
  paranoia: { type: 'string' },
  'waf-setup': { type: 'string', multiple: true },
} as const

/** Their values. */
export interface RuleFlags {
  readonly config?: string | undefined
  readonly rules?: string | undefined
  readonly paranoia?: string | undefined
  readonly 'waf-setup'?: readonly string[] | undefined
}

/** Rules, and the configuration that they are meant for. */
export interface RuleSource {
  readonly ruleset: RulesetOptions
  readonly config: EdgeConfig
}

/**
 * What the flags choose: a CRS folder, else a file or folder of SecLang, else the installed rules.
 * Throws a `ConfigError` where there is none.
 */
export function ruleSource(flags: RuleFlags, env: Environment): RuleSource {
  const own = flags.rules === undefined ? null : ownFiles(resolve(flags.rules))
  const args: string[] = []
  if (flags.config !== undefined) args.push('--config', flags.config)
  if (flags.rules !== undefined && own === null) args.push('--rules', flags.rules)
  if (flags.paranoia !== undefined) args.push('--paranoia', flags.paranoia)
  for (const file of flags['waf-setup'] ?? []) args.push('--waf-setup', file)
  const { config } = loadConfig(args, env)
  const ruleset = rulesetOptions(config)
  if (own !== null) return { config, ruleset: { ...ruleset, crsDirectory: null, ruleFiles: own } }
  // SecLang of the users' own is rules enough.
  if (ruleset.crsDirectory === null && ruleset.setupFiles.length === 0) {
    const mend = 'name a folder with --rules, or run: edge rules install'
    throw new ConfigError([{ where: '--rules', message: 'there are no rules', mend }])
  }
  return { config, ruleset }
}

/** SecLang files that are no CRS; null for a CRS folder, and for what the schema will judge. */
function ownFiles(path: string): string[] | null {
  if (!existsSync(path) || existsSync(join(path, 'rules'))) return null
  if (!statSync(path).isDirectory()) return [path]
  const names = readdirSync(path).filter((name) => name.endsWith('.conf'))
  return names.toSorted().map((name) => join(path, name))
}

/** The engine of a source, which sees bodies as the proxy's routes do by default. */
export function openEngine(source: RuleSource, options: EngineOptions = {}): OfflineEngine {
  try {
    return createEngine(source.ruleset, { ...engineOptions(source), ...options })
  } catch (error) {
    throw asConfigError(error)
  }
}

/** The same over a program that somebody else has compiled. */
export function offlineEngine(
  source: RuleSource,
  program: Program,
  options: EngineOptions = {},
): OfflineEngine {
  return new OfflineEngine(program, { ...engineOptions(source), ...options })
}

function engineOptions({ config: { limits, waf } }: RuleSource): EngineOptions {
  const policy = { inspectOtherBodies: true, stream: false }
  return {
    scanBudgetMs: waf.budgetMs,
    readLimits: {
      headBytesMax: limits.headerBytesMax,
      lineBytesMax: limits.headerLineBytesMax,
      headerCountMax: limits.headerCountMax,
    },
    waitsForBody: ({ headers }) => {
      const valuesOf = (wanted: string): string[] =>
        headers.filter(([name]) => name.toLowerCase() === wanted).map(([, value]) => value)
      return inspectsBody({ hasBody: true, websocket: false, headerAll: valuesOf }, policy)
    },
  }
}

/** The faults of rules as those of a configuration: exit code 78. */
export function asConfigError(error: unknown): unknown {
  if (!(error instanceof SecLangError)) return error
  const faults = error.faults.map(({ file, line, message, mend }) => ({
    where: `${file}:${line}`,
    message,
    mend,
  }))
  return new ConfigError(faults)
}
