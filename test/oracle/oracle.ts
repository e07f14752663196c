/**
 * What ModSecurity v3 says of a request: a program of our own over Debian's libmodsecurity3, built
 * on demand. Expectations are learned from it; no test of CI runs it.
 */
import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from '../harness/edge.ts'

/** Texts are Latin-1: one character per byte. */
export interface OracleRequest {
  readonly method?: string
  readonly target: string
  /** `1.1` unless said. */
  readonly version?: string
  readonly client?: string
  readonly headers?: readonly (readonly [string, string])[]
  readonly body?: string | Uint8Array
  /** Without one the response phases run over an empty 200. */
  readonly response?: {
    readonly status?: number
    readonly headers?: readonly (readonly [string, string])[]
    readonly body?: string | Uint8Array
  }
}

/** What came of one request. */
export interface OracleAnswer {
  /** Ids of the rules that logged, in order; a rule that logs more than once is there as often. */
  readonly ids: readonly number[]
  /** The log lines as ModSecurity wrote them. */
  readonly lines: readonly string[]
  /** Of the intervention; 0 when nothing stopped the exchange. */
  readonly status: number
  /** In which it stopped; 0 when nothing did. */
  readonly phase: number
  readonly url: string
}

/** A libmodsecurity3 with its rules loaded. */
export interface Oracle {
  ask(request: OracleRequest): Promise<OracleAnswer>
  close(): Promise<void>
}

/** Says what is missing and how to get it. */
export class OracleMissing extends Error {}

const source = join(root, 'test/oracle/oracle.c')
const library = '/usr/include/modsecurity/modsecurity.h'

/** The program; builds it once per state of its source. Throws `OracleMissing`. */
function binary(): string {
  if (!existsSync(library)) throw new OracleMissing('not run: install libmodsecurity-dev and gcc')
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const directory = join(root, '.cache/bin')
  const built = join(directory, `oracle-${digest}`)
  if (existsSync(built)) return built
  mkdirSync(directory, { recursive: true })
  // Two runs may build at once: each under a name of its own, then renamed.
  const building = `${built}.${process.pid}`
  const flags = ['-std=c11', '-O1', '-Wall', '-Wextra']
  execFileSync('gcc', [...flags, '-o', building, source, '-lmodsecurity'], { stdio: 'inherit' })
  renameSync(building, built)
  return built
}

/** Loads rule files, in order. Rejects with ModSecurity's words when it refuses them. */
export async function openOracle(ruleFiles: readonly string[]): Promise<Oracle> {
  const child = spawn(binary(), ruleFiles, { stdio: ['pipe', 'pipe', 'pipe'] })
  const answers = new Answers(child)
  await answers.next()
  return {
    ask: async (request) => {
      child.stdin.write(recordsOf(request))
      const { log, ...rest } = await answers.next()
      return { ...rest, lines: log, ids: log.flatMap(idOf) }
    },
    close: async () => {
      child.stdin.end()
      if (child.exitCode === null) await once(child, 'close')
    },
  }
}

interface RawAnswer {
  readonly log: readonly string[]
  readonly status: number
  readonly phase: number
  readonly url: string
}

/** Lines come in the order of the questions, so the oldest question gets the next one. */
class Answers {
  readonly #waiting: PromiseWithResolvers<RawAnswer>[] = []
  #errors = ''
  #failure: Error | null = null

  constructor(child: ChildProcessWithoutNullStreams) {
    child.stderr.setEncoding('latin1').on('data', (chunk: string) => (this.#errors += chunk))
    child.stdin.on('error', () => undefined)
    createInterface({ input: child.stdout.setEncoding('latin1') }).on('line', (line) =>
      this.#waiting.shift()?.resolve(JSON.parse(line) as RawAnswer),
    )
    child.on('close', (code, signal) => {
      this.#failure = new Error(`the oracle ended with ${code ?? signal}: ${this.#errors.trim()}`)
      for (const one of this.#waiting.splice(0)) one.reject(this.#failure)
    })
  }

  next(): Promise<RawAnswer> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    const waiting = Promise.withResolvers<RawAnswer>()
    this.#waiting.push(waiting)
    return waiting.promise
  }
}

function idOf(line: string): number[] {
  const id = / \[id "(\d+)"\]/.exec(line)?.[1]
  return id === undefined ? [] : [Number(id)]
}

function recordsOf(request: OracleRequest): Buffer {
  const pieces: Buffer[] = []
  const add = (kind: string, value: string | Uint8Array | undefined): void => {
    if (value === undefined) return
    const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : Buffer.from(value)
    pieces.push(Buffer.from(`${kind} ${bytes.length}\n`), bytes)
  }
  add('m', request.method)
  add('u', request.target)
  add('v', request.version)
  add('c', request.client)
  for (const [name, value] of request.headers ?? []) {
    add('h', name)
    add('H', value)
  }
  add('b', request.body)
  add('s', request.response?.status?.toString())
  for (const [name, value] of request.response?.headers ?? []) {
    add('r', name)
    add('R', value)
  }
  add('o', request.response?.body)
  add('e', '')
  return Buffer.concat(pieces)
}
