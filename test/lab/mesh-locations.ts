/** What the chart says of locations, in use: the nodes' labels say who leads, and may change. */
import { eventually } from './lab.ts'
import { statusOf } from './mesh-agents.ts'
import { goesOn } from './mesh-relays.ts'
import type { Stage } from './stage.ts'

/** The value of `mesh.locationLabel`. */
export const locationLabel = 'lab.local/zone'

/** Of three nodes; pods of the first two go on to reach each other. */
export async function locations(stage: Stage): Promise<void> {
  const [first = 1, second = 2, third = 3] = stage.nodes
  for (const node of stage.nodes) label(stage, node, 'north')
  await eventually(() => {
    const found = stage.nodes.map((node) => locationOf(stage, node))
    const leading = found.filter((one) => one.endsWith(' leads'))
    const isAll = found.every((one) => one.startsWith('north of 2'))
    return isAll && leading.length === 2 ? null : found.join('; ')
  }, 30_000)
  stage.check('mesh.locationLabel: two of the three nodes of one zone lead it', null)
  await goesOn(stage)
  label(stage, third, 'south')
  const wanted = ['north of 2 leads', 'north of 2 leads', 'south of 1 leads']
  await eventually(() => {
    const found = [first, second, third].map((node) => locationOf(stage, node))
    return found.join() === wanted.join() ? null : found.join('; ')
  }, 30_000)
  stage.check('a node whose label changes leads its new zone', null)
  await goesOn(stage)
  for (const node of stage.nodes) label(stage, node, null)
  await eventually(() => {
    const found = stage.nodes.map((node) => locationOf(stage, node))
    return found.every((one) => one === 'nowhere') ? null : found.join('; ')
  }, 30_000)
  stage.check('without its label a node stands nowhere in particular', null)
}

function label({ lab }: Stage, node: number, zone: string | null): void {
  const change = zone === null ? `${locationLabel}-` : `${locationLabel}=${zone}`
  lab.must(['k', 'label', '--overwrite', 'node', lab.nodeName(node), change])
}

/** `north of 2 leads`: where a node stands, of how many leaders, and whether it is one. */
function locationOf(stage: Stage, node: number): string {
  const status = statusOf(stage, node)
  if (typeof status === 'string') return status
  if (status.location === null) return 'nowhere'
  const { name, leaders, isLeader } = status.location
  return `${name} of ${leaders.length}${isLeader ? ' leads' : ''}`
}
