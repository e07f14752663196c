/** What the chart says of relays, in use: a path that is cut, then all of UDP. */
import { eventually } from './lab.ts'
import { stateOnNode, type Status, statusOf } from './mesh-agents.ts'
import type { Stage } from './stage.ts'

const port = 51_820
/** For UDP and TCP alike. */
const portElsewhere = 443

/** Pods of the first two nodes go on to reach each other. */
export async function relays(stage: Stage): Promise<void> {
  const { lab } = stage
  for (const node of stage.nodes) await isRelay(stage, node)
  stage.check('mesh.agent.relay.mode: every agent is a relay, and names the others', null)
  const shown = lab.must(['in', '1', 'cat', `${stateOnNode}/agent/view.json`])
  for (const name of ['h3Port', 'tcpPort']) {
    const said = String.raw`\"${name}\":${portElsewhere}`
    const isSaid = shown.split(said).length - 1 === stage.nodes.length
    stage.check(`mesh.agent.relay.${name} is in the record of each`, isSaid ? null : shown)
  }
  const knock = `: < /dev/tcp/${lab.node(2)}/${portElsewhere}`
  const { code, out } = lab.run(['client', 'bash', '-c', knock])
  stage.check(`an agent listens on TCP ${portElsewhere}`, code === 0 ? null : out)
  try {
    cut(stage, 1, `ip daddr ${lab.node(2)} udp dport ${port} drop`)
    await eventually(() => throughRelay(stage, lab.nodeName(3)))
    stage.check('a path that is cut goes through the relay of another node', null)
    await goesOn(stage)
    cut(stage, 1, `udp dport ${port} drop`)
    await eventually(() => by(stage, 'h3'))
    stage.check(`without WireGuard's port it goes in HTTP/3 to ${portElsewhere}`, null)
    await goesOn(stage)
    cut(stage, 1, `udp dport { ${port}, ${portElsewhere} } drop`)
    await eventually(() => by(stage, 'tcp'))
    stage.check(`without UDP it goes through TCP ${portElsewhere}`, null)
    await goesOn(stage)
  } finally {
    lab.run(['in', '1', 'nft', 'delete', 'table', 'inet', 'cut'])
  }
}

async function isRelay(stage: Stage, node: number): Promise<void> {
  const others = stage.nodes.filter((one) => one !== node).map((one) => stage.lab.nodeName(one))
  await eventually(() => {
    const status = statusOf(stage, node)
    if (typeof status === 'string') return status
    const isNamed = others.every((name) => status.relays.includes(name))
    return status.isRelay && isNamed ? null : JSON.stringify(status)
  })
}

/** What leaves this node is dropped by this rule, in place of the one before. */
function cut({ lab }: Stage, node: number, rule: string): void {
  const chain = `chain leaving { type filter hook output priority -300; ${rule}; }`
  const table = `table inet cut\n delete table inet cut\n table inet cut {\n ${chain}\n}\n`
  lab.must(['in', String(node), 'nft', '-f', '-'], table)
}

type Peer = Status['peers'][number]

/** The second node, as the first one sees it; a text when it says something else. */
function second(stage: Stage): Peer | string {
  const status = statusOf(stage, 1)
  if (typeof status === 'string') return status
  const peer = status.peers.find(({ name }) => name === stage.lab.nodeName(2))
  return peer ?? JSON.stringify(status)
}

function throughRelay(stage: Stage, relay: string): string | null {
  ask(stage)
  const peer = second(stage)
  if (typeof peer === 'string') return peer
  return peer.path === 'relay' && peer.relay === relay ? null : JSON.stringify(peer)
}

/** The relay of the second node, or itself, is spoken with in another way. */
function by(stage: Stage, way: 'h3' | 'tcp'): string | null {
  ask(stage)
  const status = statusOf(stage, 1)
  if (typeof status === 'string') return status
  const end = `:${portElsewhere}/${way}`
  const isThere = status.peers.some(({ endpoint }) => endpoint?.endsWith(end) === true)
  return isThere ? null : JSON.stringify(status.peers)
}

/** A pod of the first node still reaches one of the second. */
export async function goesOn(stage: Stage): Promise<void> {
  await eventually(() => ask(stage), 30_000)
  stage.check('pod to pod goes on', null)
}

/** The pod on the first node asks the one on the second. */
function ask({ lab }: Stage): string | null {
  const path = 'jsonpath={.status.podIP}'
  const address = lab.must(['k', 'get', 'pod', 'far-2', '-o', path]).trim()
  const program = ['/program', 'get', '-address', `${address}:8080`]
  const { out } = lab.run(['k', 'exec', 'far-1', '--', ...program])
  return out.includes('backend says hello') ? null : out
}
