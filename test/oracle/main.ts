/**
 * `npm run e2e:oracle`: holds the table of SecLang's order (test/waf/order) to what ModSecurity v3
 * does. `--write` puts the answers of the oracle into the table instead, where nothing was decided.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { parseDocument } from 'yaml'
import {
  orderCases,
  orderFiles,
  inputsOf,
  plainRequest,
  type Expectation,
  type OrderCase,
} from '../waf/order-cases.ts'
import type { SecLangInput } from '../../waf/seclang/parser.ts'
import { openOracle, OracleMissing } from './oracle.ts'

/** The rule that tells TX at the end; no row uses its id. */
const TELL_ID = 999_999

const scratch = mkdtempSync(join(tmpdir(), 'edge-oracle-'))

async function askOracle(row: OrderCase): Promise<Expectation> {
  const names = Object.keys(row.expect.tx)
  const told = names.map((name, index) => `${index}=(~%{tx.${name}}~)`).join(' ')
  // ModSecurity takes no empty message.
  const tell = `SecAction "id:${TELL_ID},phase:5,pass,log,msg:'TX ${told}'"\n`
  const inputs = inputsOf(row)
  if (inputs === null) throw new Error('needs EDGE_CRS_DIR or ../shared/crs')
  const files = joined([...inputs, { file: 'tell.conf', text: tell }]).map(written)
  const oracle = await openOracle(files)
  try {
    const { response } = row.request
    const request = { ...plainRequest(row), ...(response === undefined ? {} : { response }) }
    const answer = await oracle.ask(request)
    const line = answer.lines.find((one) => one.includes(`[id "${TELL_ID}"]`)) ?? ''
    const tx = names.map((name, index) => {
      const value = new RegExp(`\\b${index}=\\(~(.*?)~\\)`, 's').exec(line)?.[1] ?? ''
      return [name, value] as const
    })
    return {
      // A multiMatch rule logs once for each form of the value; here it is told once.
      ids: answer.ids.filter((id, at) => id !== TELL_ID && id !== answer.ids[at - 1]),
      status: answer.status,
      tx: Object.fromEntries(tx),
    }
  } finally {
    await oracle.close()
  }
}

/** Texts that follow each other become one: ModSecurity keeps the settings of the first file. */
function joined(inputs: readonly SecLangInput[]): readonly SecLangInput[] {
  const whole: SecLangInput[] = []
  for (const input of inputs) {
    const before = whole.at(-1)?.text
    if (input.text === undefined || before === undefined) whole.push(input)
    else whole.push({ file: 'texts.conf', text: `${whole.pop()?.text}\n${input.text}` })
  }
  return whole
}

/** The file of an input; a text becomes one. */
function written({ file, text }: SecLangInput, index: number): string {
  if (text === undefined) return file
  const path = join(scratch, `${index}-${file}`)
  writeFileSync(path, `${text}\n`, 'latin1')
  return path
}

/** The rows of a file that differ, or the number written. */
async function recheck(file: string, write: boolean): Promise<number> {
  const document = parseDocument(readFileSync(file, 'utf8'))
  let differing = 0
  for (const [index, row] of orderCases(file).entries()) {
    const known = row.decision?.modsecurity ?? row.expect
    const path = row.decision === undefined ? ['expect'] : ['decision', 'modsecurity']
    const said = await askOracle(row).catch((error: unknown) => String(error))
    if (isDeepStrictEqual(said, { ...known, tx: { ...known.tx } })) continue
    differing += 1
    if (write && typeof said !== 'string') {
      const node = document.createNode(said, { flow: true })
      document.setIn([index, ...path], node)
    } else {
      process.stdout.write(`${row.name}\n  table  ${JSON.stringify(known)}\n`)
      process.stdout.write(`  oracle ${JSON.stringify(said)}\n`)
    }
  }
  if (write) writeFileSync(file, document.toString({ lineWidth: 0 }))
  return differing
}

async function main(): Promise<number> {
  const write = process.argv.includes('--write')
  let rows = 0
  let differing = 0
  for (const file of orderFiles()) {
    rows += orderCases(file).length
    differing += await recheck(file, write)
  }
  process.stdout.write(`${rows} rows, ${differing} ${write ? 'written' : 'differ'}\n`)
  return differing === 0 || write ? 0 : 3
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!(error instanceof OracleMissing)) throw error
  process.stdout.write(`${error.message}\n`)
  process.exitCode = 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
