/** Numbers as SecLang reads them. */

const digitsMax = 15

/** The number that `text` begins with, as C's `atoi`; 0 when there is none. */
export function toNumber(text: string): number {
  let at = 0
  // Control rules do this some two hundred times per request, so no pattern is run here.
  while (at < text.length && isSpace(text.charCodeAt(at))) at += 1
  const sign = text.charCodeAt(at)
  if (sign === 0x2b || sign === 0x2d) at += 1
  let value = 0
  for (const end = Math.min(text.length, at + digitsMax); at < end; at += 1) {
    const digit = text.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
  }
  return sign === 0x2d && value !== 0 ? -value : value
}

function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d)
}

/** The numeric operators, which need nothing of the addon when they read TX. */
export const comparisons: Readonly<Record<string, (left: number, right: number) => boolean>> = {
  eq: (left, right) => left === right,
  ge: (left, right) => left >= right,
  gt: (left, right) => left > right,
  le: (left, right) => left <= right,
  lt: (left, right) => left < right,
}
