/** `SecAuditLogParts`, `ctl:auditLogParts`: which parts an audit record has, as letters. */

/** All that ModSecurity documents; D and G are reserved there and empty. */
export const allParts = 'ABCDEFGHIJKZ'

/** A list (`ABIJDEFHZ`) replaces the parts, `+E` adds to them, `-E` takes away. */
export function withParts(parts: string, change: string): string {
  const list = change.replace(/^[+-]/, '').toUpperCase()
  const named = (letter: string): boolean => list.includes(letter)
  const had = (letter: string): boolean => parts.includes(letter)
  const keep = change.startsWith('+')
    ? (letter: string) => had(letter) || named(letter)
    : change.startsWith('-')
      ? (letter: string) => had(letter) && !named(letter)
      : named
  // A and Z frame the record: they are always there.
  return Array.from(allParts)
    .filter((one) => one === 'A' || one === 'Z' || keep(one))
    .join('')
}
