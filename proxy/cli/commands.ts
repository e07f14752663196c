/** Commands by their names, each loaded when it is called: most need little of the others. */
import { nearest, UsageError } from '../config/faults.ts'
import type { Terminal } from './terminal.ts'

export type Command = (args: readonly string[], terminal: Terminal) => number | Promise<number>
export type Commands = Readonly<Record<string, () => Command | Promise<Command>>>

/** The command of that name, of `edge` or of a group of it; a `UsageError` that tells all names. */
export async function commandOf(commands: Commands, name: string, group = ''): Promise<Command> {
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load !== undefined) return load()
  const names = Object.keys(commands).filter((one) => !one.startsWith('-'))
  const meant = nearest(name, names)
  const hint = meant === null ? '' : `; did you mean ${meant}?`
  const place = group === '' ? '' : ` in ${group}`
  throw new UsageError(`there is no command "${name}"${place}: ${names.join(', ')}${hint}`)
}
