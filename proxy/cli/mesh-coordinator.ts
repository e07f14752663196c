/** `edge mesh coordinator`: lets nodes in and tells each of the others. */
import { MeshFault } from '../../mesh/fault.ts'
import { startCoordinator } from '../../mesh/coordinator/coordinator.ts'
import { type CoordinatorState, openState } from '../../mesh/coordinator/state.ts'
import type { Log } from '../../mesh/log.ts'
import { isSharedKey } from '../../mesh/shared-key.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { UsageError } from '../config/faults.ts'
import { socketAddress } from '../config/fields.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { clusterFlags, clusterOf } from './mesh-cluster.ts'
import { required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  listen: { type: 'string' },
  state: { type: 'string' },
  kubernetes: { type: 'boolean', default: false },
  ...clusterFlags,
} as const

/** Serves until SIGTERM or SIGINT. */
export async function meshCoordinator(
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh coordinator', args, options)
  noPositionals('edge mesh coordinator', positionals)
  const listen = required('--listen', values.listen)
  const address = socketAddress(listen)
  if (address === null) throw new UsageError(`--listen: "${listen}" is not ADDRESS:PORT`)
  const folder = required('--state', values.state)
  const cluster = values.kubernetes ? clusterOf(values, terminal) : null
  const signals = listenToSignals()
  const { log, flush } = operationLog('info')
  const state = await openState(folder, (await cluster?.networks()) ?? undefined)
  try {
    shareKey(terminal, state, log)
    const following = await cluster?.follow(state, { folder, log, end: signals.end })
    const admit = following?.admit
    const running = await started(state, { ...placeOf(address), log, admit })
    log.info({ address: running.address, networks: state.registry.networks }, 'it coordinates')
    terminal.print(`ready coordinator=${running.address}`)
    log.info({ signal: await signals.end }, 'the coordinator ends')
    await running.close()
    await following?.ended
    return exitCodes.fine
  } finally {
    state.registry.close()
    await cluster?.close()
    flush()
  }
}

async function started(
  ...[state, place]: Parameters<typeof startCoordinator>
): ReturnType<typeof startCoordinator> {
  try {
    return await startCoordinator(state, place)
  } catch (error) {
    throw new MeshFault('LISTEN_FAILED', {
      where: '--listen',
      message: reasonOf(error),
      mend: 'choose an address of this machine and a port that nobody has',
    })
  }
}

function placeOf(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  return { host, port: Number(address.slice(colon + 1)) }
}

/** Seed 000's pre-shared key, where its environment has one. */
function shareKey({ env }: Terminal, { registry }: CoordinatorState, log: Log): void {
  const { EDGELINK_PSK: key = '' } = env
  if (key === '') return
  if (!isSharedKey(key)) throw new UsageError('EDGELINK_PSK: it is not 64 hex characters')
  registry.share(key)
  const what = 'whoever has the pre-shared key comes in, any number of times: tokens are better'
  log.warn({}, what)
}
