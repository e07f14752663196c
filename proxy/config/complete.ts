/** Fills what is not written with the schema's defaults, still in the form of the file. */
import { resolve } from 'node:path'
import { z } from 'zod'
import { paths } from './fields.ts'
import { isSection, type Origins } from './layer.ts'
import { child, keysOf, type Path, unwrap } from './schema-walk.ts'

/** What `complete` needs to know about the values. */
export interface Completion {
  readonly origins: Origins
  /** The folder that a relative path is meant from, by the place it was written in. */
  readonly folderOf: (where: string) => string
}

/** The value with every default below it; unknown keys stay, for the schema to judge. */
export function complete(
  schema: z.core.$ZodType,
  written: unknown,
  at: Completion & { readonly path: Path },
): unknown {
  const { core, fallback, layers } = unwrap(schema)
  const isNullable = layers.some((layer) => layer instanceof z.ZodNullable)
  let value = written
  // `limits:` with nothing below it is YAML's null, and means a section without keys.
  if (value === null && !isNullable && core instanceof z.ZodObject) value = {}
  if (value === null && !isNullable && core instanceof z.ZodArray) value = undefined
  if (value === undefined) {
    if (fallback === null) return undefined
    value = structuredClone(fallback.value)
    at.origins.set(at.path, 'default')
  }
  if (core instanceof z.ZodArray && Array.isArray(value)) {
    return value.map((item: unknown, index) =>
      complete(core.element, item, { ...at, path: [...at.path, index] }),
    )
  }
  if (core instanceof z.ZodObject && isSection(value)) return completeSection(schema, value, at)
  const kind = layers.map((layer) => paths.get(layer)?.kind).find((found) => found !== undefined)
  return kind === undefined || typeof value !== 'string' || value === ''
    ? value
    : absolute(value, kind, at.folderOf(at.origins.get(at.path)))
}

function completeSection(
  schema: z.core.$ZodType,
  section: Readonly<Record<string, unknown>>,
  at: Completion & { readonly path: Path },
): Record<string, unknown> {
  const completed: Record<string, unknown> = { ...section }
  for (const key of keysOf(schema)) {
    const below = child(schema, key)
    if (below === null) continue
    const value = complete(below, section[key], { ...at, path: [...at.path, key] })
    if (value !== undefined) completed[key] = value
  }
  return completed
}

function absolute(value: string, kind: 'file' | 'socket', folder: string): string {
  if (kind === 'file') return resolve(folder, value)
  return value.startsWith('unix:') ? `unix:${resolve(folder, value.slice(5))}` : value
}
