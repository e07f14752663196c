/**
 * Reloads: everything is read, judged and compiled beside what runs, then taken over at once, or
 * not at all. At most one runs and one waits, however often one is asked for.
 */
import { dropPlans } from '../waf/scanner.ts'
import { SecLangError } from '../waf/seclang/faults.ts'
import { ConfigError, type Fault, faultText, UsageError } from './config/faults.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { Identities } from './identities.ts'
import type { Loaded } from './load.ts'
import type { Logger } from './log.ts'
import { type Snapshot, prepare } from './snapshot.ts'
import type { Supervisor } from './supervisor.ts'
import { CertificateError } from './tls/certificates.ts'
import { ticketKeySetOf } from './tls/ticket-keys.ts'
import { unchangeable } from './unchangeable.ts'
import { logLevels } from './tuning.ts'
import type { Upstreams } from './upstream/upstreams.ts'
import type { Wire } from './wire.ts'
import type { CertificateSet } from './wire-config.ts'
import { reasonOf } from '../waf/reason-of.ts'

/** How reloads went, for operators. */
export interface ReloadState {
  readonly generation: number
  readonly accepted: number
  readonly refused: number
  readonly certificateFailures: number
  /** The newest one; null when there was none. */
  readonly last: {
    readonly ok: boolean
    readonly timeMs: number
    /** `SIGHUP`, `files` or `start`. */
    readonly trigger: string
    readonly faults: readonly string[]
  } | null
}

/** What reloads work with. */
export interface ReloadOptions {
  readonly load: () => Promise<Loaded>
  readonly identities: Identities
  /** As it was given, before port 0 became a real one. */
  readonly given: EdgeConfig
  readonly first: Snapshot
  readonly wire: Pick<Wire, 'setCertificates' | 'setLimits' | 'setTicketKeys'>
  readonly upstreams: Pick<Upstreams, 'prepare' | 'take'>
  readonly supervisor: Pick<Supervisor, 'swap'>
  readonly log: Logger
  /** Before the files are read. */
  readonly onBegin: () => void
  /** After each; `files` are those whose change asks for the next one. */
  readonly onEnd: (files: readonly string[], taken: Loaded | null) => void
}

/** The generations of the running program. */
export class Reloader {
  readonly #options: ReloadOptions
  /** Those that exchanges still use, the newest last. */
  readonly #live = new Map<number, Snapshot>()
  #snapshot: Snapshot
  #state: ReloadState
  #running = false
  #waiting: string | null = null

  constructor(options: ReloadOptions) {
    this.#options = options
    this.#snapshot = options.first
    this.#live.set(options.first.generation, options.first)
    const { generation } = options.first
    this.#state = { generation, accepted: 0, refused: 0, certificateFailures: 0, last: null }
  }

  /** What is in force. */
  get snapshot(): Snapshot {
    return this.#snapshot
  }

  /** How many configurations decide about exchanges. */
  get generations(): number {
    return this.#live.size
  }

  get state(): ReloadState {
    return this.#state
  }

  /** The program began with the last good configuration, because of these faults. */
  startedWithout(faults: readonly string[]): void {
    this.#count('start', faults, false)
  }

  /** Asks for a reload; ends with the one that answers it or before, when another one follows. */
  async request(trigger: string): Promise<void> {
    if (this.#running) {
      this.#waiting = trigger
      return
    }
    this.#running = true
    for (let next: string | null = trigger; next !== null; next = this.#waiting) {
      this.#waiting = null
      await this.#reload(next)
    }
    this.#running = false
  }

  /** No exchange of that generation is left: what only it needed goes. */
  retire(generation: number): void {
    const old = this.#live.get(generation)
    if (old === undefined || old === this.#snapshot) return
    this.#live.delete(generation)
    this.#drop(old)
  }

  async #reload(trigger: string): Promise<void> {
    const { load, log, onBegin, onEnd } = this.#options
    const begun = performance.now()
    onBegin()
    let files = this.#snapshot.inputs
    try {
      const loaded = await load()
      files = [...files, ...loaded.files]
      this.#judge(loaded)
      const wanted = this.#withPorts(loaded)
      await this.#lookUp(wanted)
      const next = await prepare(wanted, this.#snapshot, this.#options)
      this.#take(next)
      this.#count(trigger, [], true)
      for (const notice of [...loaded.notices, ...next.notices]) log.warn(notice)
      const { generation } = next
      const tookMs = Math.round(performance.now() - begun)
      log.info({ trigger, generation, tookMs }, 'configuration reloaded')
      logLevels(log, next)
      onEnd(next.inputs, loaded)
    } catch (error) {
      const faults = faultsOf(error)
      const inCertificates = error instanceof CertificateError
      this.#count(trigger, faults, false, inCertificates)
      log.error({ trigger, faults }, 'reload refused: the last good configuration stays')
      const named = error instanceof SecLangError ? error.faults.map(({ file }) => file) : []
      onEnd([...files, ...named], null)
    }
  }

  /** The port that the kernel chose for port 0 stays. */
  #withPorts(loaded: Loaded): Loaded {
    const { https } = this.#snapshot.config.listen
    const { config } = loaded
    return { ...loaded, config: { ...config, listen: { ...config.listen, https } } }
  }

  /** At the start such an upstream is waited for; in place of one that works it is a mistake. */
  async #lookUp({ config, origins }: Loaded): Promise<void> {
    const lost = await this.#options.upstreams.prepare({ config })
    const faults = config.upstreams.flatMap(({ name }, index): Fault[] => {
      if (!lost.includes(name)) return []
      const where = origins.get(['upstreams', index, 'endpoints'])
      const message = `no name of upstream "${name}" resolves`
      return [{ where, message, mend: 'correct the names, or mend the resolver and reload' }]
    })
    if (faults.length > 0) throw new ConfigError(faults)
  }

  #judge(loaded: Loaded): void {
    const faults = unchangeable(this.#options.given, loaded)
    if (faults.length > 0) throw new ConfigError(faults)
    const expired = expiredFaults(this.#snapshot, loaded, Date.now())
    if (expired.length > 0) throw new CertificateError(expired)
  }

  #take(next: Snapshot): void {
    const { wire, supervisor, upstreams } = this.#options
    try {
      // The only step that can fail: nothing else is changed before it.
      if (next.certificates.length > 0) wire.setCertificates(certificateSetOf(next.certificates))
    } catch (error) {
      this.#drop(next)
      const where = 'tls.certificates'
      const mend = 'mend the files of this certificate'
      const message = reasonOf(error)
      throw new CertificateError([{ where, message, mend }])
    }
    wire.setLimits(JSON.stringify(next.config.limits))
    // Without a file the wire changes its keys itself: then a reload must not make new ones.
    if (next.ticketKeys.join() !== this.#snapshot.ticketKeys.join()) {
      wire.setTicketKeys(ticketKeySetOf(next.ticketKeys))
    }
    this.#snapshot = next
    this.#live.set(next.generation, next)
    // The wire's table first, then the workers: plans of either generation find their endpoints.
    upstreams.take(next)
    supervisor.swap(next.setup)
  }

  /** Gives the plan of a generation back that is gone, unless another one uses it. */
  #drop({ rules }: Snapshot): void {
    const { program } = rules
    const users = [...this.#live.values(), this.#snapshot]
    if (program === null || users.some((user) => user.rules.program === program)) return
    dropPlans(program)
  }

  #count(trigger: string, faults: readonly string[], ok: boolean, inCertificates = false): void {
    const { accepted, refused, certificateFailures } = this.#state
    this.#state = {
      generation: this.#snapshot.generation,
      accepted: accepted + (ok ? 1 : 0),
      refused: refused + (ok || trigger === 'start' ? 0 : 1),
      certificateFailures: certificateFailures + (inCertificates ? 1 : 0),
      last: { ok, timeMs: Date.now(), trigger, faults },
    }
  }
}

/** The wire's set of these certificates, as JSON. */
export function certificateSetOf(certificates: Snapshot['certificates']): string {
  const set: CertificateSet = {
    certificates: certificates.map(({ id, chain, key, names, isDefault }) => ({
      id,
      chain,
      key,
      names,
      isDefault,
    })),
  }
  return JSON.stringify(set)
}

/** An expired certificate is served when there is no better one, but never in place of one. */
function expiredFaults(before: Snapshot, loaded: Loaded, nowMs: number): Fault[] {
  return loaded.certificates.flatMap((certificate, index) => {
    const { certFile, notAfterMs } = certificate
    const running = before.certificates.find((one) => one.certFile === certFile)
    if (notAfterMs > nowMs || running === undefined || running.notAfterMs <= nowMs) return []
    const where = loaded.origins.get(['tls', 'certificates', index, 'certFile'])
    const message = `${certFile} has expired, and the one that is served has not`
    return [{ where, message, mend: 'put a certificate there that is valid' }]
  })
}

function faultsOf(error: unknown): string[] {
  if (error instanceof ConfigError) return error.faults.map(faultText)
  if (error instanceof SecLangError) return error.message.split(/\n(?! )/)
  if (error instanceof UsageError) return [error.message]
  return [reasonOf(error)]
}
