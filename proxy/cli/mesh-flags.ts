/** Flags that several commands of the mesh have. */
import { nodeNamePattern } from '../../mesh/entry.ts'
import { parsePrefix } from '../../mesh/prefix.ts'
import { UsageError } from '../config/faults.ts'

/** The value of a flag that must be there. */
export function required(flag: string, value: string | undefined): string {
  if (value !== undefined && value !== '') return value
  throw new UsageError(`${flag} is missing`)
}

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
