/** `edge mesh up`: the agent of this node, in the foreground. */
import { Agent, type AgentOptions } from '../../mesh/agent.ts'
import { meshLimits } from '../../mesh/limits.ts'
import { UsageError } from '../config/faults.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { credentialOf, endpointOf, pinKnown } from './mesh-credential.ts'
import { cidrs, coordinatorUrl, nodeName, required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

/** Flags of an agent. */
export const agentFlags = {
  coordinator: { type: 'string' },
  token: { type: 'string' },
  'token-file': { type: 'string' },
  'pin-file': { type: 'string' },
  name: { type: 'string' },
  state: { type: 'string' },
  interface: { type: 'string', default: 'edge0' },
  mode: { type: 'string', default: 'auto' },
  port: { type: 'string', default: '51820' },
  mtu: { type: 'string' },
  advertise: { type: 'string', multiple: true },
  endpoint: { type: 'string' },
} as const

/** Serves until SIGTERM or SIGINT; then the interface goes. */
export async function meshUp(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh up', args, agentFlags)
  noPositionals('edge mesh up', positionals)
  const given = agentOptions(values, terminal)
  const signals = listenToSignals()
  const { log, flush } = operationLog('info')
  const ending = new AbortController()
  void signals.end.then(() => ending.abort())
  let agent: Agent | null = null
  try {
    await pinKnown(given, { log, signal: ending.signal })
    agent = await Agent.start({ ...given, log }, ending.signal)
    void agent.ready.then((addresses) =>
      terminal.print(
        `ready name=${given.name} addresses=${addresses.join(',')} interface=${given.interface}`,
      ),
    )
    await agent.run(ending.signal)
    log.info({}, 'the agent ends')
    return exitCodes.fine
  } catch (error) {
    if (ending.signal.aborted) return exitCodes.fine
    throw error
  } finally {
    await agent?.close()
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
  readonly port: string
  readonly mtu?: string | undefined
  readonly advertise?: string[] | undefined
  readonly endpoint?: string | undefined
}

/** Judges it. */
export function agentOptions(values: AgentValues, { env }: Terminal): Omit<AgentOptions, 'log'> {
  const { token = env['EDGE_MESH_TOKEN'] ?? null } = values
  const port = numberOf('--port', values.port, { least: 1, most: 65_535 })
  const endpoint = endpointOf(values.endpoint, port)
  if (!['auto', 'tun'].includes(values.mode)) {
    throw new UsageError(`--mode: "${values.mode}" is neither auto nor tun`)
  }
  const name = nodeName(values.name)
  const advertise = cidrs('--advertise', values.advertise)
  if (advertise.length > meshLimits.cidrsMax) {
    throw new UsageError(`--advertise: a node has at most ${meshLimits.cidrsMax}`)
  }
  const { mtuMin, mtuMax } = meshLimits
  return {
    coordinator: coordinatorUrl(required('--coordinator', values.coordinator)),
    token,
    credential: credentialOf(values),
    name,
    folder: required('--state', values.state),
    interface: values.interface,
    port,
    mtu:
      values.mtu === undefined
        ? null
        : numberOf('--mtu', values.mtu, { least: mtuMin, most: mtuMax }),
    advertise,
    endpoint,
  }
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
