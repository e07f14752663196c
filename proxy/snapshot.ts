/** A configuration made ready to serve: rules compiled, names resolved, certificates numbered. */
import { dirname } from 'node:path'
import { type CompileOptions, compileRuleset } from '../waf/compile/compile-on-thread.ts'
import { LogFile } from '../waf/log-file.ts'
import type { Program } from '../waf/program.ts'
import { dropPlans } from '../waf/scanner.ts'
import { rulesetFiles } from '../waf/seclang/load.ts'
import { rulesOf } from '../waf/tuning/tuned-program.ts'
import { compileOptionsOf, isOff } from './compile-options.ts'
import { ConfigError, type Fault } from './config/faults.ts'
import type { EdgeConfig } from './config/schema.ts'
import { fingerprint, siblings } from './fingerprint.ts'
import type { Identities } from './identities.ts'
import type { Loaded } from './load.ts'
import type { Logger } from './log.ts'
import type { UpstreamFiles } from './upstream/upstream-files.ts'
import type { LoadedCertificate } from './tls/certificates.ts'
import type { SharedSetup } from './supervisor.ts'
import { exclusionNotices, judgeLevels } from './tuning.ts'
import { variantNames } from './waf-service/variant.ts'
import { reasonOf } from '../waf/reason-of.ts'

/** One generation of everything that decides about exchanges. */
export interface Snapshot {
  readonly generation: number
  readonly config: EdgeConfig
  readonly rules: CompiledRules
  readonly certificates: readonly NumberedCertificate[]
  readonly ticketKeys: readonly string[]
  readonly upstreamFiles: readonly UpstreamFiles[]
  readonly setup: SharedSetup
  /** Files that, once changed, ask for a reload. */
  readonly inputs: readonly string[]
  /** What the rules make of the configuration; wrong with nothing. */
  readonly notices: readonly string[]
}

/** A certificate with what the wire calls it. */
export type NumberedCertificate = LoadedCertificate & { readonly id: number }

/** Rules, and by what to tell whether they must be compiled again. */
interface CompiledRules {
  /** Null when nothing is ever inspected. */
  readonly program: Program | null
  /** Where a service inspects: its names of the rules, by tuning; else null. */
  readonly variants: readonly string[] | null
  readonly options: string
  readonly files: readonly string[]
  /** Null when a file may have changed while it was read: then no state is known to be this one. */
  readonly seen: string | null
}

/** What the making of a generation needs of the program. */
interface ReloadParts {
  readonly identities: Identities
  readonly log: Pick<Logger, 'warn'>
}

/** Does all the work of a generation beside the one that runs; touches nothing of it. */
export async function prepare(
  loaded: Loaded,
  before: Snapshot | null,
  { identities, log }: ReloadParts,
): Promise<Snapshot> {
  const { config } = loaded
  checkLogFiles(config)
  const certificates = numbered(loaded.certificates, identities)
  // Last, because a compiled plan has to be given back when something after it fails.
  const rules = await compileRules(loaded, before?.rules ?? null, (reason) =>
    log.warn({ reason, folder: loaded.rulesCache }, 'the compiled rules are not kept'),
  )
  const generation = (before?.generation ?? 0) + 1
  const { certificateNames } = identities
  return {
    generation,
    config,
    rules,
    certificates,
    ticketKeys: loaded.ticketKeys,
    upstreamFiles: loaded.upstreamFiles,
    setup: {
      generation,
      config,
      program: rules.program,
      variants: rules.variants,
      certificateNames,
    },
    inputs: [...loaded.files, ...rules.files],
    notices:
      rules.program === null
        ? []
        : exclusionNotices(config, loaded.origins, rulesOf(rules.program)),
  }
}

/** The certificates with their ids. */
export function numbered(
  certificates: readonly LoadedCertificate[],
  identities: Identities,
): NumberedCertificate[] {
  return certificates.map((one) => ({ ...one, id: identities.certificate(one.names) }))
}

/** The workers open these files; a fault in their names is told here, once and with its place. */
function checkLogFiles({ waf }: EdgeConfig): void {
  const faults: Fault[] = []
  for (const key of ['logFile', 'auditLogFile'] as const) {
    const path = waf[key]
    if (path === null) continue
    try {
      new LogFile(path).close()
    } catch (error) {
      const message = reasonOf(error)
      faults.push({ where: `waf.${key}`, message, mend: 'name a file that this user can write' })
    }
  }
  if (faults.length > 0) throw new ConfigError(faults)
}

/** The rules that run already, when nothing that they were made of has changed. */
async function compileRules(
  { config, origins, rulesCache }: Loaded,
  before: CompiledRules | null,
  onNotKept: (reason: string) => void,
): Promise<CompiledRules> {
  if (isOff(config)) return { program: null, variants: null, options: '', files: [], seen: '' }
  const wanted = compileOptionsOf(config)
  if (config.waf.service.endpoints.length > 0) return rulesElsewhere(wanted)
  const options = JSON.stringify(wanted)
  if (before?.options === options && before.seen !== null) {
    if (fingerprint(siblings(before.files)).text === before.seen) return before
  }
  const startedMs = Date.now()
  const cache = rulesCache === null ? null : { folder: rulesCache, onFailure: onNotKept }
  const program = await compileRuleset(wanted, cache)
  try {
    judgeLevels(config, origins, program)
  } catch (error) {
    dropPlans(program)
    throw error
  }
  const files = rulesFiles(program)
  const { text, newestMs } = fingerprint(siblings(files))
  // A file written while it was read has a time after the start of the reading.
  const seen = newestMs < startedMs ? text : null
  return { program, variants: null, options, files: siblings(files), seen }
}

/** A service has the program: here only its names are needed, and to see when they change. */
function rulesElsewhere(wanted: CompileOptions): CompiledRules {
  try {
    const files = siblings(rulesetFiles(wanted).filter((file) => file.startsWith('/')))
    return { program: null, variants: variantNames(wanted), options: '', files, seen: null }
  } catch (error) {
    const mend = 'name rules that this user can read; they must be those of the service'
    throw new ConfigError([{ where: 'waf.rules', message: reasonOf(error), mend }])
  }
}

/** What was read, what may yet appear where `Include` looks, and the folders where it looks. */
function rulesFiles({ files = [], lookups = [] }: Program): string[] {
  const read = files.filter((file) => file.startsWith('/'))
  const wanted = lookups.map((pattern) => {
    const fixed = pattern.split(/[*?[]/, 1)[0] ?? ''
    return fixed === pattern ? pattern : dirname(`${fixed}x`)
  })
  return [...new Set([...read, ...wanted])]
}
