/** The syntax that setvar and expirevar share: `collection.name=value`, macros in both. */
import { compileMacro } from '../macro.ts'
import type { Macro } from '../macro.ts'

/** `collection.name=value`, taken apart. */
export interface Assignment {
  /** Lower-case: `tx`, `ip`… */
  readonly collection: string
  readonly name: Macro
  /** Null when nothing was assigned. */
  readonly value: string | null
}

/** Splits at the first `.` (or `:`) and at the first `=` outside a macro. */
export function parseAssignment(text: string): Assignment {
  const equals = separator(text)
  const target = (equals < 0 ? text : text.slice(0, equals)).trim()
  const at = target.search(/[.:]/)
  if (at <= 0 || at === target.length - 1) {
    throw new Error(`"${text}" names no variable; write collection.name, such as tx.score`)
  }
  return {
    collection: target.slice(0, at).toLowerCase(),
    name: compileMacro(target.slice(at + 1)),
    value: equals < 0 ? null : text.slice(equals + 1),
  }
}

function separator(text: string): number {
  let inMacro = false
  for (let at = 0; at < text.length; at += 1) {
    if (text.startsWith('%{', at)) inMacro = true
    else if (text[at] === '}') inMacro = false
    else if (text[at] === '=' && !inMacro) return at
  }
  return -1
}
