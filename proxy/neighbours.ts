/**
 * Other edges of this node, to which the wire passes QUIC packets of their connections: by what
 * they are known, and where they are met (`quic.neighbours`).
 */
import { createPrivateKey, hkdfSync } from 'node:crypto'
import type { EdgeConfig } from './config/schema.ts'
import type { Loaded } from './load.ts'
import type { Logger } from './log.ts'
import { type Lookup, Names } from './upstream/names.ts'
import type { Acquaintance } from './wire-config.ts'

/** What it works with. */
export interface NeighboursOptions {
  readonly setNeighbours: (acquaintance: Acquaintance) => void
  readonly lookup: Lookup
  readonly log: Pick<Logger, 'warn' | 'info'>
}

type Taken = Pick<Loaded, 'certificates' | 'caFile'> & {
  readonly config: Pick<EdgeConfig, 'quic'>
}

const resolveIntervalMs = 30_000
const keyBytes = 32
// Its number changes with the messages: programs that do not understand each other do not meet.
const keyPurpose = 'quic-proxy-waf neighbours 1'

/** What the wire is told of them, as long as the program runs. */
export class Neighbours {
  readonly #options: NeighboursOptions
  readonly #names: Names
  #key = ''
  #meet: readonly string[] = []
  #told = ''

  constructor(options: NeighboursOptions) {
    this.#options = options
    this.#names = new Names({
      lookup: options.lookup,
      onChange: () => this.#tell(),
      onFailure: (host, error) =>
        options.log.warn({ host, err: error }, 'the name of the neighbours does not resolve'),
    })
  }

  /** Takes a configuration over; ends when the name was looked up once. */
  async configure({ config, certificates, caFile }: Taken): Promise<void> {
    const { listen, meet } = config.quic.neighbours
    const [first] = certificates
    if (listen === null || first === undefined) return
    const key = neighbourKey(first.key)
    if (caFile !== null && key !== this.#key) {
      const text = 'the certificate is self-made: only edges that share its key know each other'
      this.#options.log.info({ caFile }, text)
    }
    this.#key = key
    this.#meet = meet === null ? [] : [meet]
    await this.#names.follow(this.#meet, resolveIntervalMs)
    this.#tell()
  }

  stop(): void {
    this.#names.stop()
  }

  #tell(): void {
    const acquaintance = { key: this.#key, meet: this.#names.placesOf(this.#meet) }
    const told = JSON.stringify(acquaintance)
    if (told === this.#told) return
    this.#told = told
    this.#options.setNeighbours(acquaintance)
  }
}

/**
 * What all programs of a release know and nobody else does, in base64: it follows from the private
 * key of their certificate, which all of them are given already.
 */
export function neighbourKey(pem: string): string {
  const key = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' })
  return Buffer.from(hkdfSync('sha256', key, '', keyPurpose, keyBytes)).toString('base64')
}
