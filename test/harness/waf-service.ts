/** Starts the real `edge waf serve` on free ports and stops it again. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, stop, waitForReady } from './edge.ts'

/** One running service. */
export interface RunningWafService {
  readonly process: ChildProcess
  /** Of `/evaluate` and `/health`. */
  readonly httpPort: number
  /** Where proxies ask. */
  readonly port: number
  output(): string
  /** SIGTERM, then waits for the exit; returns the exit code. Kills after 30 s. */
  stop(): Promise<number | null>
}

/** Runs it; resolves once the `ready` line is printed. */
export async function startWafService(
  given: readonly string[],
  options: { readonly port?: number; readonly environment?: Record<string, string> } = {},
): Promise<RunningWafService> {
  const directory = mkdtempSync(join(tmpdir(), 'edge-waf-service-'))
  const questions = `127.0.0.1:${options.port ?? 0}`
  const flags = ['--listen', '127.0.0.1:0', '--questions', questions, ...given]
  const child = spawn(join(root, 'edge'), ['waf', 'serve', ...flags], {
    cwd: directory,
    env: { ...process.env, XDG_STATE_HOME: join(directory, 'state'), ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const line = /^ready waf=\S*?:(\d+) questions=\S*?:(\d+)$/m
  const ready = await waitForReady(child, { text: () => text, line, timeoutMs: 100_000 })
  return {
    process: child,
    httpPort: Number(ready[1]),
    port: Number(ready[2]),
    output: () => text,
    stop: () => stop(child, directory),
  }
}
