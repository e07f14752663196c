/** A log file of whole lines that several workers append to, without ever hurting a request. */
import { closeSync, openSync, writeSync } from 'node:fs'

/** Where lines go. */
export interface LineSink {
  /** Writes each line with its line feed. Never throws. */
  write(lines: readonly string[]): void
}

const mode = 0o640

/** An append-only file. One write per batch, so that lines of different workers never mix. */
export class LogFile implements LineSink {
  readonly path: string
  #descriptor: number
  #failures = 0

  /** Opens or creates the file; throws when that fails, since at start it is a fault to mend. */
  constructor(path: string) {
    this.path = path
    this.#descriptor = openSync(path, 'a', mode)
  }

  /** Batches that could not be written in full. */
  get failures(): number {
    return this.#failures
  }

  write(lines: readonly string[]): void {
    if (lines.length === 0) return
    const bytes = Buffer.from(`${lines.join('\n')}\n`, 'utf8')
    try {
      // Synchronous on purpose: phases 1–4 promise their lines before the response ends.
      let written = writeSync(this.#descriptor, bytes)
      while (written < bytes.length) {
        written += writeSync(this.#descriptor, bytes, written)
      }
    } catch {
      this.#failures += 1
    }
  }

  /** Opens the path anew after a rotation; keeps the old file when that fails. */
  reopen(): void {
    try {
      const fresh = openSync(this.path, 'a', mode)
      const stale = this.#descriptor
      this.#descriptor = fresh
      closeSync(stale)
    } catch {
      this.#failures += 1
    }
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}
