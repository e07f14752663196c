/** A configuration made ready to serve: rules compiled, names resolved, certificates numbered. */
import { fileURLToPath } from 'node:url'
import { compileOnThread } from '../waf/compile/compile-on-thread.ts'
import { LogFile } from '../waf/log-file.ts'
import type { Program } from '../waf/program.ts'
import { ConfigError, type Fault } from './config/faults.ts'
import type { EdgeConfig } from './config/schema.ts'
import { fingerprint, siblings } from './fingerprint.ts'
import type { Identities } from './identities.ts'
import type { Loaded } from './load.ts'
import type { UpstreamFiles } from './upstream/upstream-files.ts'
import type { LoadedCertificate } from './tls/certificates.ts'
import type { SharedSetup } from './supervisor.ts'

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
}

/** A certificate with what the wire calls it. */
export type NumberedCertificate = LoadedCertificate & { readonly id: number }

/** Rules, and by what to tell whether they must be compiled again. */
interface CompiledRules {
  /** Null when nothing is ever inspected. */
  readonly program: Program | null
  readonly options: string
  readonly files: readonly string[]
  /** Null when a file may have changed while it was read: then no state is known to be this one. */
  readonly seen: string | null
}

/** Does all the work of a generation beside the one that runs; touches nothing of it. */
export async function prepare(
  loaded: Loaded,
  before: Snapshot | null,
  identities: Identities,
): Promise<Snapshot> {
  const { config } = loaded
  checkLogFiles(config)
  const certificates = numbered(loaded.certificates, identities)
  // Last, because a compiled plan has to be given back when something after it fails.
  const rules = await compileRules(config, before?.rules ?? null)
  const generation = (before?.generation ?? 0) + 1
  const { certificateNames } = identities
  return {
    generation,
    config,
    rules,
    certificates,
    ticketKeys: loaded.ticketKeys,
    upstreamFiles: loaded.upstreamFiles,
    setup: { generation, config, program: rules.program, certificateNames },
    inputs: [...loaded.files, ...rules.files],
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
      const message = error instanceof Error ? error.message : String(error)
      faults.push({ where: `waf.${key}`, message, mend: 'name a file that this user can write' })
    }
  }
  if (faults.length > 0) throw new ConfigError(faults)
}

/** The rules that run already, when nothing that they were made of has changed. */
async function compileRules(
  { waf, routes }: EdgeConfig,
  before: CompiledRules | null,
): Promise<CompiledRules> {
  if (waf.mode === 'off' || routes.every((route) => route.waf.mode === 'off')) {
    return { program: null, options: '', files: [], seen: '' }
  }
  const wanted = {
    baseFile: waf.baseFile ?? fileURLToPath(new URL('../waf/base.conf', import.meta.url)),
    crsDirectory: waf.rules,
    paranoia: waf.paranoia,
    setupFiles: waf.setupFiles,
    scanBudgetMs: waf.budgetMs,
    decoding: waf.decoding,
  }
  const options = JSON.stringify(wanted)
  if (before?.options === options && before.seen !== null) {
    if (fingerprint(siblings(before.files)).text === before.seen) return before
  }
  const startedMs = Date.now()
  const program = await compileOnThread(wanted)
  const files = program.files?.filter((file) => file.startsWith('/')) ?? []
  const { text, newestMs } = fingerprint(siblings(files))
  // A file written while it was read has a time after the start of the reading.
  return { program, options, files: siblings(files), seen: newestMs < startedMs ? text : null }
}
