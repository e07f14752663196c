/** The flags of one command, strictly: what does not exist is a `UsageError` with the near word. */
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { UsageError, nearest } from '../config/faults.ts'

/** Reads `args`; `command` names the command in faults. */
export function parseFlags<const Options extends ParseArgsOptionsConfig>(
  command: string,
  args: readonly string[],
  options: Options,
) {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: true })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    const unknown = /Unknown option '--?([^']*)'/.exec(error.message)?.[1]
    if (unknown === undefined) throw new UsageError(error.message, { cause: error })
    const meant = nearest(unknown, Object.keys(options))
    const hint = meant === null ? '' : `; did you mean --${meant}?`
    throw new UsageError(`${command} has no flag --${unknown}${hint}`, { cause: error })
  }
}

/** Refuses arguments where a command takes none. */
export function noPositionals(command: string, positionals: readonly string[]): void {
  const [first] = positionals
  if (first !== undefined) throw new UsageError(`${command} does not take "${first}"`)
}
