/** Gathers the sources of the configuration: files, environment, flags, machine. */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import type { Environment } from '../config/environment.ts'
import { ConfigError } from '../config/faults.ts'
import type { ConfigFile } from '../config/file.ts'
import { type Flags, readFlags } from '../config/flags.ts'
import { type ParsedConfig, parseConfig } from '../config/parse.ts'
import { installedRules } from '../rules.ts'

/** A valid configuration and the flags that are no settings. */
export interface LoadedConfig extends ParsedConfig {
  readonly flags: Flags
  /** The configuration file; null for none. */
  readonly file: string | null
}

/** Reads and judges everything; throws `UsageError` or `ConfigError`. */
export function loadConfig(args: readonly string[], env: Environment): LoadedConfig {
  const flags = readFlags(args)
  const file = configFileOf(flags, env)
  const parsed = parseConfig({
    file: file === null ? null : readConfigFile(flags, env),
    env,
    flags: flags.settings,
    folder: process.cwd(),
    processors: availableParallelism(),
    installedRules: installedRules(env),
  })
  if (parsed instanceof ConfigError) throw parsed
  return { ...parsed, flags, file }
}

/** The configuration file; null for none. */
export function configFileOf({ configFile }: Flags, env: Environment): string | null {
  const named = nameOf(configFile, env)
  return named === '' ? null : resolve(named)
}

function nameOf(configFile: string | null, env: Environment): string {
  return configFile ?? env['EDGE_CONFIG'] ?? ''
}

function readConfigFile({ configFile }: Flags, env: Environment): ConfigFile {
  const isFlag = configFile !== null
  const name = nameOf(configFile, env)
  const path = resolve(name)
  try {
    return { path, name, text: readFileSync(path, 'utf8') }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const where = isFlag ? '--config' : 'env EDGE_CONFIG'
    const mend = 'name a file that this user can read'
    throw new ConfigError([{ where, message: reason, mend }])
  }
}
