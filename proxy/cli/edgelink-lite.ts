/**
 * `edgelink-lite`: seed 000's program by its own flags, on ours. Left out: `--config` (a folder of
 * state takes its place) and `--disconnect` (an agent ends with its process; there is no other one
 * that could be told to).
 */
import { UsageError } from '../config/faults.ts'
import { exitCodes } from './exit-codes.ts'
import { mesh } from './mesh.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  status: { type: 'boolean' },
  register: { type: 'boolean' },
  connect: { type: 'boolean' },
  json: { type: 'boolean' },
  server: { type: 'string' },
  key: { type: 'string' },
  name: { type: 'string' },
  state: { type: 'string' },
} as const

const usage = 'edgelink-lite --status|--register|--connect [--server URL] [--key KEY] [--name NAME]'

/** One of its actions; without one it prints what there is, as the seed's does. */
export async function edgelinkLite(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edgelink-lite', args, options)
  noPositionals('edgelink-lite', positionals)
  const { status, register, connect, json, server, key, name, state } = values
  const chosen = [status, register, connect].filter((one) => one === true)
  if (chosen.length > 1) throw new UsageError(`one of these at a time: ${usage}`)
  const place = state === undefined ? [] : ['--state', state]
  if (status === true) {
    return mesh(['status', ...place, ...(json === true ? ['--json'] : [])], terminal)
  }
  const given = [
    ...place,
    ...(server === undefined ? [] : ['--coordinator', server]),
    ...(key === undefined ? [] : ['--token', key]),
    ...(name === undefined ? [] : ['--name', name]),
  ]
  if (register === true) return mesh(['join', ...given], terminal)
  if (connect === true) return mesh(['up', ...given], terminal)
  terminal.print(usage)
  return exitCodes.fine
}
