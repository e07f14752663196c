/** `edge.yaml`: YAML to plain data, with the place of every key and value. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import type { Fault } from './faults.ts'
import { Origins, pathText } from './layer.ts'
import type { Path } from './schema-walk.ts'

/** A configuration file as it was read. */
export interface ConfigFile {
  /** Absolute; paths in the file are meant from its folder. */
  readonly path: string
  /** As the user wrote it, for faults. */
  readonly name: string
  readonly text: string
}

/** Plain data, the places of its values, and the places of its keys. */
export interface FileLayer {
  readonly data: unknown
  readonly origins: Origins
  readonly keys: ReadonlyMap<string, string>
  readonly faults: readonly Fault[]
}

const mends: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'keep one of the two',
  TAB_AS_INDENT: 'indent with spaces',
  BAD_INDENT: 'indent keys of one section by the same number of spaces',
}

/** Reads YAML; what is no YAML becomes faults. */
export function readFileLayer(file: ConfigFile): FileLayer {
  const counter = new LineCounter()
  const document = parseDocument(file.text, {
    lineCounter: counter,
    prettyErrors: false,
    uniqueKeys: true,
  })
  const place = (offset: number): string => {
    const { line, col } = counter.linePos(offset)
    return `${file.name}:${line}:${col}`
  }
  const faults: Fault[] = document.errors.map((error) => ({
    where: place(error.pos[0]),
    message: error.code === 'DUPLICATE_KEY' ? 'a key is written twice' : lower(error.message),
    mend: mends[error.code] ?? 'correct the YAML here; a colon after a key needs a space',
  }))
  const layer = { origins: new Origins(), keys: new Map<string, string>() }
  layer.origins.set([], `${file.name}:1:1`)
  note(document.contents, [], { ...layer, place })
  const data: unknown = faults.length > 0 ? {} : (document.toJS({ maxAliasCount: 100 }) ?? {})
  if (typeof data !== 'object' || Array.isArray(data)) {
    const message = 'the file is not a section of keys'
    faults.push({ where: place(0), message, mend: 'begin with a key such as listen:' })
  }
  return { data, faults, ...layer }
}

/** Places of the YAML nodes below one node. */
function note(
  node: unknown,
  path: Path,
  to: { origins: Origins; keys: Map<string, string>; place: (offset: number) => string },
): void {
  const start = startOf(node)
  if (start !== null && path.length > 0) to.origins.set(path, to.place(start))
  if (isSeq(node)) node.items.forEach((item, index) => note(item, [...path, index], to))
  if (!isMap(node)) return
  for (const { key, value } of node.items) {
    if (!isScalar(key)) continue
    const below = [...path, String(key.value)]
    const keyStart = startOf(key)
    if (keyStart !== null) {
      to.keys.set(pathText(below), to.place(keyStart))
      // An empty value (`http:`) has no place of its own.
      to.origins.set(below, to.place(keyStart))
    }
    note(value, below, to)
  }
}

function startOf(node: unknown): number | null {
  const range = (isMap(node) || isSeq(node) || isScalar(node) ? (node as Node) : null)?.range
  return range?.[0] ?? null
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1)
}
