/** The mesh's agents in the lab: where they are, and what they say. */
import { eventually } from './lab.ts'
import type { Stage } from './stage.ts'

const state = '/var/lib/edge-mesh/agent'

/** Nodes of the lab share a disk: this folder is one that each has for itself. */
export const stateOnNode = '/var/lib/kubelet/edge-mesh'

/** What `edge mesh status --json` prints, as far as it matters here. */
export interface Status {
  readonly self: { readonly addresses: readonly string[] }
  readonly isRelay: boolean
  readonly relays: readonly string[]
  readonly location: {
    readonly name: string
    readonly leaders: readonly string[]
    readonly isLeader: boolean
  } | null
  readonly peers: readonly {
    readonly name: string
    readonly path: string
    readonly relay: string | null
    readonly endpoint: string | null
    readonly receivedBytes: number
    readonly sentBytes: number
  }[]
}

/** The agent's pod of a node. */
function agentOf({ lab }: Stage, node: number): string {
  const selector = ['-l', 'app.kubernetes.io/component=mesh-agent', '-o', 'name']
  const here = ['--field-selector', `spec.nodeName=${lab.nodeName(node)},status.phase=Running`]
  return lab.must(['k', 'get', 'pods', ...selector, ...here]).trim()
}

/** What the agent of a node says; a text when it says something else. */
export function statusOf(stage: Stage, node: number): Status | string {
  const command = ['edge', 'mesh', 'status', '--json', '--state', state]
  const { out, code } = stage.lab.run(['k', 'exec', agentOf(stage, node), '--', ...command])
  if (code !== 0) return out
  return JSON.parse(out.split('\n').find((line) => line.startsWith('{')) ?? 'null') as Status
}

/** Waits until a node has so many peers and both of its addresses. */
export async function connected(stage: Stage, node: number, count: number): Promise<void> {
  await eventually(() => {
    const status = statusOf(stage, node)
    if (typeof status === 'string') return status
    const isAll = status.peers.length === count && status.self.addresses.length === 2
    return isAll ? null : JSON.stringify(status)
  })
}
