/** Defaults < file < environment < flags, merged as plain data, then judged once and frozen. */
import { dirname } from 'node:path'
import { z } from 'zod'
import { crossFaults } from './checks.ts'
import { complete } from './complete.ts'
import { type Environment, readEnvironment } from './environment.ts'
import { ConfigError, type Fault } from './faults.ts'
import { type ConfigFile, readFileLayer } from './file.ts'
import { issueFaults } from './issues.ts'
import { applySettings, Origins, type Setting } from './layer.ts'
import { type EdgeConfig, resolve, schema } from './schema.ts'
import { readServerId } from './server-id.ts'

// A configuration is judged once: code made for its schema costs more than it saves.
z.config({ jitless: true })

/** Everything that has a say in the configuration. */
export interface Sources {
  readonly file: ConfigFile | null
  readonly env: Environment
  /** The settings of the command line. */
  readonly flags: readonly Setting[]
  /** The folder that relative paths of environment and flags are meant from. */
  readonly folder: string
  /** Processors of this machine, for `auto`. */
  readonly processors: number
  /** Rules that `edge rules install` has put there. */
  readonly installedRules: string | null
}

/** A valid configuration, and where it came from. */
export interface ParsedConfig {
  readonly config: EdgeConfig
  /** The same in the form of the file, complete: what `--print-config` shows. */
  readonly written: unknown
  readonly origins: Origins
  /** What is worth telling but wrong with nothing. */
  readonly notices: readonly string[]
}

/** Judges all sources together; the error holds every fault, not only the first. */
export function parseConfig(sources: Sources): ParsedConfig | ConfigError {
  const file = sources.file === null ? null : readFileLayer(sources.file)
  const environment = readEnvironment(sources.env)
  const origins = file?.origins ?? new Origins()
  const settings = [...environment.settings, ...sources.flags]
  const fileFolder = sources.file === null ? '' : dirname(sources.file.path)
  const merged = complete(schema, applySettings(file?.data, settings, origins), {
    origins,
    path: [],
    folderOf: (where) => (/^(?:--|env )/.test(where) ? sources.folder : fileFolder),
  })
  const { written, faults: unread } = readServerId(
    withRules(merged, sources, origins),
    sources.env,
    origins,
  )
  const notices = [...environment.notices]
  const faults: Fault[] = [...(file?.faults ?? []), ...environment.faults, ...unread]
  const result = z.safeParse(schema, written)
  if (!result.success) {
    const places = { origins, keys: file?.keys ?? new Map<string, string>() }
    faults.push(...result.error.issues.flatMap((issue) => issueFaults(issue, written, places)))
    return new ConfigError(inOrder(faults))
  }
  faults.push(...crossFaults(result.data, origins))
  if (faults.length > 0) return new ConfigError(inOrder(faults))
  if (result.data.waf.rules === null && result.data.waf.mode !== 'off') {
    notices.push('no rules: only waf/base.conf inspects; run: ./edge rules install')
  }
  // Hooks that break workers on purpose: no file and no flag may switch them on by mistake.
  const testHooks = sources.env['EDGE_TEST_HOOKS'] === '1'
  const config = resolve(result.data, { processors: sources.processors, testHooks })
  deepFreeze(config)
  return { config, written, origins, notices }
}

/** The installed rules, when nobody named others. */
function withRules(merged: unknown, { installedRules }: Sources, origins: Origins): unknown {
  const path = ['waf', 'rules']
  const hasRules = z.looseObject({ waf: z.looseObject({ rules: z.string() }) })
  if (installedRules === null || hasRules.safeParse(merged).success) return merged
  return applySettings(merged, [{ path, value: installedRules, where: 'edge rules' }], origins)
}

/** As they stand in the file, so that the user mends from top to bottom. */
function inOrder(faults: readonly Fault[]): Fault[] {
  return faults.toSorted((one, other) =>
    one.where.localeCompare(other.where, 'en', { numeric: true }),
  )
}

function deepFreeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return
  Object.freeze(value)
  Object.values(value).forEach(deepFreeze)
}
