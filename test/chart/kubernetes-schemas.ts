/**
 * JSON Schemas of Kubernetes' objects for kubeconform, from the OpenAPI description inside the Go
 * module of Kubernetes: its schema site need not be reachable.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../harness/edge.ts'
import { operatorSchemas } from './operator-schemas.ts'
import { kubernetesVersion, moduleFolder } from './tools.ts'

type Json = { readonly [key: string]: unknown }

interface Definition extends Json {
  readonly properties?: Readonly<Record<string, Json>>
  readonly 'x-kubernetes-group-version-kind'?: readonly {
    readonly group: string
    readonly version: string
    readonly kind: string
  }[]
}

// A definition of a resource leaves out what every object has.
const objectMeta: Readonly<Record<string, Json>> = {
  metadata: { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' },
}

/** The folder with the schemas; makes them once for each version. */
export function kubernetesSchemas(): string {
  const folder = join(root, `.cache/kubernetes-schemas-${kubernetesVersion}-operator`)
  if (existsSync(folder)) return folder
  mkdirSync(join(root, '.cache'), { recursive: true })
  const directory = moduleFolder(`k8s.io/kubernetes@v${kubernetesVersion}`)
  const file = join(directory, 'api/openapi-spec/swagger.json')
  const { definitions }: { definitions: Readonly<Record<string, Definition>> } = JSON.parse(
    readFileSync(file, 'utf8'),
  )
  const making = `${folder}.${process.pid}`
  mkdirSync(making)
  for (const [name, text] of schemasOf(definitions)) writeFileSync(join(making, name), text)
  for (const [name, schema] of operatorSchemas()) {
    const own = { ...schema, properties: { ...(schema as Definition).properties, ...objectMeta } }
    writeFileSync(join(making, name), JSON.stringify(strict(own, definitions, [])))
  }
  renameSync(making, folder)
  return folder
}

function* schemasOf(
  definitions: Readonly<Record<string, Definition>>,
): Generator<[string, string]> {
  for (const [name, definition] of Object.entries(definitions)) {
    const [kind, ...more] = definition['x-kubernetes-group-version-kind'] ?? []
    const isObject = definition.properties?.['apiVersion'] !== undefined
    if (kind === undefined || more.length > 0 || !isObject) continue
    const group = kind.group === '' ? '' : `${kind.group.split('.')[0]}-`
    const file = `${kind.kind}-${group}${kind.version}.json`.toLowerCase()
    yield [file, JSON.stringify(strict(definition, definitions, [name]))]
  }
}

/** The schema with its references written out, and no property that is not named. */
function strict(
  schema: Json,
  definitions: Readonly<Record<string, Json>>,
  within: readonly string[],
): Json {
  const reference = schema['$ref']
  if (typeof reference === 'string') {
    const name = reference.slice(reference.lastIndexOf('/') + 1)
    const target = definitions[name]
    if (target === undefined || within.includes(name) || name.includes('JSONSchemaProps')) return {}
    if (name.endsWith('.IntOrString')) return { type: ['string', 'integer'] }
    if (name.endsWith('.Quantity')) return { type: ['string', 'number'] }
    return strict(target, definitions, [...within, name])
  }
  const below = (value: unknown): Json => strict(value as Json, definitions, within)
  const { type, required, enum: words, items, properties, additionalProperties } = schema
  const kept = Object.entries({ type, required, enum: words }).filter(([, value]) => value)
  const made: Record<string, unknown> = Object.fromEntries(kept)
  if (items !== undefined) made['items'] = below(items)
  if (typeof additionalProperties === 'object') {
    made['additionalProperties'] = below(additionalProperties)
  }
  if (typeof properties === 'object' && properties !== null) {
    const all = Object.entries(properties).map(([name, value]) => [name, below(value)])
    made['properties'] = Object.fromEntries(all)
    made['additionalProperties'] = false
  }
  return made
}
