/** Lines to a file descriptor, written in the background, with bounded memory. */
import { fstatSync, write } from 'node:fs'

// POSIX: a write to a pipe is whole up to PIPE_BUF; beyond it two workers' lines could mix.
const pipeWriteBytes = 4_096
const fileWriteBytes = 64 * 1024
const retryMs = 10
/**
 * How long lines may wait for company. At one request in flight a write per line costs more than
 * the line: it wakes a thread, which takes the core from the next request.
 */
export const logDelayMs = 20

/** What a sink needs from the system; replaced in tests. */
export interface SinkTarget {
  readonly writeBytesMax: number
  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, written: number) => void): void
}

/** A descriptor that other workers write to as well. */
export function descriptorTarget(descriptor: number): SinkTarget {
  const isFile = fstatSync(descriptor).isFile()
  return {
    writeBytesMax: isFile ? fileWriteBytes : pipeWriteBytes,
    write: (bytes, done) => write(descriptor, bytes, 0, bytes.length, null, done),
  }
}

/** Never blocks and never fails: what does not fit is dropped and counted. */
export class LogSink {
  readonly #target: SinkTarget
  readonly #charactersMax: number
  #lines: string[] = []
  #characters = 0
  #writing = false
  #dropped = 0
  #idle: (() => void)[] = []
  #timer: NodeJS.Timeout | null = null
  readonly #delayMs: number

  constructor(target: SinkTarget, { charactersMax = 1_048_576, delayMs = 0 } = {}) {
    this.#target = target
    this.#charactersMax = charactersMax
    this.#delayMs = delayMs
  }

  /** Lines lost so far because the reader was too slow or gone. */
  get dropped(): number {
    return this.#dropped
  }

  /** Adds a line that ends in a line feed; `flush` sends it on its way. */
  add(line: string): void {
    if (this.#characters + line.length > this.#charactersMax) {
      this.#dropped += 1
      return
    }
    this.#lines.push(line)
    this.#characters += line.length
  }

  /** Writes what was added, soon or, when it is much, now; called once per turn. */
  flush(): void {
    if (this.#lines.length === 0) return
    const isLittle = this.#characters < this.#target.writeBytesMax
    if (this.#delayMs === 0 || !isLittle) return this.#begin()
    this.#timer ??= setTimeout(() => this.#begin(), this.#delayMs)
  }

  #begin(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (!this.#writing && this.#lines.length > 0) this.#write(this.#nextChunk())
  }

  /** Ends when everything added so far is written or dropped. */
  async drained(): Promise<void> {
    this.#begin()
    if (!this.#writing) return
    await new Promise<void>((resolve) => {
      this.#idle.push(resolve)
    })
  }

  /** Whole lines up to the largest write that stays whole; at least one. */
  #nextChunk(): Buffer {
    let count = 0
    let bytes = 0
    for (const line of this.#lines) {
      const more = Buffer.byteLength(line)
      if (count > 0 && bytes + more > this.#target.writeBytesMax) break
      count += 1
      bytes += more
    }
    const text = this.#lines.splice(0, count).join('')
    this.#characters -= text.length
    return Buffer.from(text)
  }

  #write(bytes: Buffer): void {
    this.#writing = true
    this.#target.write(bytes, (error, written) => {
      if (error !== null && error.code === 'EAGAIN') {
        setTimeout(() => this.#write(bytes), retryMs)
      } else if (error === null && written < bytes.length) {
        this.#write(bytes.subarray(written))
      } else {
        if (error !== null) this.#dropped += 1
        this.#next()
      }
    })
  }

  #next(): void {
    this.#writing = false
    this.#begin()
    if (this.#writing) return
    const waiting = this.#idle
    this.#idle = []
    for (const resolve of waiting) resolve()
  }
}
