/** `Include` and `IncludeOptional`: files named, or matched by `*`, `?`, `[…]`, in name order. */
import { existsSync, globSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Place } from './reading.ts'

/** `Include rules/*.conf`: at least one file must be there. */
export function include(words: readonly string[], place: Place): void {
  for (const word of words) {
    const files = lookedUp(word, place)
    if (files.length === 0) {
      place.report(`no file ${word}`, 'mend the path, or write IncludeOptional')
    }
    place.include(files)
  }
}

/** `IncludeOptional local/*.conf`: nothing there is no fault. */
export function includeOptional(words: readonly string[], place: Place): void {
  for (const word of words) place.include(lookedUp(word, place))
}

function lookedUp(word: string, place: Place): string[] {
  const pattern = resolve(dirname(place.source.file), word)
  place.reading.lookups.push(pattern)
  return matchedFiles(pattern)
}

/** What an absolute path or pattern names now. */
export function matchedFiles(pattern: string): string[] {
  if (!/[*?[]/.test(pattern)) return existsSync(pattern) ? [pattern] : []
  return globSync(pattern).toSorted()
}
