/** Files that only their owner may read, written whole or not at all. */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { z } from 'zod'
import { reasonOf } from '../waf/reason-of.ts'
import { MeshFault } from './fault.ts'

/** Makes the folder for state where there is none. */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw folderFault(error, folder)
  }
}

/** Writes a file of the folder in place of what is there. */
export function writeSecret(folder: string, name: string, text: string): void {
  replace(folder, name, { text, flush: false })
}

/** The same for what nobody else has: keys. Without the wait for the disk, a file may have its name
 * before its bytes, and is empty after a loss of power. */
export function writeLasting(folder: string, name: string, text: string): void {
  replace(folder, name, { text, flush: true })
}

function replace(
  folder: string,
  name: string,
  { text, flush }: { text: string; flush: boolean },
): void {
  const fresh = join(folder, `${name}.${process.pid}`)
  try {
    writeFileSync(fresh, text, { mode: 0o600, flush })
    renameSync(fresh, join(folder, name))
  } catch (error) {
    rmSync(fresh, { force: true }) // on a full disk what was written of it is in the way
    // A node starts on a full disk as well: most of what it writes then stands there already.
    if (isSame(join(folder, name), text)) return
    throw folderFault(error, join(folder, name))
  }
}

/** Writes it unless there is one, as two programs may do at once; the text that stands there. */
export function writeOnce(folder: string, name: string, text: string): string {
  const fresh = join(folder, `${name}.${process.pid}`)
  try {
    writeFileSync(fresh, text, { mode: 0o600, flush: true })
    linkSync(fresh, join(folder, name))
    return text
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw folderFault(error, join(folder, name))
    return readSecret(folder, name) ?? text
  } finally {
    rmSync(fresh, { force: true })
  }
}

/** Null when there is no such file. */
export function readSecret(folder: string, name: string): string | null {
  try {
    return readFileSync(join(folder, name), 'utf8')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    throw folderFault(error, join(folder, name))
  }
}

/** A JSON file of the folder; null when there is none. */
export function readState<T>(folder: string, name: string, schema: z.ZodType<T>): T | null {
  const text = readSecret(folder, name)
  if (text === null) return null
  try {
    return schema.parse(JSON.parse(text))
  } catch {
    throw new MeshFault('STATE_INVALID', {
      where: join(folder, name),
      message: 'it does not hold what the mesh wrote there',
      mend: 'restore it, or empty the folder and join again with a new token',
    })
  }
}

function isSame(file: string, text: string): boolean {
  try {
    return readFileSync(file, 'utf8') === text
  } catch {
    return false
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

const mends: Readonly<Record<string, string>> = {
  ENOSPC: 'make room on its disk',
  EDQUOT: "make room in this user's quota",
  EROFS: 'name a folder on a disk that can be written',
}

function folderFault(error: unknown, where: string): MeshFault {
  const [, mend = "run it as the folder's owner, or name a folder that this user may write"] =
    Object.entries(mends).find(([code]) => hasCode(error, code)) ?? []
  return new MeshFault('STATE_UNWRITABLE', { where, message: reasonOf(error), mend })
}
