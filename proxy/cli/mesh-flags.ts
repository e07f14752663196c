/** Flags that several commands of the mesh have. */
import { existsSync } from 'node:fs'
import { nodeNamePattern } from '../../mesh/entry.ts'
import { parsePrefix } from '../../mesh/prefix.ts'
import { UsageError } from '../config/faults.ts'
import type { Terminal } from './terminal.ts'

/** The value of a flag that must be there. */
export function required(flag: string, value: string | undefined): string {
  if (value !== undefined && value !== '') return value
  throw new UsageError(`${flag} is missing`)
}

/** `--state` of an agent; in images it is the folder that seed 000's programs have. */
export function stateFolder(value: string | undefined, { env }: Pick<Terminal, 'env'>): string {
  const folder = value ?? env['EDGE_MESH_STATE'] ?? null
  if (folder !== null && folder !== '') return folder
  if (existsSync(seedFolder)) return seedFolder
  throw new UsageError('--state is missing, and EDGE_MESH_STATE, too')
}

export const seedFolder = '/etc/edgelink'

/** `--name`, in lower case. */
export function nodeName(value: string | undefined): string {
  const name = required('--name', value).toLowerCase()
  if (nodeNamePattern.test(name)) return name
  throw new UsageError(`--name: "${name}" is no name: letters, digits, dashes and dots`)
}

/** Ranges, each judged. */
export function cidrs(flag: string, values: readonly string[] = []): readonly string[] {
  for (const value of values) {
    if (parsePrefix(value) !== null) continue
    throw new UsageError(`${flag}: "${value}" is no CIDR; write for example 10.1.0.0/16`)
  }
  return values
}

/** Where a coordinator is. */
export function coordinatorUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'https:' && url.pathname === '/' && url.search === '') return url.origin
  throw new UsageError(`--coordinator: "${text}" is not https://HOST:PORT`)
}
