/**
 * The stage of the loss tests: two backends, one edge (or a chain of successors), and the client
 * that counts started = succeeded over h1, TLS h1, h2 and h3. The rule of the count stands in
 * test/clients/go/loss.go.
 */
import { once } from 'node:events'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2, type Settings as Http2Settings } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { type RunningEdge, startEdge } from '../harness/edge.ts'
import { type GoBackend, runGo, startGo, startGoBackend } from '../harness/go.ts'

/** The account of one protocol. */
export interface LossCount {
  readonly started: number
  readonly succeeded: number
  readonly failed: Record<string, number>
  readonly refused: number
  readonly connections: number
  readonly slowestMs: number
}

/** The accounts, by protocol. */
export type LossCounts = Record<string, LossCount>

/** How often a scenario repeats its fault, and how long it waits in between. */
export interface Turns {
  readonly turns: number
  readonly pauseMs: number
}

type Limits = Readonly<Record<string, number>>

type CertificateKind = 'good' | 'garbage' | 'truncated' | 'foreign key'

/** The files that the edge reads, and how they change. */
class StageFolder {
  readonly #directory = mkdtempSync(join(tmpdir(), 'edge-loss-'))
  readonly #backends: readonly string[]
  #foreign = 0

  constructor(backends: readonly string[]) {
    this.#backends = backends
  }

  get flags(): string[] {
    return ['--config', this.#path('edge.yaml'), '--no-redirect', '--waf', 'off']
  }

  /** The configuration as text; `limits` are what reloads change. */
  config(limits: Limits): string {
    const endpoints = this.#backends.map((address) => ({ url: `http://${address}` }))
    const files = { certFile: this.#path('cert.pem'), keyFile: this.#path('key.pem') }
    return JSON.stringify({
      tls: { certificates: [files] },
      upstreams: [{ name: 'default', endpoints }],
      limits,
      log: { access: false },
    })
  }

  writeConfig(limits: Limits): void {
    this.writeText(this.config(limits))
  }

  writeText(text: string): void {
    writeFileSync(this.#path('edge.yaml'), text)
  }

  async changeCertificate(kind: CertificateKind): Promise<void> {
    const cert = this.#path('cert.pem')
    if (kind === 'garbage') return writeFileSync(cert, 'no certificate\n')
    if (kind === 'truncated') return writeFileSync(cert, '-----BEGIN CERTIFICATE-----\nMIIB')
    // A foreign key: the certificate is new, the key in its place is the one before.
    const key = kind === 'good' ? 'key.pem' : `other-${this.#foreign++}.pem`
    await runGo(['certificate', '-cert', cert, '-key', this.#path(key)])
  }

  fingerprint(): string {
    return new X509Certificate(readFileSync(this.#path('cert.pem'))).fingerprint256
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #path(name: string): string {
    return join(this.#directory, name)
  }
}

/** What a scenario works on. */
export class LossStage {
  readonly #folder: StageFolder
  readonly #backends: GoBackend[]
  #edge: RunningEdge

  constructor(folder: StageFolder, backends: GoBackend[], edge: RunningEdge) {
    this.#folder = folder
    this.#backends = backends
    this.#edge = edge
  }

  /** Starts the backends and the edge. */
  static async start(extra: readonly string[] = [], limits: Limits = {}): Promise<LossStage> {
    const first = await startGoBackend(['backend', '-name', 'first'])
    const second = await startGoBackend(['backend', '-name', 'second'])
    const folder = new StageFolder([first.address, second.address])
    await folder.changeCertificate('good')
    folder.writeConfig(limits)
    const edge = await startEdge({ arguments: [...folder.flags, ...extra] })
    return new LossStage(folder, [first, second], edge)
  }

  /** Runs the client while `scenario` does its harm. */
  async under(
    scenario: () => Promise<void>,
    timeoutMs: number,
    extra: readonly string[] = [],
  ): Promise<LossCounts> {
    const { httpPort, httpsPort } = this.#edge
    const addresses = ['-http', `127.0.0.1:${httpPort}`, '-https', `127.0.0.1:${httpsPort}`]
    const client = startGo<LossCounts>(['loss', ...addresses, '-pause', '2ms', ...extra], timeoutMs)
    await sleep(300)
    try {
      await scenario()
      await sleep(300)
    } finally {
      await client.finish()
    }
    return client.result
  }

  /** A number of requests of each protocol, without any harm. */
  load(requests: number, parallel: number): Promise<LossCounts> {
    const { httpPort, httpsPort } = this.#edge
    const addresses = ['-http', `127.0.0.1:${httpPort}`, '-https', `127.0.0.1:${httpsPort}`]
    const size = ['-requests', String(requests), '-parallel', String(parallel)]
    return runGo<LossCounts>(['loss', ...addresses, ...size])
  }

  /** Ends one backend after the other gracefully, and starts each again on its address. */
  async restartBackends({ turns, pauseMs }: Turns): Promise<void> {
    for (let turn = 0; turn < turns; turn += 1) {
      const index = turn % this.#backends.length
      const backend = this.#backends[index]
      if (!backend) return
      await backend.stop()
      await sleep(pauseMs)
      this.#backends[index] = await startGoBackend(['backend', '-address', backend.address])
      await sleep(pauseMs)
    }
  }

  /** SIGHUP again and again; every second file is invalid, in turn in three ways. */
  async reload({ turns, pauseMs }: Turns): Promise<void> {
    const invalid = ['{', '{"limits": {"noSuchLimit": 1}}', '{"listen": {"http": 99999}}']
    for (let turn = 0; turn < turns; turn += 1) {
      const good = this.#folder.config({ headerCountMax: 100 + turn, h2StreamsMax: 50 + turn })
      this.#folder.writeText(turn % 2 === 0 ? good : (invalid[turn % invalid.length] ?? ''))
      this.#edge.process.kill('SIGHUP')
      await sleep(pauseMs)
    }
    this.#folder.writeConfig({ h2StreamsMax: 77 })
    this.#edge.process.kill('SIGHUP')
    await until('the last configuration', async () => {
      return (await announcedStreams(this.#edge.httpsPort)) === 77
    })
  }

  /** New certificates again and again; every fifth pair of files is broken, in turn. */
  async changeCertificates({ turns, pauseMs }: Turns): Promise<void> {
    const broken = ['garbage', 'truncated', 'foreign key'] as const
    for (let turn = 0; turn < turns; turn += 1) {
      const kind = turn % 5 === 4 ? (broken[Math.floor(turn / 5) % 3] ?? 'garbage') : 'good'
      await this.#folder.changeCertificate(kind)
      this.#edge.process.kill('SIGHUP')
      await sleep(pauseMs)
    }
    await this.#folder.changeCertificate('good')
    this.#edge.process.kill('SIGHUP')
    const wanted = this.#folder.fingerprint()
    await until('the last certificate', async () => {
      return (await servedFingerprint(this.#edge.httpsPort)) === wanted
    })
  }

  /** Rolling replacement: a successor on the same ports, then SIGTERM to the edge before it. */
  async replaceEdge({ turns, pauseMs }: Turns): Promise<void> {
    for (let turn = 0; turn < turns; turn += 1) {
      const old = this.#edge
      const ports = ['--http', `127.0.0.1:${old.httpPort}`]
      ports.push('--https', `127.0.0.1:${old.httpsPort}`, ...handover)
      this.#edge = await startEdge({ arguments: [...this.#folder.flags, ...ports] })
      await sleep(pauseMs)
      const ended = once(old.process, 'exit')
      old.process.kill('SIGTERM')
      const [code] = (await ended) as [number | null]
      if (code !== 0) throw new Error(`the edge before ended with ${code}:\n${old.output()}`)
      await old.stop()
      await sleep(pauseMs)
    }
  }

  /** Ends everything; returns the exit code of the edge. */
  async stop(): Promise<number | null> {
    const code = await this.#edge.stop()
    for (const backend of this.#backends) await backend.stop()
    this.#folder.remove()
    return code
  }
}

/** Flags with which two edges may hold the same ports, one after the other. */
export const handover = ['--shared-ports', '--drain-mode', 'handover'] as const

/** What was lost, as lines; empty: nothing. */
export function losses(counts: LossCounts): string[] {
  return Object.entries(counts).flatMap(([protocol, count]) => {
    const lost = count.started - count.succeeded
    if (lost === 0 && count.started > 0) return []
    return [`${protocol}: ${lost} of ${count.started} lost: ${JSON.stringify(count.failed)}`]
  })
}

/** Waits until what was changed last is in use: else the scenario would prove nothing. */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`${what} never came into use`)
    await sleep(100)
  }
}

/** The streams that a new HTTP/2 connection may open. */
async function announcedStreams(port: number): Promise<number | undefined> {
  const session = connectHttp2(`https://127.0.0.1:${port}`, { rejectUnauthorized: false })
  try {
    const [settings] = (await once(session, 'remoteSettings')) as [Http2Settings]
    return settings.maxConcurrentStreams
  } finally {
    session.destroy()
  }
}

/** The certificate that a new connection is shown. */
async function servedFingerprint(port: number): Promise<string> {
  const options = { host: '127.0.0.1', port, servername: 'localhost', rejectUnauthorized: false }
  const socket = connectTls(options)
  try {
    await once(socket, 'secureConnect')
    return socket.getPeerCertificate().fingerprint256
  } finally {
    socket.destroy()
  }
}
