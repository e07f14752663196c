/** Programs on the machines of a test (see namespaces.ts), and what they say. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { MeshStatus } from '../../mesh/status.ts'
import { root } from './edge.ts'
import type { Machines } from './namespaces.ts'
import { until } from './wait.ts'

/** One of them. */
export interface Running {
  readonly child: ChildProcess
  readonly output: () => string
  /** The exit code. */
  readonly ended: Promise<number | null>
}

/** What the program of this project came to. */
export interface Ended {
  readonly code: number | null
  readonly output: string
}

/** Those of one test. */
export interface Programs {
  readonly start: (machine: number, program: string, args: readonly string[]) => Running
  /** `edge ARGS`, to its end. */
  readonly run: (machine: number, ...args: readonly string[]) => Promise<Ended>
  /** What `edge mesh status` says of the agent with that folder; it must be connected. */
  readonly status: (machine: number, state: string) => Promise<MeshStatus>
  /** Kills what still runs. */
  readonly end: () => Promise<void>
}

/** `machines` are asked for when the first program starts. */
export function programsOn(machines: () => Machines): Programs {
  const children = new Set<ChildProcess>()
  const start = (machine: number, program: string, args: readonly string[]): Running => {
    const child = machines().spawn(machine, program, args)
    children.add(child)
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    const { promise: ended, resolve } = Promise.withResolvers<number | null>()
    child.on('close', (code) => {
      children.delete(child)
      resolve(code)
    })
    return { child, output: () => text, ended }
  }
  const run = async (machine: number, ...args: readonly string[]): Promise<Ended> => {
    const running = start(machine, join(root, 'edge'), args)
    return { code: await running.ended, output: running.output() }
  }
  return {
    start,
    run,
    status: async (machine, state) => {
      const { output, code } = await run(machine, 'mesh', 'status', '--json', '--state', state)
      if (code !== 0) throw new Error(`edge mesh status ended with ${code}: ${output}`)
      return JSON.parse(output) as MeshStatus
    },
    end: async () => {
      for (const child of children) child.kill('SIGKILL')
      await until('all programs end', () => children.size === 0)
    },
  }
}

/** Its `ready` line; what it said when it ended without one. */
export async function ready(running: Running): Promise<string> {
  const line = () => /^ready\b.*$/m.exec(running.output())?.[0]
  let isOver = false
  void running.ended.then(() => (isOver = true))
  await until(
    () => `ready: ${running.output()}`,
    () => line() !== undefined || isOver,
    60_000,
  )
  return line() ?? `ended: ${running.output()}`
}

/** SIGTERM; the exit code. */
export async function stop(running: Running): Promise<number | null> {
  running.child.kill('SIGTERM')
  return running.ended
}
