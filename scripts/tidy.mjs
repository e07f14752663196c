// What no linter here checks in every language: widths, names, open ends. test/tidy.test.ts has the
// rules of the tree.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { root } from './paths.mjs'

const folders = ['proxy', 'waf', 'kubernetes', 'mesh', 'native', 'test', 'bench', 'scripts']
const skipped = new Set(['node_modules', 'target', 'prebuilt'])
const columnsMax = 100
const bannedNames = /(?:^|\/)(?:utils?|helpers?|common|managers?|data|info|handle|process)\./

function* files(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      if (!skipped.has(entry.name)) yield* files(path)
    } else if (/\.(?:ts|mjs|rs)$/.test(entry.name)) yield path
  }
}

function complaints(file) {
  const found = []
  const name = relative(root, file)
  const say = (line, text) => found.push(`${name}:${line}: ${text}`)
  if (bannedNames.test(name)) say(1, 'a name that says nothing')
  // Generated, with its doc comments on one line each.
  if (name === 'native/addon/index.d.ts') return found
  const lines = readFileSync(file, 'utf8').split('\n')
  lines.forEach((line, index) => {
    if (line.length > columnsMax) say(index + 1, `more than ${columnsMax} columns`)
    if (/\bFIX(?:ME)\b/.test(line)) say(index + 1, 'an open FIX-ME')
  })
  return found
}

/** Every complaint about every file, as lines. */
export function tidy() {
  return folders.flatMap((folder) => [...files(join(root, folder))].flatMap(complaints))
}
