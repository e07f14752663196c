/** Where the WAF service is: the addresses behind its names, told to the wire when they change. */
import type { EdgeConfig } from '../config/schema.ts'
import type { Logger } from '../log.ts'
import { type Lookup, Names } from '../upstream/names.ts'
import type { ServiceConfig } from '../wire-config.ts'
import { serviceConfigOf } from '../wire-settings.ts'
import { serviceSecret } from './secret.ts'

/** What it works with. */
export interface AddressesOptions {
  readonly setService: (service: ServiceConfig) => void
  readonly lookup: Lookup
  readonly log: Pick<Logger, 'warn' | 'info'>
}

// A headless Service of any size; each wire thread connects to every one of them.
const addressesMax = 64

/** The service's addresses, as long as the program runs. */
export class ServiceAddresses {
  readonly #options: AddressesOptions
  readonly #names: Names
  #config: EdgeConfig | null = null
  #secret = ''
  #told = ''

  constructor(options: AddressesOptions) {
    this.#options = options
    this.#names = new Names({
      lookup: options.lookup,
      onChange: () => this.#tell(),
      onFailure: (host, error) =>
        options.log.warn({ host, err: error }, 'the name of the WAF service does not resolve'),
    })
  }

  /** Takes a configuration over; ends when each of its names was looked up once. */
  async configure(config: EdgeConfig): Promise<void> {
    const { endpoints, resolveIntervalMs } = config.waf.service
    await this.#names.follow(endpoints, resolveIntervalMs)
    this.#config = config
    this.#secret = serviceSecret(config)
    this.#tell()
  }

  stop(): void {
    this.#names.stop()
  }

  #tell(): void {
    const config = this.#config
    if (config === null || config.waf.service.endpoints.length === 0) return
    const found = this.#names.placesOf(config.waf.service.endpoints)
    const addresses = found.slice(0, addressesMax)
    const service = serviceConfigOf(config, addresses, this.#secret)
    const told = JSON.stringify(service)
    if (told === this.#told) return
    this.#told = told
    this.#options.setService(service)
    this.#options.log.info({ addresses }, 'the WAF service is asked here')
  }
}
