/** `edge mesh join`: makes this node one of the mesh, and ends; `edge mesh up` goes on. */
import { joinOnly } from '../../mesh/joining.ts'
import { operationLog } from '../log.ts'
import { exitCodes } from './exit-codes.ts'
import { joinOptions, levelOf } from './mesh-up.ts'
import { noPositionals, parseFlags } from './parse-flags.ts'
import type { Terminal } from './terminal.ts'

const options = {
  coordinator: { type: 'string' },
  token: { type: 'string' },
  name: { type: 'string' },
  state: { type: 'string' },
  port: { type: 'string' },
  advertise: { type: 'string', multiple: true },
  endpoint: { type: 'string' },
} as const

export async function meshJoin(args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parseFlags('edge mesh join', args, options)
  noPositionals('edge mesh join', positionals)
  const given = joinOptions(values, terminal)
  const { log, flush } = operationLog(levelOf(terminal))
  try {
    // A signal ends it as any program: the next attempt goes on with what it left.
    const { name, id } = await joinOnly({ ...given, log }, new AbortController().signal)
    terminal.print(`joined name=${name} id=${id}`)
    return exitCodes.fine
  } finally {
    flush()
  }
}
