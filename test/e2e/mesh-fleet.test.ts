/** The short form of mesh-fleet: it is about what is sent, not about how long it takes. */
import { expect, test } from 'vitest'
import { runFleet } from './mesh-fleet-stage.ts'

const short = { processes: 2, changes: 2, churnMs: 2_000, patienceMs: 150_000 }

for (const [shape, agents] of [
  ['star', 200],
  ['full', 40],
] as const)
  test(`${agents} agents (${shape}) are sent changes only, also after a kill`, async () => {
    const result = await runFleet({ ...short, agents, shape }, () => undefined)
    expect(result.tablesLater).toBe(0)
    expect(result.changes).toHaveLength(2)
    // A change of one node costs each agent about its record, and not a table.
    expect(result.deltaBytes / (4 * agents)).toBeLessThan(2_000)
    expect(result.resumedBytes / agents).toBeLessThan(2_000)
  }, 500_000)
