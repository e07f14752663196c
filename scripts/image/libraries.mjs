// The C libraries of the image: those of this machine, since the addon was linked against them.
import { execFileSync } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { Missing } from '../paths.mjs'

/** A library: where programs look for it, the file, and the Debian package it came in. */
/** @typedef {{ path: string, file: string, package: string, version: string }} Library */

/** All that these programs load, with what that loads. */
export function librariesOf(programs) {
  /** @type {Set<string>} */
  const found = new Set()
  for (const program of programs) {
    const lines = execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n')
    for (const line of lines) {
      const path = /(?:=> )?(\/\S+) \(0x/.exec(line)?.[1]
      if (path !== undefined) found.add(path)
      else if (line.includes('not found')) throw new Missing(`image: ${program}: ${line.trim()}`)
    }
  }
  return [...found].map(libraryAt)
}

function libraryAt(path) {
  const file = realpathSync(path)
  return { path: path.slice(1), file, ...packageOf(path, file) }
}

/** On a machine without dpkg the file's own name has to do. */
function packageOf(path, file) {
  const names = new Set([path, file, `/usr${path}`, `${dirname(file)}/${basename(path)}`])
  for (const name of names) {
    const owner = ask('dpkg-query', ['--search', name])?.split(': ')[0]
    const version = owner && ask('dpkg-query', ['--show', '--showformat=${Version}', owner])
    if (version) return { package: owner.split(':')[0], version }
  }
  return { package: basename(path), version: 'unknown' }
}

function ask(program, args) {
  try {
    const stdio = ['ignore', 'pipe', 'ignore']
    return execFileSync(program, args, { encoding: 'utf8', stdio }).trim()
  } catch {
    return null // no such package, or no such program
  }
}
