/**
 * `npm run e2e:mesh-fleet -- [--agents 10000] [--shape star|full] [--processes 2] [--changes 5]
 * [--churn 30]`: one coordinator and so many agents. Judged: after its first table an agent is sent
 * changes only, also after the coordinator was killed. Goals are told as reached or not.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { runFleet } from './mesh-fleet-stage.ts'

const { values } = parseArgs({
  options: {
    agents: { type: 'string', default: '10000' },
    shape: { type: 'string', default: 'star' },
    processes: { type: 'string', default: '2' },
    changes: { type: 'string', default: '5' },
    churn: { type: 'string', default: '30' },
    patience: { type: 'string', default: '180' },
  },
})

/** A descriptor for each agent, and some for other ends. */
function descriptors(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1')
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1]
  return hard === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(hard) - 1_000
}

const wanted = Number(values.agents)
const agents = Math.min(wanted, descriptors())
if (agents < wanted) console.log(`the descriptor limit allows ${agents} of ${wanted} agents`)
const began = performance.now()
const result = await runFleet(
  {
    agents,
    shape: values.shape === 'full' ? 'full' : 'star',
    processes: Number(values.processes),
    changes: Number(values.changes),
    churnMs: Number(values.churn) * 1_000,
    patienceMs: Number(values.patience) * 1_000,
  },
  (line) => console.log(`${Math.round((performance.now() - began) / 1000)} s: ${line}`),
)
console.log(result)

let failed = false
const judge = (holds: boolean, what: string): void => {
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}`)
  failed ||= !holds
}
const goal = (value: number, most: number, what: string): void =>
  console.log(
    `${value <= most ? 'goal reached' : 'goal NOT reached'}: ${what}: ${value} of ${most}`,
  )

const wantedP99 = agents <= 10 ? 500 : agents <= 1_000 ? 1_500 : 4_000
judge(result.tablesLater === 0, 'no agent was sent a whole table after its first')
goal(Math.max(...result.changes.map(({ p99 }) => p99)), wantedP99, 'p99 of one change, ms')
goal(Math.round(result.rssMostMb), 400, 'memory of the coordinator, MB')
goal(result.resumed.most, 30_000, 'all resumed after a kill, ms')
goal(Math.round(result.resumedBytes / 1e6), 50, 'sent for that, MB')
goal(Math.round(result.idleCores * 1000) / 10, 2, 'idle, percent of a core')
goal(Math.round(result.churn.cores * 1000) / 10, 15, '1 % churn per minute, percent of a core')
process.exit(failed ? 1 : 0)
