// Child programs of the scripts, with one rule: only children started here are ever signalled.
import { spawn } from 'node:child_process'

/** Runs a program with the terminal of ours; resolves with its exit code (128 + signal). */
export function run(command, args, options = {}) {
  return ended(spawn(command, args, { stdio: 'inherit', ...options }))
}

/** Runs a program and collects what it prints; `onText` sees the pieces as they come. */
export async function collect(command, args, { onText, ...options } = {}) {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const pieces = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (text) => {
      pieces.push(text)
      onText?.(text)
    })
  }
  const code = await ended(child)
  return { code, output: pieces.join('') }
}

/** The exit code of a child, 127 when it could not be started. */
export function ended(child) {
  return new Promise((resolve) => {
    child.once('error', () => resolve(127))
    child.once('close', (code, signal) => resolve(code ?? (signal ? 130 : 1)))
  })
}

/** Whether the program is on PATH and runs with `--version`. */
export async function isInstalled(command) {
  return (await collect(command, ['--version'])).code === 0
}
