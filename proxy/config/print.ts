/** `edge run --print-config`: the configuration as a file that can be used, with every origin. */
import { Document, isMap, isScalar, isSeq } from 'yaml'
import type { ParsedConfig } from './parse.ts'
import type { Path } from './schema-walk.ts'

/** YAML in which each value says where it came from. */
export function printConfig({ written, origins }: ParsedConfig): string {
  const document = new Document(written)
  const visit = (node: unknown, path: Path): void => {
    if (isScalar(node)) node.comment = ` ${origins.get(path)}`
    if (isSeq(node)) {
      if (node.items.length === 0) node.comment = ` ${origins.get(path)}`
      node.items.forEach((item, index) => visit(item, [...path, index]))
    }
    if (!isMap(node)) return
    for (const { key, value } of node.items) visit(value, [...path, keyText(key)])
  }
  visit(document.contents, [])
  // The library puts an empty list and its comment on lines of their own.
  return document.toString({ lineWidth: 0 }).replaceAll(/:\n +\[\]\n +#/g, ': [] #')
}

function keyText(key: unknown): string {
  return String(isScalar(key) ? key.value : key)
}
