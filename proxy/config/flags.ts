/** The flags of `edge run` and `edge validate`, and the settings they stand for. */
import { parseArgs } from 'node:util'
import { backendSettings, fromText } from './environment.ts'
import { nearest, UsageError } from './faults.ts'
import type { Setting } from './layer.ts'
import type { Path } from './schema-walk.ts'

/** Flags that set one value, and the path of that value. */
const single: Readonly<Record<string, Path>> = {
  http: ['listen', 'http'],
  https: ['listen', 'https'],
  waf: ['waf', 'mode'],
  rules: ['waf', 'rules'],
  paranoia: ['waf', 'paranoia'],
  'waf-log': ['waf', 'logFile'],
  admin: ['admin'],
  status: ['status'],
  'advertise-https-port': ['listen', 'advertiseHttpsPort'],
  workers: ['waf', 'workers'],
  'wire-threads': ['wireThreads'],
  'drain-mode': ['drain', 'mode'],
  'mesh-state': ['mesh', 'stateDir'],
}

const options = {
  config: { type: 'string' },
  backend: { type: 'string', multiple: true },
  http: { type: 'string' },
  https: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  waf: { type: 'string' },
  rules: { type: 'string' },
  paranoia: { type: 'string' },
  'waf-setup': { type: 'string', multiple: true },
  'waf-log': { type: 'string' },
  'waf-service': { type: 'string', multiple: true },
  'no-redirect': { type: 'boolean' },
  admin: { type: 'string' },
  status: { type: 'string' },
  'advertise-https-port': { type: 'string' },
  workers: { type: 'string' },
  'wire-threads': { type: 'string' },
  'drain-mode': { type: 'string' },
  'mesh-state': { type: 'string' },
  'shared-ports': { type: 'boolean' },
  'last-good': { type: 'boolean' },
  'print-config': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** The command line, understood. */
export interface Flags {
  readonly configFile: string | null
  readonly printConfig: boolean
  /** A configuration that is not valid is replaced by the last one that was. */
  readonly lastGood: boolean
  readonly help: boolean
  readonly settings: readonly Setting[]
}

/** Reads the flags; throws a `UsageError` for one that does not exist. */
export function readFlags(args: readonly string[]): Flags {
  const values = parse(args)
  const settings: Setting[] = []
  for (const [flag, path] of Object.entries(single)) {
    const text = (values as Readonly<Record<string, unknown>>)[flag]
    if (typeof text !== 'string') continue
    settings.push({ path, value: fromText(path, text), where: `--${flag}` })
  }
  if (values.backend !== undefined) settings.push(...backendSettings(values.backend, '--backend'))
  if (values['waf-setup'] !== undefined) {
    settings.push({ path: ['waf', 'setupFiles'], value: values['waf-setup'], where: '--waf-setup' })
  }
  if (values['waf-service'] !== undefined) {
    const path = ['waf', 'service', 'endpoints']
    settings.push({ path, value: values['waf-service'], where: '--waf-service' })
  }
  if (values['no-redirect'] === true) {
    settings.push({ path: ['listen', 'redirect'], value: false, where: '--no-redirect' })
  }
  if (values['shared-ports'] === true) {
    settings.push({ path: ['listen', 'shared'], value: true, where: '--shared-ports' })
  }
  if (values.cert !== undefined || values.key !== undefined) {
    const certificate = { certFile: values.cert, keyFile: values.key }
    const where = values.cert === undefined ? '--key' : '--cert'
    settings.push({ path: ['tls', 'certificates'], value: [certificate], where })
  }
  return {
    configFile: values.config ?? null,
    lastGood: values['last-good'] === true,
    printConfig: values['print-config'] === true,
    help: values.help === true,
    settings,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    const unknown = /Unknown option '--?([^']*)'/.exec(error.message)?.[1]
    const meant = unknown === undefined ? null : nearest(unknown, Object.keys(options))
    const hint = meant === null ? '' : `; did you mean --${meant}?`
    const message = unknown === undefined ? error.message : `unknown flag --${unknown}`
    throw new UsageError(`${message}${hint}`, { cause: error })
  }
}
