// Where things are. Plain JavaScript for Node 20: it runs before anything is installed.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The project's root folder. */
export const root = fileURLToPath(new URL('..', import.meta.url))

/** The Cargo workspace. */
export const native = join(root, 'native')

/** The Node that package.json pins; its package carries the binary without an install script. */
export const pinnedNode = join(root, `node_modules/node-linux-${process.arch}/bin/node`)

/** The addon as the program loads it (native/load.ts). */
export const addon = join(native, 'addon/edge.node')

/** A compiled addon of a release; when it is there nobody has to compile. */
export const prebuiltAddon = join(native, `prebuilt/edge-${process.platform}-${process.arch}.node`)

/** Cargo's target folder; absolute, since cargo reads a relative one against its own. */
export const targetDir = resolve(process.env.CARGO_TARGET_DIR || join(native, 'target'))

/** Something that the user must mend: one sentence, no stack. */
export class Missing extends Error {}

/** Runs the script's main function; a `Missing` becomes its sentence and exit code 1. */
export async function main(run) {
  try {
    process.exitCode = (await run()) ?? 0
  } catch (error) {
    if (!(error instanceof Missing)) throw error
    console.error(error.message)
    process.exitCode = 1
  }
}

/** SHA-256 of the files' names and contents, as hex. */
export function hashOf(files) {
  const hash = createHash('sha256')
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(root, file)))
  return hash.digest('hex')
}

/** The first line of a stamp file, '' when there is none. */
export function stampOf(file) {
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
}

/** Whether the module of this URL is the program that was started. */
export function isMain(url) {
  const started = process.argv[1]
  return started !== undefined && realpathSync(started) === fileURLToPath(url)
}
