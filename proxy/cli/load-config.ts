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
import { reasonOf } from '../../waf/reason-of.ts'

/** A valid configuration and the flags that are no settings. */
export interface LoadedConfig extends ParsedConfig {
  readonly flags: Flags
  /** The configuration file; null for none. */
  readonly file: ConfigFile | null
}

/**
 * Reads and judges everything; throws `UsageError` or `ConfigError`. `lastGood` takes the place of
 * the file's text.
 */
export function loadConfig(
  args: readonly string[],
  env: Environment,
  lastGood: string | null = null,
): LoadedConfig {
  const flags = readFlags(args)
  const file = readConfigFile(flags, env, lastGood)
  const parsed = parseConfig({
    file,
    env,
    flags: flags.settings,
    folder: process.cwd(),
    processors: availableParallelism(),
    installedRules: installedRules(env),
  })
  if (parsed instanceof ConfigError) throw parsed
  return { ...parsed, flags, file }
}

/** The path of the configuration file; null for none. */
export function configFileOf({ configFile }: Flags, env: Environment): string | null {
  const name = nameOf(configFile, env)
  return name === '' ? null : resolve(name)
}

function nameOf(configFile: string | null, env: Environment): string {
  return configFile ?? env['EDGE_CONFIG'] ?? ''
}

function readConfigFile(
  { configFile }: Flags,
  env: Environment,
  lastGood: string | null,
): ConfigFile | null {
  const name = nameOf(configFile, env)
  if (name === '') return null
  const path = resolve(name)
  if (lastGood !== null) return { path, name: `${name} (last good)`, text: lastGood }
  try {
    return { path, name, text: readFileSync(path, 'utf8') }
  } catch (error) {
    const reason = reasonOf(error)
    const where = configFile !== null ? '--config' : 'env EDGE_CONFIG'
    const mend = 'name a file that this user can read'
    throw new ConfigError([{ where, message: reason, mend }])
  }
}
