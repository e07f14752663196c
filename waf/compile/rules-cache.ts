/**
 * Compiled rules on disk: one file for each set of options, valid for the same contents only. What
 * is broken, foreign or somebody else's is passed over and written anew.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { plansOf } from '../program.ts'
import type { Program } from '../program.ts'
import { digestOf, sameInputs } from './inputs.ts'
import type { Inputs } from './inputs.ts'

/** A program without what lives in the addon. */
export interface StoredProgram {
  readonly inputs: Inputs
  /** Its plan ids are indexes into `plans`. */
  readonly program: Program
  /** JSON of each `ScanPlan`. */
  readonly plans: readonly string[]
}

const entryBytesMax = 64 * 1024 * 1024
const entriesMax = 8
const headerBytes = 128
const magic = 'edge-rules-2'
const suffix = '.rules'

/** The entry of that name, when it is whole and everything that it was made of is the same. */
export function readEntry(folder: string, name: string): StoredProgram | null {
  try {
    const payload = verified(readBounded(join(folder, `${name}${suffix}`)))
    if (payload === null) return null
    const [head = '', ...plans] = payload.toString('utf8').split('\n')
    const stored: unknown = JSON.parse(head)
    if (!isHead(stored, plans) || !sameInputs(stored.inputs)) return null
    return { ...stored, plans }
  } catch {
    return null // nothing there, or nothing that can be read: then it is compiled
  }
}

/** Puts an entry in place at once, and takes the oldest ones away. Throws when it cannot. */
export function writeEntry(folder: string, name: string, stored: StoredProgram): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // A line each: what only the addon reads is not parsed here.
  const { plans, ...head } = stored
  const payload = Buffer.from([JSON.stringify(head), ...plans].join('\n'))
  const header = Buffer.alloc(headerBytes, ' ')
  header.write(`${magic} ${payload.length} ${digestOf(payload)}\n`)
  if (payload.length > entryBytesMax) return
  const path = join(folder, `${name}${suffix}`)
  const fresh = `${path}.${process.pid}`
  try {
    writeFileSync(fresh, Buffer.concat([header, payload]), { mode: 0o600 })
    renameSync(fresh, path)
  } finally {
    rmSync(fresh, { force: true })
  }
  removeOldest(folder)
}

/** Null for what is too large, not ours, or open to others. */
function readBounded(path: string): Buffer | null {
  const file = openSync(path, 'r')
  try {
    const { size, uid, mode } = fstatSync(file)
    const isOurs = uid === (process.getuid?.() ?? uid) && (mode & 0o022) === 0
    if (!isOurs || size < headerBytes || size > headerBytes + entryBytesMax) return null
    const bytes = Buffer.alloc(size)
    return readSync(file, bytes) === size ? bytes : null
  } finally {
    closeSync(file)
  }
}

function verified(bytes: Buffer | null): Buffer | null {
  if (bytes === null) return null
  const [line = ''] = bytes.subarray(0, headerBytes).toString('latin1').split('\n', 1)
  const [found, length, digest] = line.split(' ')
  const payload = bytes.subarray(headerBytes)
  if (found !== magic || Number(length) !== payload.length) return null
  return digestOf(payload) === digest ? payload : null
}

/** The digest says that this engine wrote it; this guards against our own mistakes. */
function isHead(value: unknown, plans: readonly string[]): value is Omit<StoredProgram, 'plans'> {
  if (typeof value !== 'object' || value === null) return false
  const { inputs, program } = value as Partial<StoredProgram>
  if (!Array.isArray(inputs?.files) || !Array.isArray(inputs.lookups)) return false
  const used = program === undefined ? [] : plansOf(program)
  return used.length > 0 && used.every((plan) => plan in plans) && program?.phases.length === 6
}

function removeOldest(folder: string): void {
  const entries = readdirSync(folder)
    .filter((name) => name.includes(suffix))
    .map((name) => join(folder, name))
    .map((path) => ({ path, timeMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .toSorted((one, other) => other.timeMs - one.timeMs)
  for (const { path } of entries.slice(entriesMax)) rmSync(path, { force: true })
}
