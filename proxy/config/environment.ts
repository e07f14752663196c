/** The environment: the names of seed 001, and `EDGE_` with the name of any single setting. */
import { parse } from 'yaml'
import { z } from 'zod'
import { type Fault, nearest } from './faults.ts'
import type { Setting } from './layer.ts'
import { type Path, scalarPaths, schemaAt } from './schema-walk.ts'
import { schema } from './schema.ts'

/** Variables of a process, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The certificate paths of seed 001: used when nothing is named and both files are there. */
export const seedCertificate = {
  certFile: '/etc/ssl/certs/server.crt',
  keyFile: '/etc/ssl/private/server.key',
} as const

/** Variables with `EDGE_` that are no settings of the file. */
const reserved = new Set([
  'EDGE_TEST_HOOKS',
  'EDGE_ADDON',
  'EDGE_PREBUILT',
  'EDGE_CONFIG',
  'EDGE_CRS_DIR',
  'EDGE_MESH_TOKEN',
  'EDGE_MESH_ADMIN_KEY',
])

interface EnvironmentLayer {
  readonly settings: Setting[]
  readonly faults: Fault[]
  /** Variables that are set and do nothing. */
  readonly notices: string[]
}

/** Settings from the environment; an empty variable counts as not set. */
export function readEnvironment(all: Environment): EnvironmentLayer {
  const given = Object.entries(all).filter((entry): entry is [string, string] => Boolean(entry[1]))
  const env = new Map(given)
  const layer: EnvironmentLayer = { settings: [], faults: [], notices: [] }
  readSeedNames(env, layer)
  const names = new Map(scalarPaths(schema).map((path) => [variableName(path), path]))
  for (const [variable, text] of given) {
    if (!variable.startsWith('EDGE_') || reserved.has(variable)) continue
    const path = names.get(variable)
    if (path !== undefined) {
      layer.settings.push({ path, value: fromText(path, text), where: `env ${variable}` })
      continue
    }
    const meant = nearest(variable, [...names.keys()])
    const hint = meant === null ? '' : ` (did you mean ${meant}?)`
    layer.notices.push(`env ${variable} is not a setting and has no effect${hint}`)
  }
  return layer
}

/** `EDGE_LIMITS_HEADER_MAX` for `limits.headerMax`. */
export function variableName(path: Path): string {
  const words = path.map((key) => String(key).replace(/[A-Z]/g, (letter) => `_${letter}`))
  return `EDGE_${words.join('_').toUpperCase()}`
}

/** A text as the value its schema wants: `8` is a number where a number is wanted. */
export function fromText(path: Path, text: string): unknown {
  const wanted = schemaAt(schema, path)
  if (wanted === null || z.safeParse(wanted, text).success) return text
  let value: unknown
  try {
    value = parse(text)
  } catch {
    return text // no YAML: the text itself is judged, and named in the fault
  }
  const isScalar = value === null || ['number', 'boolean'].includes(typeof value)
  if (isScalar) return value
  return text === 'off' || text === 'none' ? null : text
}

/** The proxy's variables of seed 001, with its meaning of each. */
function readSeedNames(env: ReadonlyMap<string, string>, layer: EnvironmentLayer): void {
  const { settings, faults, notices } = layer
  for (const [variable, key] of [
    ['HTTP_PORT', 'http'],
    ['HTTPS_PORT', 'https'],
  ] as const) {
    const port = env.get(variable)
    const value = port === undefined || !/^\d+$/.test(port) ? port : `0.0.0.0:${port}`
    if (value !== undefined)
      settings.push({ path: ['listen', key], value, where: `env ${variable}` })
  }
  const host = env.get('BACKEND_HOST')
  const port = env.get('BACKEND_PORT')
  if (host !== undefined || port !== undefined) {
    const bracketed = host?.includes(':') === true && !host.startsWith('[') ? `[${host}]` : host
    const url = `http://${bracketed ?? '127.0.0.1'}:${port ?? '8080'}`
    const where = `env ${host === undefined ? 'BACKEND_PORT' : 'BACKEND_HOST'}`
    settings.push(...backendSettings([url], where))
  }
  const certFile = env.get('TLS_CERT_FILE')
  const keyFile = env.get('TLS_KEY_FILE')
  if (certFile !== undefined || keyFile !== undefined) {
    const value = [
      {
        certFile: certFile ?? seedCertificate.certFile,
        keyFile: keyFile ?? seedCertificate.keyFile,
      },
    ]
    const where = `env ${certFile === undefined ? 'TLS_KEY_FILE' : 'TLS_CERT_FILE'}`
    settings.push({ path: ['tls', 'certificates'], value, where })
  }
  const enabled = env.get('WAF_ENABLED')?.toLowerCase()
  if (enabled !== undefined) {
    const isOn = ['true', '1'].includes(enabled)
    if (!isOn && !['false', '0'].includes(enabled)) {
      const message = `"${enabled}" is neither true nor false`
      faults.push({ where: 'env WAF_ENABLED', message, mend: 'write true or false' })
    }
    // `true` says only that there is a WAF: it must not undo `mode: detect` of the file.
    if (!isOn) settings.push({ path: ['waf', 'mode'], value: 'off', where: 'env WAF_ENABLED' })
  }
  const timeout = env.get('WAF_TIMEOUT_MS')
  if (timeout !== undefined) {
    settings.push({ path: ['waf', 'budget'], value: timeout, where: 'env WAF_TIMEOUT_MS' })
  }
  for (const variable of ['WAF_HOST', 'WAF_PORT']) {
    if (env.has(variable)) notices.push(`env ${variable} has no effect: the WAF is built in`)
  }
}

/** One upstream `default` with these endpoints, and one route to it for everything. */
export function backendSettings(urls: readonly string[], where: string): Setting[] {
  const upstream = { name: 'default', endpoints: urls.map((url) => ({ url })) }
  return [
    { path: ['upstreams'], value: [upstream], where },
    { path: ['routes'], value: [{ name: 'default', upstream: 'default' }], where },
  ]
}
