/** Which members of TX the rules may set. */
import type { Link } from '../rule.ts'

/** True for a lower-case name that some setvar may set; names made of macros by their beginning. */
export function setNames(links: readonly Link[]): (name: string) => boolean {
  const whole = new Set<string>()
  const beginnings: string[] = []
  for (const { actions } of links) {
    for (const { name, argument } of actions) {
      const target = /^\s*tx[.:]([^=]*)/i.exec(argument)?.[1]?.trim().toLowerCase()
      if (name !== 'setvar' || target === undefined) continue
      const macro = target.indexOf('%{')
      if (macro < 0) whole.add(target)
      else beginnings.push(target.slice(0, macro))
    }
  }
  return (name) => whole.has(name) || beginnings.some((beginning) => name.startsWith(beginning))
}
