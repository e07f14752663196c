/** `edge mesh up`: the agent of this node, in the foreground. */
import { Agent, type AgentOptions } from '../../mesh/agent.ts'
import { nodeNamePattern } from '../../mesh/entry.ts'
import type { JoinOptions } from '../../mesh/joining.ts'
import { meshLimits } from '../../mesh/limits.ts'
import { readMembership } from '../../mesh/memory.ts'
import { wantedModes } from '../../mesh/mode.ts'
import { UsageError } from '../config/faults.ts'
import { operationLog } from '../log.ts'
import { spareIdleMemory } from '../memory.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { credentialOf, endpointOf, pinKnown } from './mesh-credential.ts'
import { cidrs, coordinatorUrl, nodeName, required, stateFolder } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

/** Flags of `up`; `join` has those that say what the node is. */
export const agentFlags = {
  coordinator: { type: 'string' },
  token: { type: 'string' },
  'token-file': { type: 'string' },
  'pin-file': { type: 'string' },
  name: { type: 'string' },
  state: { type: 'string' },
  interface: { type: 'string', default: 'edge0' },
  mode: { type: 'string', default: 'auto' },
  port: { type: 'string' },
  mtu: { type: 'string' },
  advertise: { type: 'string', multiple: true },
  endpoint: { type: 'string' },
  'default-route': { type: 'string' },
  relay: { type: 'string', default: 'auto' },
  leader: { type: 'string', default: 'auto' },
  'relay-tcp': { type: 'string' },
  'relay-h3': { type: 'string' },
} as const

/** Serves until SIGTERM or SIGINT; then the interface goes. */
export async function meshUp(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh up', args, agentFlags)
  noPositionals('edge mesh up', positionals)
  const given = agentOptions(values, terminal)
  const stopSparing = spareIdleMemory()
  const signals = listenToSignals()
  const { log, flush } = operationLog(levelOf(terminal))
  const ending = new AbortController()
  let agent: Agent | null = null
  void signals.end.then(async () => {
    await agent?.handOver()
    ending.abort()
  })
  try {
    await pinKnown(given, { log, signal: ending.signal })
    const started = await Agent.start({ ...given, log }, ending.signal)
    agent = started
    void started.ready.then((addresses) => {
      const where = `addresses=${addresses.join(',')} interface=${started.interface}`
      terminal.print(`ready name=${given.name} ${where}`)
    })
    await started.run(ending.signal)
    log.info({}, 'the agent ends')
    return exitCodes.fine
  } catch (error) {
    if (ending.signal.aborted) return exitCodes.fine
    throw error
  } finally {
    await agent?.close()
    stopSparing()
    flush()
  }
}

/** What an agent was told, as it was written. */
export interface AgentValues {
  readonly coordinator?: string | undefined
  readonly token?: string | undefined
  readonly 'token-file'?: string | undefined
  readonly 'pin-file'?: string | undefined
  readonly name?: string | undefined
  readonly state?: string | undefined
  readonly interface: string
  readonly mode: string
  readonly port?: string | undefined
  readonly mtu?: string | undefined
  readonly advertise?: string[] | undefined
  readonly endpoint?: string | undefined
  readonly 'default-route'?: string | undefined
  readonly relay: string
  readonly leader: string
  readonly 'relay-tcp'?: string | undefined
  readonly 'relay-h3'?: string | undefined
}

/** Judges it. */
export function agentOptions(values: AgentValues, terminal: Terminal): Omit<AgentOptions, 'log'> {
  const mode = wantedModes.find((known) => known === values.mode)
  if (mode === undefined) {
    throw new UsageError(`--mode: "${values.mode}" is none of ${wantedModes.join(', ')}`)
  }
  const { mtuMin, mtuMax } = meshLimits
  return {
    ...joinOptions(values, terminal),
    credential: credentialOf(values),
    interface: values.interface,
    mode,
    defaultRoute: defaultRouteOf(values['default-route']),
    isRelay: isOn('--relay', values.relay),
    isLeader: isOn('--leader', values.leader),
    tcpPort: relayPortOf('--relay-tcp', values['relay-tcp']),
    h3Port: relayPortOf('--relay-h3', values['relay-h3']),
    mtu:
      values.mtu === undefined
        ? null
        : numberOf('--mtu', values.mtu, { least: mtuMin, most: mtuMax }),
  }
}

function isOn(flag: string, value: string): boolean {
  if (value === 'auto' || value === 'off') return value === 'auto'
  throw new UsageError(`${flag}: "${value}" is none of auto, off`)
}

/** `--default-route NAME`; without it the machine's own stays. */
function defaultRouteOf(name: string | undefined): string | null {
  if (name === undefined || nodeNamePattern.test(name)) return name ?? null
  throw new UsageError(`--default-route: "${name}" is not a node name`)
}

/** What the node is: from flags, seed 000's environment, and what the folder remembers. */
export function joinOptions(
  values: Pick<
    AgentValues,
    'coordinator' | 'token' | 'name' | 'state' | 'port' | 'advertise' | 'endpoint'
  >,
  terminal: Terminal,
): Omit<JoinOptions, 'log'> {
  const { env } = terminal
  const folder = stateFolder(values.state, terminal)
  const known = readMembership(folder)
  const { said } = known ?? {}
  const coordinator = values.coordinator ?? env['EDGELINK_SERVER'] ?? known?.url
  const port = portOf(values.port, said?.port)
  const endpoint = endpointOf(values.endpoint ?? said?.endpoint ?? undefined, port)
  const advertise = cidrs('--advertise', values.advertise ?? said?.advertise)
  if (advertise.length > meshLimits.cidrsMax) {
    throw new UsageError(`--advertise: a node has at most ${meshLimits.cidrsMax}`)
  }
  return {
    coordinator: coordinatorUrl(required('--coordinator', coordinator)),
    token: values.token ?? env['EDGE_MESH_TOKEN'] ?? env['EDGELINK_PSK'] ?? null,
    name: nodeName(values.name ?? env['EDGELINK_DEVICE_NAME'] ?? known?.name),
    folder,
    port,
    advertise,
    endpoint,
  }
}

function relayPortOf(flag: string, text: string | undefined): number | null {
  return text === undefined ? null : numberOf(flag, text, { least: 1, most: 65_535 })
}

/** `--port`, or what the node was told when it joined. */
export function portOf(text: string | undefined, said: number | undefined): number {
  return numberOf('--port', text ?? String(said ?? portDefault), { least: 1, most: 65_535 })
}

const portDefault = 51_820

/** Seed 000's variable. */
export function levelOf({ env }: Terminal): string {
  const level = (env['EDGELINK_LOG_LEVEL'] ?? 'info').toLowerCase()
  if (['debug', 'info', 'warn', 'error'].includes(level)) return level
  throw new UsageError(`EDGELINK_LOG_LEVEL: "${level}" is none of debug, info, warn, error`)
}

function numberOf(
  flag: string,
  text: string,
  { least, most }: { readonly least: number; readonly most: number },
): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : -1
  if (value >= least && value <= most) return value
  throw new UsageError(`${flag}: "${text}" is not a number from ${least} to ${most}`)
}
