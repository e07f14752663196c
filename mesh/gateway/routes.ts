/** Nodes of the mesh as agents of the gateway: it reaches their ranges by the tunnel itself. */
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { reasonOf } from '../../waf/reason-of.ts'
import { claimsOf } from '../claims.ts'
import type { Log } from '../log.ts'
import { readMembership, readView, viewFile } from '../memory.ts'
import { nodeOf } from '../node.ts'
import { contains, hostPrefix, parseAddress, parsePrefix, type Prefix } from '../prefix.ts'
import { GatewayFault } from './fault.ts'
import type { AgentTable, GatewayAgent } from './table.ts'

/** What is followed. */
export interface RoutesOptions {
  /** Of an agent of the mesh (`edge mesh up --state`). */
  readonly folder: string
  /** Ranges that clients may reach; none: all that nodes have. */
  readonly podCidrs: readonly Prefix[]
  readonly log: Log
}

const lookMs = 500

/** Keeps the table as the agent's view is, until the signal. */
export async function followRoutes(
  table: AgentTable,
  options: RoutesOptions,
  signal: AbortSignal,
): Promise<void> {
  let seen = ''
  let removals: (() => void)[] = []
  while (!signal.aborted) {
    const state = statSync(join(options.folder, viewFile), { throwIfNoEntry: false })
    const stamp = `${state?.ino} ${state?.mtimeMs}`
    if (stamp !== seen && state !== undefined) {
      seen = stamp
      try {
        const agents = agentsOf(options)
        for (const remove of removals) remove()
        removals = agents.map((agent) => table.add(agent))
      } catch (error) {
        options.log.warn({ reason: reasonOf(error) }, 'the nodes of the mesh could not be read')
      }
    }
    // oxlint-disable-next-line no-await-in-loop -- it looks again and again
    await sleep(lookMs, undefined, { signal }).catch(() => undefined)
  }
}

function agentsOf({ folder, podCidrs }: RoutesOptions): GatewayAgent[] {
  const membership = readMembership(folder)
  if (membership === null) return []
  const nodes = [...readView(folder).entries.values()].flatMap((entry) => nodeOf(entry) ?? [])
  const { own, held } = claimsOf(nodes, { networks: membership.networks, outside: [] })
  return nodes.map((node) => {
    const { name, addresses } = node
    const texts = [...(own.get(node) ?? []), ...(held.get(node) ?? [])]
    const cidrs = texts.flatMap((text) => parsePrefix(text) ?? [])
    return {
      name,
      identifiers: { hosts: new Set([name]), cidrs, isDefault: false },
      open(host, port, signal) {
        if (host.toLowerCase() === name) {
          return dialled({ name, host: addresses[0] ?? host, port }, signal)
        }
        if (isReachable(host, podCidrs)) return dialled({ name, host, port }, signal)
        throw new GatewayFault('TARGET_OUTSIDE', 503, `${host} is in no range of --pod-cidr`)
      },
    }
  })
}

function isReachable(host: string, podCidrs: readonly Prefix[]): boolean {
  const address = parseAddress(host)
  if (podCidrs.length === 0 || address === null) return true
  return podCidrs.some((range) => contains(range, hostPrefix(address)))
}

interface Target {
  readonly name: string
  readonly host: string
  readonly port: number
}

async function dialled({ name, host, port }: Target, signal: AbortSignal): Promise<Duplex> {
  const socket = connect({ host, port, allowHalfOpen: true })
  try {
    await once(socket, 'connect', { signal })
  } catch (error) {
    socket.destroy()
    const status = signal.aborted ? 503 : 502
    const code = signal.aborted ? 'AGENT_SILENT' : 'BACKEND_UNREACHABLE'
    throw new GatewayFault(code, status, `${name}: ${reasonOf(error)}`)
  }
  socket.on('error', () => socket.destroy())
  return socket
}
