/**
 * Starts the real program (`./edge run …`) on free ports and stops it again: what every integration
 * test stands on.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** The project's root folder. */
export const root = resolve(import.meta.dirname, '../..')

/** The CRS that tests use, or null when it is not there (said loudly by the caller). */
export function crsDirectory(): string | null {
  const directory = resolve(root, process.env['EDGE_CRS_DIR'] ?? '../shared/crs')
  return existsSync(join(directory, 'rules')) ? directory : null
}

/** One running edge with its own state directory and WAF log. */
export interface RunningEdge {
  readonly process: ChildProcess
  readonly httpPort: number
  readonly httpsPort: number
  readonly statusPort: number
  readonly directory: string
  readonly wafLog: string
  /** Everything printed so far. */
  output(): string
  /** SIGTERM, then waits for the exit; returns the exit code. Kills after 30 s. */
  stop(): Promise<number | null>
}

/** What `startEdge` takes beside the flags that it always gives. */
export interface EdgeOptions {
  readonly arguments: readonly string[]
  readonly environment?: Record<string, string>
  readonly readyTimeoutMs?: number
  /** Descriptors that it may open; default: as many as this process. */
  readonly descriptors?: number
}

/** Runs `./edge run` with free ports; resolves once the `ready` line is printed. */
export async function startEdge(options: EdgeOptions): Promise<RunningEdge> {
  const directory = mkdtempSync(join(tmpdir(), 'edge-test-'))
  const wafLog = join(directory, 'waf.log')
  const statusPort = await freePort()
  const https = `127.0.0.1:${await freePort()}` // TCP and UDP
  const flags = ['--http', '127.0.0.1:0', '--https', https, '--waf-log', wafLog]
  flags.push('--status', `127.0.0.1:${statusPort}`, ...options.arguments)
  const limit = options.descriptors === undefined ? '' : `ulimit -n ${options.descriptors} && `
  const run = [`${limit}exec "$0" "$@"`, join(root, 'edge'), 'run', ...flags]
  const child = spawn('/bin/sh', ['-c', ...run], {
    cwd: directory,
    env: { ...process.env, XDG_STATE_HOME: join(directory, 'state'), ...options.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const timeoutMs = options.readyTimeoutMs ?? 30_000
  const [ready] = await waitForReady(child, {
    text: () => text,
    line: /^ready http=.*$/m,
    timeoutMs,
  })
  return {
    process: child,
    httpPort: portOf(ready, 'http'),
    httpsPort: portOf(ready, 'https'),
    statusPort,
    directory,
    wafLog,
    output: () => text,
    stop: () => stop(child, directory),
  }
}

/** Waits for the line that a program says when it serves; kills it when it does not. */
export async function waitForReady(
  child: ChildProcess,
  expected: { readonly text: () => string; readonly line: RegExp; readonly timeoutMs: number },
): Promise<RegExpExecArray> {
  const { text, line, timeoutMs } = expected
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const found = line.exec(text())
    if (found) return found
    if (child.exitCode !== null) throw new Error(`edge ended with ${child.exitCode}:\n${text()}`)
    if (Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`edge was not ready after ${timeoutMs} ms:\n${text()}`)
    }
    await sleep(20)
  }
}

function portOf(ready: string, name: string): number {
  const match = new RegExp(`\\b${name}=\\S*?:(\\d+)(?:\\s|$)`).exec(ready)
  return match ? Number(match[1]) : 0
}

/** SIGTERM, then waits for the exit; kills after 30 s. Its directory goes with it. */
export async function stop(child: ChildProcess, directory: string): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    const killer = setTimeout(() => child.kill('SIGKILL'), 30_000)
    await ended
    clearTimeout(killer)
  }
  rmSync(directory, { recursive: true, force: true })
  return child.exitCode
}

/** The WAF's text log from byte `offset` on. */
export function logFrom(path: string, offset: number): string {
  return existsSync(path) ? readFileSync(path).subarray(offset).toString('latin1') : ''
}

// Below those that the kernel gives away by itself: between the look and the use nobody is given
// it. Test files that run side by side have ranges of their own.
const portsFirst = 10_000
const portsOfEach = 5_000
const ranges = 4
const range = Number(process.env['VITEST_POOL_ID'] ?? 0) % ranges
let portsTried = (process.pid * 2) % portsOfEach

/** A port that is free, and the one after it, on TCP and UDP. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < portsOfEach; tries += 2) {
    const port = portsFirst + range * portsOfEach + portsTried
    portsTried = (portsTried + 2) % portsOfEach
    // oxlint-disable-next-line no-await-in-loop -- the first that is free will do
    if ((await isFree(port)) && (await isFree(port + 1))) return port
  }
  throw new Error('no port is free')
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  const socket = createSocket('udp4')
  try {
    const listening = once(server, 'listening')
    server.listen(port)
    await listening
    const bound = once(socket, 'listening')
    socket.bind(port)
    await bound
    return true
  } catch {
    return false
  } finally {
    socket.close()
    await new Promise((resolve) => {
      server.close(resolve)
    })
  }
}
