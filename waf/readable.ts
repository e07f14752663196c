/** Bytes as people and JSON readers want them: UTF-8 where they are UTF-8, `\xHH` where not. */

/** A run of ASCII, one well-formed UTF-8 sequence (RFC 3629 §4), or one other character. */
const pieces = new RegExp(
  [
    '[\\0-\\x7f]+',
    '[\\xc2-\\xdf][\\x80-\\xbf]',
    '\\xe0[\\xa0-\\xbf][\\x80-\\xbf]',
    '[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}',
    '\\xed[\\x80-\\x9f][\\x80-\\xbf]',
    '\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}',
    '[\\xf1-\\xf3][\\x80-\\xbf]{3}',
    '\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}',
    '[^]',
  ].join('|'),
  'gu',
)

/** At most `bytesMax` bytes of a Latin-1 text, decoded; always well-formed Unicode. */
export function readable(text: string, bytesMax: number): string {
  const bounded = text.length > bytesMax ? text.slice(0, bytesMax) : text
  if (!/[^\0-\x7f]/.test(bounded)) return bounded
  return bounded.replaceAll(pieces, decoded)
}

function decoded(piece: string): string {
  if (piece.length > 1) return Buffer.from(piece, 'latin1').toString('utf8')
  const code = piece.charCodeAt(0)
  if (code < 0x80) return piece
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, '0')}`
  // Rule files are UTF-8, so a message may hold characters beyond Latin-1; never half of one.
  return code >= 0xd800 && code < 0xe000 ? `\\u${code.toString(16)}` : piece
}
