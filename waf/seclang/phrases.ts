/** The argument of `@pm`: phrases between blanks, in which `|3c 2f|` stands for bytes in hex. */

/** Splits the argument. A text in which the bars do not hold hex is taken as it is. */
export function phrases(argument: string): string[] {
  const decoded = argument.replace(/\|((?:\s*[0-9a-f]{2})+)\s*\|/gi, (_, hex: string) =>
    Buffer.from(hex.replace(/\s+/g, ''), 'hex').toString('latin1'),
  )
  return decoded.split(/\s+/).filter((phrase) => phrase !== '')
}
