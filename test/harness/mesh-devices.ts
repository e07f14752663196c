/** Devices of ours without their agents (mesh-device.ts), on machines of a test. */
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { PeerStats } from '../../mesh/device.ts'
import { newWireguardKey, publicKeyOf } from '../../mesh/identity.ts'
import type { DeviceDelta } from '../../mesh/reconcile.ts'
import { root } from './edge.ts'
import type { StepAnswer } from './mesh-device.ts'
import type { Programs, Running } from './programs.ts'

/** Every device's port. */
const port = 51_820

export class TestDevice {
  readonly publicKey: string
  readonly endpoint: string
  readonly #running: Running
  readonly #answers: AsyncIterator<string>

  /** `before`: what the program is started by, for example as another user. */
  constructor(start: Programs['start'], machine: number, mode = 'tun', before: string[] = []) {
    const privateKey = newWireguardKey()
    this.publicKey = publicKeyOf(privateKey)
    this.endpoint = `10.77.0.${machine}:${port}`
    const options = { mode, interface: 'edge0', privateKey, port, mtu: 1420, serve: [] }
    const file = join(root, 'test/harness/mesh-device.ts')
    const command = [...before, process.execPath, file, JSON.stringify(options)]
    this.#running = start(machine, command[0] ?? '', command.slice(1))
    if (this.#running.child.stdout === null) throw new Error('no output')
    const lines = createInterface({ input: this.#running.child.stdout })
    this.#answers = lines[Symbol.asyncIterator]()
  }

  get pid(): number | undefined {
    return this.#running.child.pid
  }

  async begin(): Promise<void> {
    const { value } = await this.#answers.next()
    if (value !== 'ready') throw new Error(this.#running.output())
  }

  async apply(delta: Partial<DeviceDelta>): Promise<void> {
    const refused = await this.#ask(JSON.stringify(delta))
    if (refused.length > 0) throw new Error(JSON.stringify(refused))
  }

  async statsOf(peer: TestDevice): Promise<PeerStats | undefined> {
    const all = (await this.#ask('stats')) as unknown as readonly PeerStats[]
    return all.find(({ publicKey }) => publicKey === peer.publicKey)
  }

  async kill(): Promise<void> {
    this.#running.child.kill('SIGKILL')
    await this.#running.ended
  }

  async #ask(line: string): Promise<StepAnswer['answer']> {
    this.#running.child.stdin?.write(`${line}\n`)
    return (JSON.parse(String((await this.#answers.next()).value)) as StepAnswer).answer
  }
}
