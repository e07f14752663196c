/** Mesh names for programs beside the agent: it writes a file, they read it. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { MeshFault } from './fault.ts'
import { readState, writeSecret } from './folder.ts'

/** The folder's file: the addresses of every node by its name. */
export const namesFile = 'names.json'

const names = z.record(z.string(), z.array(z.string()))

export function writeNames(
  folder: string,
  value: Readonly<Record<string, readonly string[]>>,
): void {
  writeSecret(folder, namesFile, JSON.stringify(value))
}

/** Looks names up; the file is read again when it is another one. */
export class MeshNames {
  readonly #folder: string
  #known: z.infer<typeof names> = {}
  #stamp = ''

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Throws while there is no node with this name. */
  addressesOf(name: string): readonly string[] {
    this.#read()
    const addresses = Object.hasOwn(this.#known, name) ? this.#known[name] : undefined
    if (addresses !== undefined) return addresses
    throw new MeshFault('NAME_UNKNOWN', {
      where: `mesh://${name}`,
      message: 'no node of the mesh has this name',
      mend: `see the names with: edge mesh status --state ${this.#folder}`,
    })
  }

  #read(): void {
    const state = statSync(join(this.#folder, namesFile), { throwIfNoEntry: false })
    const stamp = `${state?.ino} ${state?.mtimeMs}`
    if (stamp === this.#stamp) return
    const found = readState(this.#folder, namesFile, names)
    if (found === null) {
      throw new MeshFault('AGENT_MISSING', {
        where: '--mesh-state',
        message: `${this.#folder} has no ${namesFile}: no agent was there yet`,
        mend: `run: edge mesh up --state ${this.#folder} …`,
      })
    }
    this.#known = found
    this.#stamp = stamp
  }
}
