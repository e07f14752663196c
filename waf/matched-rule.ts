/** A rule that matched, as the logs tell it. Texts are Latin-1 and not yet escaped or bounded. */
import type { Notes } from './evidence/trail.ts'
import type { Rule } from './rule.ts'
import type { Interruption } from './verdict.ts'

/** What the last link of the rule saw. */
export interface MatchedValue {
  /** As ModSecurity writes it: `Rx`, `PmFromFile`. */
  readonly operator: string
  /** The operator's argument with macros expanded. */
  readonly parameter: string
  /** `ARGS:id`. */
  readonly variable: string
  readonly value: string
}

/** One match, with everything the logs need of the moment it happened. */
export interface MatchedRule {
  readonly rule: Rule
  readonly message: string
  readonly data: string
  readonly tags: readonly string[]
  /** Null for a SecAction. */
  readonly value: MatchedValue | null
  /** Set when this rule stopped the exchange. */
  readonly interruption: Interruption | null
  /** What each link saw, and what the rule set. */
  readonly notes: Notes | null
}

/** Names that are more than their first letter in upper case. */
const operatorNames: Readonly<Record<string, string>> = {
  beginswith: 'BeginsWith',
  containsword: 'ContainsWord',
  detectsqli: 'DetectSQLi',
  detectxss: 'DetectXSS',
  endswith: 'EndsWith',
  ipmatch: 'IpMatch',
  ipmatchf: 'IpMatchFromFile',
  ipmatchfromfile: 'IpMatchFromFile',
  nomatch: 'NoMatch',
  pmf: 'PmFromFile',
  pmfromfile: 'PmFromFile',
  rxglobal: 'RxGlobal',
  streq: 'StrEq',
  strmatch: 'StrMatch',
  unconditionalmatch: 'UnconditionalMatch',
  validatebyterange: 'ValidateByteRange',
  validateurlencoding: 'ValidateUrlEncoding',
  validateutf8encoding: 'ValidateUtf8Encoding',
  verifycc: 'VerifyCC',
  verifycpf: 'VerifyCPF',
  verifyssn: 'VerifySSN',
  verifysvnr: 'VerifySVNR',
}

/** The operator's name as ModSecurity spells it. */
export function operatorName(operator: string): string {
  return operatorNames[operator] ?? operator.slice(0, 1).toUpperCase() + operator.slice(1)
}

/** Transformations whose names are more than one word; the others are lower-case anyway. */
const transformationNames = `base64DecodeExt base64Decode base64Encode cmdLine compressWhitespace
  cssDecode escapeSeqDecode hexDecode hexEncode htmlEntityDecode jsDecode normalisePath
  normalisePathWin normalizePath normalizePathWin parityEven7bit parityOdd7bit parityZero7bit
  removeComments removeCommentsChar removeNulls removeWhitespace replaceComments replaceNulls
  sqlHexDecode trimLeft trimRight urlDecode urlDecodeUni urlEncode utf8toUnicode`

const transformationsByName: ReadonlyMap<string, string> = new Map(
  transformationNames.split(/\s+/).map((name) => [name.toLowerCase(), name]),
)

/** The transformation's name as ModSecurity spells it. */
export function transformationName(name: string): string {
  return transformationsByName.get(name) ?? name
}
