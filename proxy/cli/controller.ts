/** `edge controller`: what the proxy needs of the Kubernetes API, in a program of its own. */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { Api } from '../../kubernetes/api.ts'
import { Controller, type ControllerState } from '../../kubernetes/controller.ts'
import { electionTimes } from '../../kubernetes/lease.ts'
import {
  type AddressType,
  addressTypes,
  loadBalancerClassDefault,
} from '../../kubernetes/node-addresses.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { byLabel, expose, sample, type Sample } from '../admin/exposition.ts'
import { type StatusSource, listenOn, statusServer } from '../admin/server.ts'
import { nearest, UsageError } from '../config/faults.ts'
import { socketAddress } from '../config/fields.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { apiFlags, placeOf } from './cluster-place.ts'
import { exitCodes } from './exit-codes.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  selector: { type: 'string', default: '' },
  class: { type: 'string', default: loadBalancerClassDefault },
  'address-types': { type: 'string', default: 'InternalIP' },
  lease: { type: 'string', default: 'quic-proxy-waf-controller' },
  status: { type: 'string', default: '0.0.0.0:9465' },
  ...apiFlags,
} as const

/** Serves until SIGTERM or SIGINT; then the lease is given back. */
export async function controller(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge controller', args, options)
  noPositionals('edge controller', positionals)
  const types = typesOf(values['address-types'])
  const { place, namespace } = placeOf(values, terminal)
  const address = socketAddress(values.status)
  if (address === null) throw new UsageError(`--status: "${values.status}" is not ADDRESS:PORT`)
  const signals = listenToSignals()
  const { log, flush } = operationLog('info')
  const api = new Api(place)
  const running = new Controller(api, {
    namespace,
    selector: values.selector,
    loadBalancerClass: values.class,
    addressTypes: types,
    lease: values.lease,
    me: `${hostname()}_${randomUUID()}`,
    times: electionTimes,
    log,
  })
  const server = statusServer(sourceOf(running))
  const ending = new AbortController()
  try {
    const bound = await listenOn(server, address)
    log.info({ address: bound, server: place.server, namespace }, 'the controller runs')
    terminal.print(`ready status=${bound}`)
    const ended = running.run(ending.signal)
    log.info({ signal: await signals.end }, 'the controller ends')
    ending.abort()
    await ended
    return exitCodes.fine
  } catch (error) {
    terminal.error(`edge controller: ${reasonOf(error)}`)
    return exitCodes.failure
  } finally {
    await server.close()
    await api.close()
    flush()
  }
}

function typesOf(text: string): readonly AddressType[] {
  return text.split(',').map((word) => {
    const type = addressTypes.find((one) => one === word)
    if (type !== undefined) return type
    const meant = nearest(word, addressTypes) ?? addressTypes.join(' or ')
    throw new UsageError(`--address-types: there is no "${word}"; did you mean ${meant}?`)
  })
}

function sourceOf(running: Controller): StatusSource {
  return {
    metrics: () => expose([], samplesOf(running.state())),
    // One that does not lead is ready to: what it needs is to have seen all once.
    ready: () => [{ name: 'synced', ok: running.isSynced }],
    started: () => [],
  }
}

function samplesOf(state: ControllerState): Sample[] {
  const counted = (
    name: string,
    help: string,
    of: (one: ControllerState['watches'][number]) => number,
  ): Sample => {
    const numbers = state.watches.map((one) => [one.resource, of(one)] as const)
    return sample(name, help, byLabel('resource', Object.fromEntries(numbers)))
  }
  return [
    sample('edge_controller_leader', 'Whether this controller writes.', Number(state.isLeader)),
    sample(
      'edge_controller_writes_total',
      'Attempts to write addresses.',
      byLabel('result', state.writes),
    ),
    sample(
      'edge_controller_addresses',
      'Addresses that a Service shows.',
      byLabel('service', state.addresses),
    ),
    counted('edge_controller_objects', 'Objects seen.', ({ objects }) => objects),
    counted('edge_controller_lists_total', 'Lists asked for.', ({ lists }) => lists),
    counted('edge_controller_watches_total', 'Watches begun.', ({ watches }) => watches),
    counted('edge_controller_unreadable_total', 'Objects left out.', (one) => one.unreadable),
  ]
}
