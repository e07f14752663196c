/**
 * `edge mesh gateway`, also `edge gateway`: HTTP CONNECT to what agents and nodes of the mesh stand
 * for. It can be a node of the mesh itself, or stand beside the agent of its node.
 */
import { Agent } from '../../mesh/agent.ts'
import { agentDoor } from '../../mesh/gateway/door.ts'
import { gatewayFront } from '../../mesh/gateway/front.ts'
import { followRoutes } from '../../mesh/gateway/routes.ts'
import { AgentTable } from '../../mesh/gateway/table.ts'
import type { Log } from '../../mesh/log.ts'
import { parsePrefix, type Prefix } from '../../mesh/prefix.ts'
import { reasonOf } from '../../waf/reason-of.ts'
import { UsageError } from '../config/faults.ts'
import { operationLog } from '../log.ts'
import { listenToSignals } from '../signals.ts'
import { exitCodes } from './exit-codes.ts'
import { pinKnown } from './mesh-credential.ts'
import { type Door, doorOf, opened, secretIn } from './mesh-doors.ts'
import { cidrs } from './mesh-flags.ts'
import { agentFlags, agentOptions, type AgentValues } from './mesh-up.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  ...agentFlags,
  interface: { type: 'string', default: 'edge-gw0' },
  'node-name': { type: 'string' },
  'gateway-endpoint': { type: 'string' },
  'pod-cidr': { type: 'string', multiple: true },
  listen: { type: 'string', default: '127.0.0.1:8131' },
  agents: { type: 'string' },
  'secret-file': { type: 'string' },
  'mesh-state': { type: 'string' },
} as const

interface Values extends AgentValues {
  readonly 'node-name'?: string | undefined
  readonly 'gateway-endpoint'?: string | undefined
  readonly 'pod-cidr'?: string[] | undefined
  readonly listen: string
  readonly agents?: string | undefined
  readonly 'secret-file'?: string | undefined
  readonly 'mesh-state'?: string | undefined
}

/** Serves until SIGTERM or SIGINT. */
export async function meshGateway(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh gateway', args, options)
  noPositionals('edge mesh gateway', positionals)
  const plan = planOf(values, terminal)
  const signals = listenToSignals()
  const { log, flush } = operationLog('info')
  const ending = new AbortController()
  void signals.end.then(() => ending.abort())
  const table = new AgentTable()
  const { signal } = ending
  let agent: Agent | null = null
  const servers = [
    gatewayFront(table, log),
    agentDoor(table, { secret: plan.secret, log }),
  ] as const
  try {
    const [front, agents] = [
      await opened(servers[0], plan.front),
      await opened(servers[1], plan.agents),
    ]
    const following =
      plan.folder === null ? Promise.resolve() : follow(plan, { table, log, signal })
    if (plan.join !== null) {
      await pinKnown(plan.join, { log, signal })
      agent = await Agent.start({ ...plan.join, log }, signal)
      void agent.run(signal).catch((error: unknown) => {
        log.error({ reason: reasonOf(error) }, 'the gateway is in the mesh no more')
        ending.abort()
      })
    }
    terminal.print(`ready front=${front} agents=${agents}`)
    await following
    if (!signal.aborted) await signals.end
    return exitCodes.fine
  } finally {
    ending.abort()
    for (const server of servers) {
      server.close()
      server.closeAllConnections()
    }
    await agent?.close()
    flush()
  }
}

interface Plan {
  readonly front: Door
  readonly agents: Door
  readonly secret: string | null
  /** Of the mesh's agent; null: only agents of the gateway itself. */
  readonly folder: string | null
  readonly podCidrs: readonly Prefix[]
  readonly join: ReturnType<typeof agentOptions> | null
}

function follow(
  { folder, podCidrs }: Plan,
  around: { readonly table: AgentTable; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  const { table, log, signal } = around
  return followRoutes(table, { folder: folder ?? '', podCidrs, log }, signal)
}

/** Seed 004's flags, and its environment where a flag is missing. */
function planOf(values: Values, terminal: Terminal): Plan {
  const { env } = terminal
  const node = values['node-name'] ?? env['NODE_NAME']
  const endpoint = values['gateway-endpoint'] ?? env['NODE_IP']
  const secret = secretIn(values['secret-file'])
  const texts = (values['pod-cidr'] ?? []).flatMap((text) => text.split(','))
  const ranges = cidrs('--pod-cidr', texts)
  // Without a secret only this machine may bring agents.
  const address = secret === null ? '127.0.0.1' : (env['POD_IP'] ?? '127.0.0.1')
  const agents = values.agents ?? `${address.includes(':') ? `[${address}]` : address}:8132`
  const isMember = values.coordinator !== undefined
  if (isMember && values['mesh-state'] !== undefined) {
    throw new UsageError('--mesh-state is the folder of another agent: leave --coordinator away')
  }
  return {
    front: doorOf('--listen', values.listen),
    agents: judged(doorOf('--agents', agents), secret),
    secret,
    folder: (isMember ? values.state : values['mesh-state']) ?? null,
    podCidrs: ranges.flatMap((text) => parsePrefix(text) ?? []),
    join: isMember ? agentOptions(memberOf(values, { node, endpoint }), terminal) : null,
  }
}

/** Its own name in the mesh: the node's is that of the node's agent. */
function memberOf(
  values: Values,
  { node, endpoint }: { readonly node: string | undefined; readonly endpoint: string | undefined },
): AgentValues {
  const name = values.name ?? (node === undefined ? undefined : `gateway-${node}`)
  return { ...values, name, endpoint: values.endpoint ?? endpoint }
}

function judged(door: Door, secret: string | null): Door {
  if (secret !== null || door.isLocal) return door
  throw new UsageError(
    '--agents: whoever reaches that address could stand for anything: give a --secret-file',
  )
}
