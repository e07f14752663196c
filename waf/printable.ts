/** Untrusted bytes made fit for a log: one line, ASCII, bounded. */

const unsafe = /[^\x20-\x7e]|["\\]/g
const anyUnsafe = /[^\x20-\x7e]|["\\]/

/**
 * At most `max` bytes of a Latin-1 text with everything outside printable ASCII, quotes and
 * backslashes as `\xHH`. Quotes too: a value must not be able to write fields of its own.
 */
export function printable(text: string, max: number): string {
  const bounded = text.length > max ? text.slice(0, max) : text
  if (!anyUnsafe.test(bounded)) return bounded
  return bounded.replaceAll(unsafe, hex)
}

function hex(character: string): string {
  const code = character.charCodeAt(0)
  // Rule files are UTF-8, so a message may hold characters beyond Latin-1.
  const digits = code.toString(16).padStart(code > 0xff ? 4 : 2, '0')
  return code > 0xff ? `\\u${digits}` : `\\x${digits}`
}
