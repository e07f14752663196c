/** Everything that a compiled ruleset was made of, so that a kept one is used for the same only. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { addonFile } from '../../native/addon-file.ts'
import { matchedFiles } from '../seclang/include.ts'
import { rulesetFiles } from '../seclang/load.ts'
import type { CompileOptions } from './compile-on-thread.ts'

/** Contents and lookups as they were when the rules were compiled. */
export interface Inputs {
  /** Path and SHA-256 of every file that was read, data files too. */
  readonly files: readonly (readonly [path: string, digest: string])[]
  /** `Include` and its like, each with what it found. */
  readonly lookups: readonly (readonly [pattern: string, files: readonly string[]])[]
}

/** SHA-256, hexadecimal. */
export function digestOf(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Reads the files again; null when one cannot be read. */
export function inputsOf(files: Iterable<string>, lookups: Iterable<string>): Inputs | null {
  try {
    const digests = [...new Set(files)].map((file) => [file, digestOf(readFileSync(file))] as const)
    return { files: digests, lookups: [...lookups].map((one) => [one, matchedFiles(one)] as const) }
  } catch {
    return null
  }
}

/** True when files and lookups are what they were. */
export function sameInputs(known: Inputs): boolean {
  const now = inputsOf(
    known.files.map(([file]) => file),
    known.lookups.map(([pattern]) => pattern),
  )
  return now !== null && JSON.stringify(now) === JSON.stringify(known)
}

/** Names what would be compiled: this engine, these options, this list of files. */
export function compilationName(options: CompileOptions): string {
  return digestOf(JSON.stringify([engineState(), options, rulesetFiles(options)]))
}

/**
 * This engine's own code, by size and time: an older engine's entries must not be used, and while
 * the engine is worked at its version says nothing.
 */
function engineState(): string {
  // This file, or the part of a bundle that it became.
  const { dirname: here, filename } = import.meta
  const library = filename.endsWith('.ts') ? dirname(here) : here
  const sources = readdirSync(library, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.test)\.[jt]s$/.test(name))
    .toSorted()
    .map((name) => join(library, name))
  const states = [addonFile(), ...sources].map((file) => {
    const { size, mtimeMs } = statSync(file)
    return `${file} ${size} ${mtimeMs}`
  })
  return `${process.version} ${process.arch}\n${states.join('\n')}`
}
