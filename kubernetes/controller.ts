/** `edge controller`: keeps the addresses of our Services those of the nodes that serve. */
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../waf/reason-of.ts'
import { type Api, ApiError } from './api.ts'
import { Backoff } from './backoff.ts'
import { Election, type ElectionTimes } from './lease.ts'
import type { Log } from './log.ts'
import { type AddressType, desiredIngress, ingressOf, isOurs, isSame } from './node-addresses.ts'
import {
  type EndpointSlice,
  type Ingress,
  type Node,
  type Service,
  type Stored,
  read,
} from './objects.ts'
import { Reflector } from './reflector.ts'

/** What one controller looks after. */
export interface ControllerOptions {
  readonly namespace: string
  /** Labels of the Services, which their slices have as well; '' for all of the namespace. */
  readonly selector: string
  readonly loadBalancerClass: string
  readonly addressTypes: readonly AddressType[]
  readonly lease: string
  readonly me: string
  readonly times: ElectionTimes
  readonly log: Log
}

/** How it goes, for metrics and probes. */
export interface ControllerState {
  readonly isLeader: boolean
  /** How many each Service shows. */
  readonly addresses: Readonly<Record<string, number>>
  readonly writes: Readonly<Record<'written' | 'refused', number>>
  readonly watches: readonly {
    readonly resource: string
    readonly objects: number
    readonly lists: number
    readonly watches: number
    readonly unreadable: number
  }[]
}

// Changes come in bursts, a rollout above all: one pass for those of this long.
const settleMs = 100

/** One program of the controller's Deployment. */
export class Controller {
  readonly #api: Api
  readonly #options: ControllerOptions
  readonly #election: Election
  readonly #services: Reflector<Service>
  readonly #slices: Reflector<EndpointSlice>
  readonly #nodes: Reflector<Node>
  readonly #kinds: readonly Reflector<Stored>[]
  readonly #writes = { written: 0, refused: 0 }
  #wake: () => void = () => undefined
  #isDirty = true

  constructor(api: Api, options: ControllerOptions) {
    this.#api = api
    this.#options = options
    const { namespace, selector, log } = options
    const onChange = (): void => {
      this.#isDirty = true
      this.#wake()
    }
    const surroundings = { log, onChange }
    const within = `namespaces/${namespace}`
    this.#services = new Reflector(
      { resource: 'services', path: `/api/v1/${within}/services`, selector, read: read.service },
      api,
      surroundings,
    )
    this.#slices = new Reflector(
      {
        resource: 'endpointslices',
        path: `/apis/discovery.k8s.io/v1/${within}/endpointslices`,
        selector,
        read: read.endpointSlice,
      },
      api,
      surroundings,
    )
    this.#nodes = new Reflector(
      { resource: 'nodes', path: '/api/v1/nodes', selector: '', read: read.node },
      api,
      surroundings,
    )
    this.#kinds = [this.#services, this.#slices, this.#nodes]
    const { lease: name, me, times } = options
    this.#election = new Election(api, { namespace, name, me, times, log, onChange })
  }

  /** Runs until it is told to end; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake(), { once: true })
    await Promise.all([
      ...this.#kinds.map((kind) => kind.run(signal)),
      this.#election.run(signal),
      this.#reconcile(signal),
    ])
  }

  /** Whether all was seen once. */
  get isSynced(): boolean {
    return this.#kinds.every(({ isSynced }) => isSynced)
  }

  state(): ControllerState {
    return {
      isLeader: this.#election.isLeader,
      addresses: Object.fromEntries(
        this.#ours().map((service) => [service.metadata.name, ingressOf(service).length]),
      ),
      writes: { ...this.#writes },
      watches: this.#kinds.map((one) => ({
        resource: one.kind.resource,
        objects: one.all().length,
        lists: one.lists,
        watches: one.watches,
        unreadable: one.unreadable,
      })),
    }
  }

  /** A pass after each change; after a failure another one, later and later. */
  async #reconcile(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff()
    while (!signal.aborted) {
      // oxlint-disable-next-line no-await-in-loop -- one pass after the other is the purpose
      await this.#changed(signal)
      // oxlint-disable-next-line no-await-in-loop
      await sleep(settleMs, undefined, { signal }).catch(() => undefined)
      this.#isDirty = false
      // oxlint-disable-next-line no-await-in-loop
      if (await this.#pass(signal)) {
        backoff.reset()
        continue
      }
      this.#isDirty = true
      // oxlint-disable-next-line no-await-in-loop
      await sleep(backoff.nextMs(), undefined, { signal }).catch(() => undefined)
    }
  }

  #changed(signal: AbortSignal): Promise<void> {
    if (this.#isDirty || signal.aborted) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#wake = resolve
    return promise
  }

  /** False when something could not be written. */
  async #pass(signal: AbortSignal): Promise<boolean> {
    if (!this.isSynced) return true
    const nodes = this.#nodes.all()
    let isDone = true
    for (const service of this.#ours()) {
      // Asked before each write: a lease may be lost between two of them.
      if (!this.#election.isLeader || signal.aborted) return true
      const slices = this.#slices.all().filter((slice) => isSliceOf(slice, service))
      const desired = desiredIngress({ service, slices, nodes }, this.#options.addressTypes)
      if (isSame(ingressOf(service), desired)) continue
      // oxlint-disable-next-line no-await-in-loop -- each write asks for the lease
      isDone = (await this.#write(service, desired)) && isDone
    }
    return isDone
  }

  #ours(): readonly Service[] {
    const { loadBalancerClass } = this.#options
    return this.#services.all().filter((service) => isOurs(service, loadBalancerClass))
  }

  async #write(service: Service, ingress: readonly Ingress[]): Promise<boolean> {
    const { name, resourceVersion } = service.metadata
    const { namespace, log } = this.#options
    const path = `/api/v1/namespaces/${namespace}/services/${name}/status`
    const addresses = ingress.map(({ ip }) => ip)
    try {
      // With the version that was judged: what changed since then is judged first.
      await this.#api.call('PATCH', path, {
        metadata: { resourceVersion },
        status: { loadBalancer: { ingress } },
      })
      this.#writes.written += 1
      log.info({ service: name, addresses }, 'addresses written')
      return true
    } catch (error) {
      // The change that was in between comes by the watch, and with it the next pass.
      if (error instanceof ApiError && (error.status === 409 || error.status === 404)) return true
      this.#writes.refused += 1
      log.error({ service: name, reason: reasonOf(error) }, 'addresses could not be written')
      return false
    }
  }
}

function isSliceOf({ metadata: { labels } }: EndpointSlice, { metadata }: Service): boolean {
  return labels?.['kubernetes.io/service-name'] === metadata.name
}
