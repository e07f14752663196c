/**
 * The project's own clients and backends in Go (test/clients/go), built into .cache/bin when their
 * sources have changed. `go build` fetches the modules that go.sum names.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './edge.ts'

const sources = join(root, 'test/clients/go')

/** A digest of the sources: the name of the binary, so that two versions never meet. */
function stamp(): string {
  const digest = createHash('sha256')
  const files = readdirSync(sources, { recursive: true, encoding: 'utf8' })
  for (const file of files.filter((name) => /\.go$|^go\.(?:mod|sum)$/.test(name)).toSorted())
    digest.update(file).update(readFileSync(join(sources, file)))
  return digest.digest('hex').slice(0, 16)
}

/** The binary; builds it once per state of the sources. */
export function goClients(): string {
  const directory = join(root, '.cache/bin')
  const binary = join(directory, `clients-${stamp()}`)
  if (existsSync(binary)) return binary
  mkdirSync(directory, { recursive: true })
  // Test files run side by side: build under a name of one's own, then rename.
  const building = `${binary}.${process.pid}`
  execFileSync('go', ['build', '-o', building, '.'], { cwd: sources, stdio: 'inherit' })
  renameSync(building, binary)
  return binary
}

/** A running Go client. */
export interface GoClient<Result> {
  readonly process: ChildProcess
  /** What the client printed at its end; rejects when it failed. */
  readonly result: Promise<Result>
  /** Tells it to end (a line on stdin), and waits for the result. */
  finish(): Promise<Result>
}

/** Starts a client; it is killed after `timeoutMs` (default 2 min). */
export function startGo<Result>(args: readonly string[], timeoutMs = 120_000): GoClient<Result> {
  const child = spawn(goClients(), args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const killer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (errors += chunk))
  child.stdin.on('error', () => undefined)
  const result = once(child, 'close').then(([code, signal]) => {
    clearTimeout(killer)
    if (code !== 0) throw new Error(`${args[0]} ended with ${code ?? signal}: ${errors}`)
    return JSON.parse(output) as Result
  })
  // The caller may wait much later: until then a failure must not end the test run.
  result.catch(() => undefined)
  const finish = () => {
    child.stdin.write('\n')
    return result
  }
  return { process: child, result, finish }
}

/** Runs a client to its end. */
export function runGo<Result>(args: readonly string[], timeoutMs?: number): Promise<Result> {
  return startGo<Result>(args, timeoutMs).result
}

/** What a backend prints at its start. */
export interface GoBackend {
  readonly process: ChildProcess
  readonly address: string
  /** PEM of the backend's own certificate (TLS kinds). */
  readonly certificate: string
  /** The JSON lines printed after the first one (recorders). */
  readonly lines: readonly string[]
  /** SIGTERM (finishes what runs) and waits for its end. */
  stop(): Promise<void>
}

/** Starts one of the backends, `backend -kind h1` and so on. */
export async function startGoBackend(args: readonly string[]): Promise<GoBackend> {
  const child = spawn(goClients(), args, { stdio: ['ignore', 'pipe', 'inherit'] })
  // A test that fails before it stops its backend must not leave it behind.
  const orphaned = () => child.kill('SIGKILL')
  process.once('exit', orphaned)
  child.once('exit', () => process.off('exit', orphaned))
  const lines: string[] = []
  const input = createInterface({ input: child.stdout })
  const first = await new Promise<string>((resolve, reject) => {
    input.once('line', resolve)
    child.once('exit', (code) => reject(new Error(`${args[0]} ended with ${code}`)))
  })
  input.on('line', (line) => lines.push(line))
  const { address, certificate } = JSON.parse(first) as { address: string; certificate?: string }
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), 30_000)
    await ended
    clearTimeout(killer)
  }
  return { process: child, address, certificate: certificate ?? '', lines, stop }
}

/** What the Go clients print about a table of cases. */
export interface CaseReport {
  readonly cases: readonly { readonly name: string; readonly error: string }[]
}

/** The cases that failed, and why. */
export function caseFaults({ cases }: CaseReport): string[] {
  return cases.flatMap(({ name, error }) => (error === '' ? [] : [`${name}: ${error}`]))
}
