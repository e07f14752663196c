/**
 * The configuration file that was last taken, kept on disk: with `--last-good` a program that finds
 * a broken one at its start serves with this text instead. Flags and environment are those of the
 * start; rules and certificates stay where they are and are read anew.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Environment } from './config/environment.ts'
import { stateDirectory } from './directories.ts'

/** Where it is kept: programs with other files have other places. */
function placeOf(configFile: string, env: Environment): string {
  const name = createHash('sha256').update(configFile).digest('hex').slice(0, 16)
  return join(stateDirectory(env), 'last-good', `${name}.yaml`)
}

/** Keeps it, whole or not at all; throws when the state directory cannot be written. */
export function saveLastGood(configFile: string, text: string, env: Environment): void {
  const place = placeOf(configFile, env)
  mkdirSync(dirname(place), { recursive: true, mode: 0o700 })
  const fresh = `${place}.${process.pid}`
  writeFileSync(fresh, text, { mode: 0o600 })
  renameSync(fresh, place)
}

/** Null when none was ever kept. */
export function readLastGood(configFile: string, env: Environment): string | null {
  const place = placeOf(configFile, env)
  return existsSync(place) ? readFileSync(place, 'utf8') : null
}
