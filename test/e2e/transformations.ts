/**
 * `npm run e2e:transformations -- [INPUTS] [SEED]`: every transformation over random and crafted
 * texts, here and in ModSecurity v3; each difference that was not decided is a failure. Needs
 * Debian's libmodsecurity-dev and gcc.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngine } from '../../waf/offline/engine.ts'
import { openOracle, OracleMissing } from '../oracle/oracle.ts'

/** ModSecurity's names; it is strict about their case. */
const names = `base64Decode base64DecodeExt base64Encode cmdLine compressWhitespace cssDecode
  escapeSeqDecode hexDecode hexEncode htmlEntityDecode jsDecode length lowercase md5 none
  normalisePath normalisePathWin normalizePath normalizePathWin parityEven7bit parityOdd7bit
  parityZero7bit removeComments removeCommentsChar removeNulls removeWhitespace replaceComments
  replaceNulls sha1 sqlHexDecode trim trimLeft trimRight uppercase urlDecode urlDecodeUni urlEncode
  utf8toUnicode`.split(/\s+/)

/** Where we do not follow ModSecurity 3.0.9: the manual does not say what it does there. */
const decided: Readonly<Record<string, (text: string) => boolean>> = {
  // It ends every text at its first NUL, decoded or not, which would hide the rest.
  cssDecode: (text) => text.includes('\0') || text.includes('\\0'),
  // It loses the last byte of every text.
  sqlHexDecode: () => true,
  // It copies the byte behind a comment, even one behind the text's end.
  removeComments: (text) => text.includes('*/') || text.includes('-->'),
}

/** Pieces that matter to some transformation. */
const words = [
  '% u U 0 4 41 + \\ \\x \\u \\u003c \\12 \\n & # &# &#x &lt &amp; &nbsp; &quot ;',
  '/ // * /* */ -- <!--',
  '--> . .. ./ ../ ^ " \' , ( a Z 9 = == QUI dzB 0x41 0X uff1c %uff1c %u00 - _',
]
const bytes = [
  ' |\t|\n|\r|\v|\f|\0|\xa0|\xc2\xa0|\xc3\xa9',
  '\xe2\x82\xac|\xf0\x9f\x98\x80|\xc0\xaf|\xed\xa0\x80|\xff|\x80',
]
const pieces = [
  ...words.flatMap((line) => line.split(' ')),
  ...bytes.flatMap((line) => line.split('|')),
]

/** The log shows 200 characters of a text, and hexadecimal takes two for each of up to six. */
const TEXT_BYTES_MAX = 16

/** xorshift32: the same texts for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed | 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

function textOf(random: (below: number) => number): string {
  let text = ''
  const count = random(9)
  for (let index = 0; index < count; index += 1) {
    text +=
      random(8) === 0 ? String.fromCharCode(random(256)) : (pieces[random(pieces.length)] ?? '')
  }
  return text.slice(0, TEXT_BYTES_MAX)
}

/** `id → hexadecimal` of what each rule saw. */
type Seen = ReadonlyMap<number, string>

const rules = [
  'SecRuleEngine On',
  'SecRequestBodyAccess On',
  ...names.map(
    (name, index) =>
      `SecRule REQUEST_BODY "@unconditionalMatch" "id:${index + 1},phase:2,pass,log,t:none,` +
      `t:${name},t:hexEncode,msg:'x',logdata:'=%{MATCHED_VAR}'"`,
  ),
].join('\n')

function ofLines(lines: readonly string[]): Seen {
  return new Map(
    lines.map((line) => [
      Number(/\[id "(\d+)"\]/.exec(line)?.[1]),
      /\[data "=([0-9a-f]*)/.exec(line)?.[1] ?? '',
    ]),
  )
}

async function compare(inputs: number, seed: number): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'edge-transformations-'))
  const file = join(scratch, 'rules.conf')
  writeFileSync(file, `${rules}\n`)
  const oracle = await openOracle([file])
  const engine = createEngine([{ file: 'rules.conf', text: rules }])
  const random = generator(seed)
  let differences = 0
  try {
    for (let input = 0; input < inputs; input += 1) {
      const text = textOf(random)
      const headers = [['Content-Type', 'text/plain']] as const
      const body = Buffer.from(text, 'latin1')
      const theirs = ofLines(
        (await oracle.ask({ method: 'POST', target: '/', headers, body })).lines,
      )
      const { matched } = engine.inspect({ method: 'POST', target: '/', headers, body })
      const ours: Seen = new Map(matched.map((one) => [one.rule.id, one.data.slice(1)]))
      for (const [index, name] of names.entries()) {
        const [mine, other] = [ours.get(index + 1), theirs.get(index + 1)]
        if (mine === other || decided[name]?.(text) === true) continue
        differences += 1
        console.log(`${name} of ${JSON.stringify(text)}: ${mine} here, ${other} in ModSecurity`)
      }
    }
  } finally {
    await oracle.close()
    engine.close()
    rmSync(scratch, { recursive: true })
  }
  return differences
}

const [inputs = 10_000, seed = 1] = process.argv.slice(2).map(Number)
try {
  const differences = await compare(inputs, seed)
  console.log(`${inputs} texts, ${names.length} transformations: ${differences} differences`)
  process.exitCode = differences === 0 ? 0 : 1
} catch (error) {
  if (!(error instanceof OracleMissing)) throw error
  console.error(error.message)
  process.exitCode = 1
}
