/** One source of settings as plain data that knows where each value was written. */
import type { Path } from './schema-walk.ts'

/** A single setting of the environment or the command line. */
export interface Setting {
  readonly path: Path
  readonly value: unknown
  /** `env HTTP_PORT`, `--http`. */
  readonly where: string
}

/** A path as text: `routes.0.waf.mode`; '' is the root. */
export function pathText(path: Path): string {
  return path.join('.')
}

/** Whether a value is a section: a plain object. */
export function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Where each value comes from, by path; the nearest path above answers for what is not listed. */
export class Origins {
  readonly #places = new Map<string, string>()

  /** Notes the place of a value. */
  set(path: Path, where: string): void {
    this.#places.set(pathText(path), where)
  }

  /** Notes the place of a value that takes the place of another one and of all below it. */
  replace(path: Path, where: string): void {
    const text = pathText(path)
    for (const known of this.#places.keys()) {
      if (known.startsWith(`${text}.`)) this.#places.delete(known)
    }
    this.#places.set(text, where)
  }

  /** The place of the value at the path or of the nearest one above it. */
  get(path: Path): string {
    for (let length = path.length; length >= 0; length--) {
      const where = this.#places.get(pathText(path.slice(0, length)))
      if (where !== undefined) return where
    }
    return 'default'
  }
}

/** The settings laid over the data: sections are merged, lists and single values are replaced. */
export function applySettings(
  data: unknown,
  settings: readonly Setting[],
  origins: Origins,
): Record<string, unknown> {
  const root = isSection(data) ? data : {}
  for (const { path, value, where } of settings) {
    let section = root
    for (const key of path.slice(0, -1)) {
      const below = section[key]
      const next = isSection(below) ? below : {}
      section[key] = next
      section = next
    }
    const last = path.at(-1)
    if (last === undefined) continue
    section[last] = value
    origins.replace(path, where)
  }
  return root
}
