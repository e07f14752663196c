/**
 * The last configuration that was taken, kept on disk: with `--last-good` a program that finds a
 * broken one at its start serves with this instead. It is the merged configuration; rules and
 * certificates stay where they are and are read anew.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { stringify } from 'yaml'
import type { Environment } from './config/environment.ts'
import { type Loaded, load } from './load.ts'
import { stateDirectory } from './state-directory.ts'

// What says where things are, not what they are worth: that is in the saved file.
const keptVariables = ['STATE_DIRECTORY', 'XDG_STATE_HOME', 'HOME', 'EDGE_TEST_HOOKS']

/** Where the configuration of this file is kept: programs with other files have other places. */
export function lastGoodFile(configFile: string, env: Environment): string {
  const name = createHash('sha256').update(configFile).digest('hex').slice(0, 16)
  return join(stateDirectory(env), 'last-good', `${name}.yaml`)
}

/** Keeps it, whole or not at all. */
export function saveLastGood(file: string, written: unknown): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const fresh = `${file}.${process.pid}`
  writeFileSync(fresh, stringify(written), { mode: 0o600 })
  renameSync(fresh, file)
}

/** Null when none was ever kept; throws when it is not valid any more, say for a missing file. */
export async function loadLastGood(file: string, env: Environment): Promise<Loaded | null> {
  if (!existsSync(file)) return null
  const kept = Object.fromEntries(keptVariables.map((name) => [name, env[name]]))
  return load(['--config', file], kept)
}
