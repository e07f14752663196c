/** Which patterns the engine of linear time cannot hold. The addon decides; this says why. */

const groups: readonly (readonly [RegExp, string])[] = [
  [/^\(\?<?[=!]/, 'look-around'],
  [/^\(\?>/, 'an atomic group'],
  [/^\(\?\(/, 'a condition'],
  [/^\(\?(?:R|[0-9]|&|P>)/, 'recursion'],
  [/^\(\?P=/, 'a back-reference'],
]

/** What makes the pattern need the bounded engine: `look-around`; null when nothing does. */
export function boundedBecause(pattern: string): string | null {
  let inClass = false
  for (let at = 0; at < pattern.length; at += 1) {
    const char = pattern.charAt(at)
    if (char === '\\') {
      if (!inClass && /[1-9gkK]/.test(pattern.charAt(at + 1))) return 'a back-reference'
      at += 1
    } else if (inClass) inClass = char !== ']'
    else if (char === '[') {
      inClass = true
      // `[]a]` and `[^]a]`: a bracket that comes first is a member.
      if (pattern.charAt(at + 1) === '^') at += 1
      if (pattern.charAt(at + 1) === ']') at += 1
    } else {
      const group =
        char === '(' ? groups.find(([begins]) => begins.test(pattern.slice(at))) : undefined
      if (group !== undefined) return group[1]
      if (/[*+?}]/.test(char) && pattern.charAt(at + 1) === '+') return 'a possessive quantifier'
    }
  }
  return null
}
