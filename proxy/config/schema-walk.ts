/** Looks into the zod schema, so that defaults, environment names and mends exist only there. */
import { z } from 'zod'
import { mends } from './fields.ts'

/** Where a value is: keys and indexes from the root. */
export type Path = readonly (string | number)[]

/** A schema without what wraps it: defaults, null, transformations. */
interface Unwrapped {
  readonly core: z.core.$ZodType
  /** The wrappers and the core, outermost first. */
  readonly layers: readonly z.core.$ZodType[]
  /** The value when none is written, in the form of the file. */
  readonly fallback: { readonly value: unknown } | null
}

/** Takes defaults, nullability and transformations off a schema. */
export function unwrap(schema: z.core.$ZodType): Unwrapped {
  const layers: z.core.$ZodType[] = []
  let fallback: Unwrapped['fallback'] = null
  let core = schema
  for (;;) {
    layers.push(core)
    if (core instanceof z.ZodPrefault) {
      fallback ??= { value: core.def.defaultValue }
      core = core.def.innerType
    } else if (core instanceof z.ZodNullable) core = core.def.innerType
    else if (core instanceof z.ZodPipe) core = core.def.in
    else return { core, layers, fallback }
  }
}

/** The schema of a key or element below `schema`, null when there is none. */
export function child(schema: z.core.$ZodType, key: string | number): z.core.$ZodType | null {
  const { core } = unwrap(schema)
  if (core instanceof z.ZodArray) return core.element
  if (!(core instanceof z.ZodObject)) return null
  const shape: Readonly<Record<string, z.core.$ZodType>> = core.shape
  return Object.hasOwn(shape, key) ? (shape[key] ?? null) : null
}

/** The schema at a path, null when the path leads nowhere. */
export function schemaAt(root: z.core.$ZodType, path: Path): z.core.$ZodType | null {
  return path.reduce<z.core.$ZodType | null>(
    (schema, key) => (schema === null ? null : child(schema, key)),
    root,
  )
}

/** The keys of a section; empty for anything else. */
export function keysOf(schema: z.core.$ZodType): string[] {
  const { core } = unwrap(schema)
  return core instanceof z.ZodObject ? Object.keys(core.shape) : []
}

/** How a wrong value of this schema is mended. */
export function mendOf(schema: z.core.$ZodType): string | null {
  for (const layer of unwrap(schema).layers) {
    const mend = mends.get(layer)?.mend
    if (mend !== undefined) return mend
  }
  const { core } = unwrap(schema)
  if (core instanceof z.ZodArray) return 'write a list: one line with "- " for each element'
  const keys = keysOf(schema)
  return keys.length === 0 ? null : `write a section with the keys ${keys.join(', ')}`
}

/** What the schema says about the value, '' when it says nothing. */
export function descriptionOf(schema: z.core.$ZodType): string {
  for (const layer of unwrap(schema).layers) {
    const text = z.globalRegistry.get(layer)?.description
    if (text !== undefined) return text
  }
  return ''
}

/** Every single value outside of lists, for environment names. */
export function scalarPaths(schema: z.core.$ZodType, path: Path = []): Path[] {
  const { core } = unwrap(schema)
  if (core instanceof z.ZodArray) return []
  const keys = keysOf(schema)
  if (keys.length === 0) return [path]
  return keys.flatMap((key) => {
    const below = child(schema, key)
    return below === null ? [] : scalarPaths(below, [...path, key])
  })
}
