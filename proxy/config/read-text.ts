/** Reads a file that the configuration names. */
import { readFileSync } from 'node:fs'

/** Its text; null after `report` was told what is wrong and how to mend it. */
export function readText(
  file: string,
  report: (message: string, mend: string) => void,
): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    const isMissing = code === 'ENOENT'
    const message = isMissing ? `${file} does not exist` : `${file} cannot be read (${code})`
    report(message, isMissing ? 'correct the path' : 'let the user of this program read it')
    return null
  }
}
