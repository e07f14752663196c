/** `edge mesh doctor`: what stands in the way of an agent on this machine, and how to mend it. */
import { type Check, examine } from '../../mesh/doctor.ts'
import { readMembership } from '../../mesh/memory.ts'
import { exitCodes } from './exit-codes.ts'
import { cidrs, coordinatorUrl, seedFolder } from './mesh-flags.ts'
import { portOf } from './mesh-up.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  state: { type: 'string' },
  coordinator: { type: 'string' },
  port: { type: 'string' },
  interface: { type: 'string', default: 'edge0' },
  advertise: { type: 'string', multiple: true },
  json: { type: 'boolean' },
} as const

/** Exit code 3 when something fails; what is only not as good as it could be does not count. */
export async function meshDoctor(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh doctor', args, options)
  noPositionals('edge mesh doctor', positionals)
  // Before a node has joined there is nothing to name: all else can be examined.
  const folder = values.state ?? terminal.env['EDGE_MESH_STATE'] ?? seedFolder
  const membership = readMembership(folder)
  const url = values.coordinator ?? terminal.env['EDGELINK_SERVER'] ?? membership?.url ?? null
  const checks = await examine({
    folder,
    membership,
    coordinator: url === null ? null : coordinatorUrl(url),
    port: portOf(values.port, membership?.said?.port),
    interface: values.interface,
    advertise: cidrs('--advertise', values.advertise),
  })
  if (values.json === true) terminal.print(JSON.stringify({ checks }))
  else for (const check of checks) for (const line of linesOf(check)) terminal.print(line)
  return checks.some(({ result }) => result === 'fail') ? exitCodes.foundProblems : exitCodes.fine
}

function linesOf({ what, result, found, mend }: Check): string[] {
  const line = `${result.padEnd(4)}  ${what.padEnd(24)}  ${found}`
  return mend === null ? [line] : [line, `${' '.repeat(32)}mend: ${mend}`]
}
