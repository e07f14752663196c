/** The end of a log that another program writes. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { ConfigError } from '../config/faults.ts'
import { reasonOf } from '../../waf/reason-of.ts'

const pieceBytes = 256 * 1024

/** Reads what was appended since it was opened, or since the last read. */
export class LogTail {
  readonly file: string
  readonly #descriptor: number
  #offset: number

  /** Throws a `ConfigError` when the file cannot be read. */
  constructor(file: string) {
    this.file = file
    try {
      this.#descriptor = openSync(file, 'r')
      this.#offset = fstatSync(this.#descriptor).size
    } catch (error) {
      const message = reasonOf(error)
      throw new ConfigError([{ where: file, message, mend: 'name the log that the WAF writes' }])
    }
  }

  /** In Latin-1, one character per byte. */
  read(): string {
    // Cut short by a rotation that copies: what is there now is new.
    if (fstatSync(this.#descriptor).size < this.#offset) this.#offset = 0
    const piece = Buffer.alloc(pieceBytes)
    let text = ''
    for (;;) {
      const count = readSync(this.#descriptor, piece, 0, pieceBytes, this.#offset)
      if (count === 0) return text
      this.#offset += count
      text += piece.toString('latin1', 0, count)
    }
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}
