/** The transformations that `t:` may name. Their code is in the addon. */

const spelled = `base64Decode base64DecodeExt base64Encode cmdLine compressWhitespace cssDecode
  escapeSeqDecode hexDecode hexEncode htmlEntityDecode jsDecode length lowercase md5 none
  normalizePath normalizePathWin parityEven7bit parityOdd7bit parityZero7bit removeComments
  removeCommentsChar removeNulls removeWhitespace replaceComments replaceNulls sha1 sqlHexDecode
  trim trimLeft trimRight uppercase urlDecode urlDecodeUni urlEncode utf8toUnicode`

const names: ReadonlySet<string> = new Set(spelled.toLowerCase().split(/\s+/))

/** Both spellings are documented; one is kept, so that equal chains are equal texts. */
const aliases: ReadonlyMap<string, string> = new Map([
  ['normalisepath', 'normalizepath'],
  ['normalisepathwin', 'normalizepathwin'],
])

/** The lower-case name used in plans, or null when there is no such transformation. */
export function transformationName(written: string): string | null {
  const lower = written.toLowerCase()
  const name = aliases.get(lower) ?? lower
  return names.has(name) ? name : null
}

/** Folds `t:` actions in order: `none` drops what came before it. */
export function chainOf(written: readonly string[]): string[] {
  const chain: string[] = []
  for (const text of written) {
    const name = transformationName(text)
    if (name === 'none') chain.length = 0
    else if (name !== null) chain.push(name)
  }
  return chain
}
