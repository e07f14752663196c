/** From zod's issues to faults that say where, what and how to mend it. */
import type { z } from 'zod'
import { type Fault, nearest } from './faults.ts'
import { type Origins, pathText } from './layer.ts'
import { descriptionOf, keysOf, mendOf, type Path, schemaAt } from './schema-walk.ts'
import { schema } from './schema.ts'

/** Places of values and of keys. */
export interface Places {
  readonly origins: Origins
  readonly keys: ReadonlyMap<string, string>
}

/** The faults of one issue; several when a section has several unknown keys. */
export function issueFaults(issue: z.core.$ZodIssue, data: unknown, places: Places): Fault[] {
  const path = issue.path.filter((key) => typeof key !== 'symbol')
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey(path, key, places))
  }
  const value = valueAt(data, path)
  const where = places.origins.get(path)
  return value === undefined ? [missing(path, where)] : [wrong(issue, { path, value, where })]
}

function unknownKey(path: Path, key: string, places: Places): Fault {
  const section = schemaAt(schema, path)
  const known = section === null ? [] : keysOf(section)
  const meant = nearest(key, known)
  const below = [...path, key]
  return {
    where: places.keys.get(pathText(below)) ?? places.origins.get(below),
    message: `unknown key "${key}"${path.length === 0 ? '' : ` in ${dotted(path)}`}`,
    mend: meant === null ? `the keys here are ${known.join(', ')}` : `did you mean "${meant}"?`,
  }
}

function missing(path: Path, where: string): Fault {
  const message = `${dotted(path)} is missing`
  if (where === '--cert' || where === '--key') {
    return { where, message, mend: 'give --cert and --key together' }
  }
  const wanted = schemaAt(schema, path)
  const meaning = wanted === null ? '' : descriptionOf(wanted)
  return { where, message, mend: `add ${String(path.at(-1))}: ${meaning}` }
}

function wrong(
  issue: z.core.$ZodIssue,
  { path, value, where }: { path: Path; value: unknown; where: string },
): Fault {
  const wanted = schemaAt(schema, path)
  const mend = (wanted === null ? null : mendOf(wanted)) ?? 'see the reference'
  const words = issue.code === 'invalid_value' ? issue.values.map(String) : []
  const meant = typeof value === 'string' ? nearest(value, words) : null
  return {
    where,
    message: `${dotted(path)}: ${complaint(issue, value)}`,
    mend: meant === null ? mend : `${mend} (did you mean ${meant}?)`,
  }
}

function complaint(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'custom') return issue.message
  if (issue.code === 'invalid_format') return `${shown(value)} is ${issue.message}`
  if (issue.code === 'too_small') return `${shown(value)} is too ${few(issue.origin)}`
  if (issue.code === 'too_big') return `${shown(value)} is too ${many(issue.origin)}`
  return `${shown(value)} is not accepted here`
}

function few(origin: string): string {
  return origin === 'array' ? 'short a list' : 'small'
}

function many(origin: string): string {
  return origin === 'array' ? 'long a list' : 'large'
}

/** A value as the user knows it, cut when it is long. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length <= 60 ? text : `${text.slice(0, 57)}…`
}

/** `routes[0].upstream`. */
export function dotted(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    return text === '' ? key : `${text}.${key}`
  }, '')
}

function valueAt(data: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null
        ? (value as Readonly<Record<string | number, unknown>>)[key]
        : undefined,
    data,
  )
}
