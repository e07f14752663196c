/** One target of an exclusion: `ARGS`, `ARGS:name`, `REQUEST_COOKIES:/^x/`, `XML:/*`. */
import type { TargetTest } from '../exclusions.ts'
import { variables } from '../seclang/variables.ts'
import { selector } from '../variables.ts'

/** Throws an `Error` with the reason when the text names nothing that rules can see. */
export function compileExclusionTarget(text: string): TargetTest {
  const { variable, name } = split(text)
  const kind = variables.get(variable)
  if (kind === undefined) throw new Error(`"${variable}" is no variable`)
  if (name !== null && !kind.collection) throw new Error(`${variable} has no members`)
  if (name === '') throw new Error(`the name after ${variable}: is missing`)
  // Hits carry no path to compare with: of XML everything is hidden or nothing.
  const whole = variable === 'XML' && name !== null && /^\/+@?\*$/.test(name)
  const pattern = whole || name === null ? null : (/^\/(.+)\/$/s.exec(name)?.[1] ?? null)
  const member = whole || pattern !== null ? null : name
  const selects = selector({ name: member, namePattern: pattern })
  return (value) => value.variable === variable && selects(value.name)
}

function split(text: string): { readonly variable: string; readonly name: string | null } {
  if (/^[!&]/.test(text)) throw new Error(`write it without ${text.charAt(0)}`)
  const colon = text.indexOf(':')
  if (colon < 0) return { variable: text.trim().toUpperCase(), name: null }
  const name = text.slice(colon + 1).replace(/^'(.*)'$/, '$1')
  return { variable: text.slice(0, colon).trim().toUpperCase(), name }
}
