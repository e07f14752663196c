/** What can be wrong with a configuration, and how it is said. */

/** One thing that is wrong, where it was written, and how to mend it. */
export interface Fault {
  /** `edge.yaml:3:7`, `--http` or `env HTTP_PORT`. */
  readonly where: string
  readonly message: string
  readonly mend: string
}

/** All faults of a configuration together; the program ends with exit code 78. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly faults: readonly Fault[]

  constructor(faults: readonly Fault[]) {
    super(faults.map(faultText).join('\n'))
    this.faults = faults
  }
}

/** A wrong command line: the program ends with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** `where: message`, and the mend on a line of its own. */
export function faultText({ where, message, mend }: Fault): string {
  return `${where}: ${message}\n  mend: ${mend}`
}

/** The word that was probably meant; null when none is near. */
export function nearest(word: string, words: readonly string[]): string | null {
  const most = Math.min(Math.ceil(word.length / 2), Math.max(2, Math.floor(word.length / 3)))
  let best: { readonly word: string; readonly steps: number } | null = null
  for (const candidate of words) {
    const steps = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (steps <= most && steps < (best?.steps ?? Infinity)) best = { word: candidate, steps }
  }
  return best?.word ?? null
}

/** Levenshtein's distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
