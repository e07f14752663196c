/** Asks a probe (mesh-probe.ts) on a machine of a test, one command after the other. */
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './edge.ts'
import type { ProbeCommand } from './mesh-probe.ts'
import type { Programs, Running } from './programs.ts'

export class Probe {
  readonly #running: Running
  readonly #answers: AsyncIterator<string>

  constructor(start: Programs['start'], machine: number, name: string) {
    const file = join(root, 'test/harness/mesh-probe.ts')
    this.#running = start(machine, process.execPath, [file, name])
    if (this.#running.child.stdout === null) throw new Error('no output')
    const lines = createInterface({ input: this.#running.child.stdout })
    this.#answers = lines[Symbol.asyncIterator]()
  }

  async begin(): Promise<void> {
    await this.#answers.next()
  }

  async ask(command: ProbeCommand): Promise<unknown> {
    this.#running.child.stdin?.write(`${JSON.stringify(command)}\n`)
    const { value } = await this.#answers.next()
    return JSON.parse(String(value)) as unknown
  }
}
