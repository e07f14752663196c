/** h2spec for tests, built by Go into .cache/bin once. */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './edge.ts'

// Tags from v2 on without `/v2` in the module path are `+incompatible` to Go.
const source = 'github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible'

/** What h2spec counted, and everything it printed. */
export interface H2SpecReport {
  readonly tests: number
  readonly passed: number
  readonly skipped: number
  readonly failed: number
  readonly output: string
}

/** The program; installs it when it is missing. */
export function h2specProgram(): string {
  const directory = join(root, '.cache/bin')
  const program = join(directory, 'h2spec')
  if (existsSync(program)) return program
  mkdirSync(directory, { recursive: true })
  // Outside of any module: nothing of ours decides which versions it is built from.
  execFileSync('go', ['install', source], {
    cwd: directory,
    env: { ...process.env, GOBIN: directory, GOFLAGS: '' },
    stdio: 'inherit',
  })
  return program
}

/** Runs the strict suite over TLS against `127.0.0.1:port`. */
export async function runH2Spec(port: number, path: string): Promise<H2SpecReport> {
  const flags = ['-S', '-t', '-k', '-h', '127.0.0.1', '-p', String(port), '-P', path, '-o', '3']
  const child = spawn(h2specProgram(), flags, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output += chunk))
  await new Promise((resolve) => child.on('close', resolve))
  const line = /(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed/.exec(output)
  const count = (at: number) => Number(line?.[at] ?? '-1')
  return { tests: count(1), passed: count(2), skipped: count(3), failed: count(4), output }
}
