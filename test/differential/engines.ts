/** The same rules in both engines, and what each says of one request. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createEngine } from '../../waf/offline/engine.ts'
import { root } from '../harness/edge.ts'
import { openOracle } from '../oracle/oracle.ts'
import type { PlainRequest } from './request.ts'

/** One rule that logged: its id, and the last variable and value that its log line tells. */
export interface Match {
  readonly id: number
  readonly variable: string
  readonly value: string
}

/** By id; of a rule that logged more than once, the first. */
export type Matches = ReadonlyMap<number, Match>

/** Answers one request after the other. */
export interface Contender {
  /** `refused`: the server in front of the engine did not take the request. */
  ask(request: PlainRequest): Promise<Matches | 'refused'>
  close(): Promise<void>
}

/** Every level, no blocking, and the optional checks of the CRS switched on. */
const setup = `SecRuleEngine DetectionOnly
SecAuditEngine Off
SecPcreMatchLimit 100000
SecPcreMatchLimitRecursion 100000
SecAction "id:9900500,phase:1,pass,nolog,t:none,\\
  setvar:tx.blocking_paranoia_level=4,setvar:tx.detection_paranoia_level=4,\\
  setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,setvar:tx.arg_length=400,\\
  setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,\\
  setvar:tx.combined_file_sizes=65535"
`

/** A rule file for both: base, CRS's setup, ours, the rules. */
export class RuleFiles {
  readonly directory = mkdtempSync(join(tmpdir(), 'edge-differential-'))
  readonly all: string
  readonly setup: string

  constructor(crs: string) {
    this.setup = join(this.directory, 'setup.conf')
    this.all = join(this.directory, 'all.conf')
    writeFileSync(this.setup, setup)
    const base = join(root, 'waf/base.conf')
    const files = [base, `${crs}/crs-setup.conf.example`, this.setup, `${crs}/rules/*.conf`]
    writeFileSync(this.all, files.map((file) => `Include ${file}\n`).join(''))
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** What log lines tell; both engines write them in the same form. */
export function matchesOf(lines: readonly string[]): Matches {
  const matches = new Map<number, Match>()
  for (const line of lines) {
    const id = Number(/ \[id "(\d+)"\]/.exec(line)?.[1] ?? 0)
    const said = /against variable `(.*?)' \(Value: `(.*?)' \)/s.exec(line)
    const match = { id, variable: said?.[1] ?? '', value: said?.[2] ?? '' }
    if (id !== 0 && !matches.has(id)) matches.set(id, match)
  }
  return matches
}

/** Our engine, without a server. */
export function openOurs(rules: RuleFiles): Contender {
  const lines: string[] = []
  const sink = { write: (more: readonly string[]) => void lines.push(...more) }
  const options = { mode: 'detect', log: sink, scanBudgetMs: 10_000 } as const
  const text = `Include ${rules.all}\n`
  const engine = createEngine([{ file: join(rules.directory, 'ours.conf'), text }], options)
  return {
    ask(request) {
      lines.length = 0
      engine.inspect(request)
      return Promise.resolve(matchesOf(lines))
    },
    close() {
      engine.close()
      return Promise.resolve()
    },
  }
}

/** Libmodsecurity3, without a server. Throws `OracleMissing`. */
export async function openTheirs(rules: RuleFiles): Promise<Contender> {
  const oracle = await openOracle([rules.all])
  return {
    ask: async ({ method, target, headers, body }) => {
      const asked = { method, target, headers, ...(body === null ? {} : { body }) }
      return matchesOf((await oracle.ask(asked)).lines)
    },
    close: () => oracle.close(),
  }
}
