/** `edge mesh up`: the agent of this node, in the foreground. */
import { Agent, type AgentOptions } from '../../mesh/agent.ts'
import { parseEndpoint } from '../../mesh/entry.ts'
import { meshLimits } from '../../mesh/limits.ts'
import { wantedModes } from '../../mesh/mode.ts'
import { UsageError } from '../config/faults.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { cidrs, coordinatorUrl, nodeName, required } from './mesh-flags.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  coordinator: { type: 'string' },
  token: { type: 'string' },
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
  const { values, positionals } = parseFlags('edge mesh up', args, options)
  noPositionals('edge mesh up', positionals)
  const given = agentOptions(values, terminal)
  const signals = listenToSignals()
  const { log, flush } = operationLog('info')
  const ending = new AbortController()
  void signals.end.then(() => ending.abort())
  let agent: Agent | null = null
  try {
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
    flush()
  }
}

interface Values {
  readonly coordinator?: string | undefined
  readonly token?: string | undefined
  readonly name?: string | undefined
  readonly state?: string | undefined
  readonly interface: string
  readonly mode: string
  readonly port: string
  readonly mtu?: string | undefined
  readonly advertise?: string[] | undefined
  readonly endpoint?: string | undefined
}

function agentOptions(values: Values, { env }: Terminal): Omit<AgentOptions, 'log'> {
  const { endpoint = null, token = env['EDGE_MESH_TOKEN'] ?? null } = values
  const mode = wantedModes.find((known) => known === values.mode)
  if (mode === undefined) {
    throw new UsageError(`--mode: "${values.mode}" is none of ${wantedModes.join(', ')}`)
  }
  if (endpoint !== null && parseEndpoint(endpoint) === null) {
    throw new UsageError(`--endpoint: "${endpoint}" is not ADDRESS:PORT`)
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
    name,
    folder: required('--state', values.state),
    interface: values.interface,
    mode,
    port: numberOf('--port', values.port, { least: 1, most: 65_535 }),
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
