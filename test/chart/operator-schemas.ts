/** JSON Schemas of the Prometheus Operator's objects, from the definitions in its Go module. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { moduleFolder } from './tools.ts'

const module = 'github.com/prometheus-operator/prometheus-operator@v0.92.1'
const kinds: ReadonlySet<string> = new Set(['PodMonitor', 'ServiceMonitor', 'PrometheusRule'])

interface Definition {
  readonly spec: {
    readonly group: string
    readonly names: { readonly kind: string }
    readonly versions: readonly {
      readonly name: string
      readonly schema: { readonly openAPIV3Schema: object }
    }[]
  }
}

/** File name and schema of each kind, as they are written: `strict` is the caller's. */
export function* operatorSchemas(): Generator<[name: string, schema: object]> {
  const folder = join(moduleFolder(module), 'example/prometheus-operator-crd')
  for (const file of readdirSync(folder)) {
    const definition: Definition = parse(readFileSync(join(folder, file), 'utf8'))
    const { group, names, versions } = definition.spec
    if (!kinds.has(names.kind)) continue
    for (const { name, schema } of versions) {
      const parts = [names.kind, group.split('.')[0], name]
      yield [`${parts.join('-')}.json`.toLowerCase(), schema.openAPIV3Schema]
    }
  }
}
