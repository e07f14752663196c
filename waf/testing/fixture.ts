/**
 * Rules and a request as plain data for the tests of reasoning: a scanner in plain JavaScript takes
 * the addon's place, so that a table of cases says all there is to know.
 */
import type { ExchangeFacts } from '../facts.ts'
import type { LinkTest, Program, ProgramRule } from '../program.ts'
import type { Disruptive, EngineSettings, Link, Rule } from '../rule.ts'
import type { Hit, Target } from '../scan-plan.ts'
import { newReading } from '../seclang/reading.ts'
import type { LeafQuery, Scanned, Scanner, ScanResult } from '../scanner.ts'
import { reasonedVariable } from '../variables.ts'

/** `['ARGS:id', '@rx foo', 'setvar:tx.a=1', 'capture']`; no targets for a SecAction. */
export type LinkText = readonly [targets: string, operator: string, ...actions: string[]]

/** A rule in the fewest words; what is left out is `phase 2, pass, log`. */
export interface RuleText extends Partial<Omit<Rule, 'kind' | 'links' | 'id'>> {
  readonly id: number
  readonly links: readonly LinkText[]
}

/** Variables of the request: `{ 'ARGS:id': 'x', REQUEST_METHOD: 'GET' }`. */
export type RequestText = Readonly<Record<string, string>>

/** Settings with which both request phases run. */
export const settings: EngineSettings = {
  ...newReading().settings,
  responseBodyMimeTypes: ['text/html'],
  requestBodyLimitBytes: 1,
  requestBodyNoFilesLimitBytes: 1,
  responseBodyLimitBytes: 1,
  requestBodyJsonDepthLimit: 10,
  argumentsLimit: 100,
}

/** A plain GET without a body. */
export const facts: ExchangeFacts = {
  handle: 7,
  uniqueId: 'abc-123',
  timeMs: Date.UTC(2026, 10, 21, 2, 29, 44),
  clientAddress: '192.0.2.1',
  clientPort: 40_000,
  serverAddress: '198.51.100.2',
  serverPort: 8443,
  method: 'GET',
  uri: '/path?id=1',
  httpVersion: '1.1',
  hostname: 'example.org',
  headers: [['Host', 'example.org']],
  hasBody: false,
  route: 'default',
}

/** A program and the scanner that knows its leaves. */
export function fixture(
  items: readonly (RuleText | string)[],
  request: RequestText,
  changes: Partial<EngineSettings> = {},
): { program: Program; scanner: FakeScanner } {
  const leaves: { readonly phase: number; readonly link: Link; readonly kind: LinkTest['kind'] }[] =
    []
  const phases: (ProgramRule | string)[][] = [[], [], [], [], [], []]
  for (const item of items) {
    if (typeof item === 'string') {
      for (const phase of phases) phase.push(item)
      continue
    }
    const rule = ruleOf(item)
    const tests = rule.links.map((link): LinkTest => {
      const kind = kindOf(link)
      leaves.push({ phase: rule.phase, link, kind })
      const leaf = leaves.length - 1
      if (kind === 'always') return { kind }
      return kind === 'reasoned' ? { kind, leaf, scannedLeaf: -1 } : { kind, leaf }
    })
    phases[rule.phase]?.push({ rule, tests })
  }
  const scans = phases.map((_, phase) => leaves.some((leaf) => leaf.phase === phase))
  const program: Program = {
    phases,
    settings: { ...settings, ...changes },
    plan: 1,
    scans,
    components: ['OWASP_CRS/4.28.0'],
  }
  const scanned = leaves.map(({ phase, link, kind }) => ({
    link,
    phase: kind === 'scanned' ? phase : 0,
  }))
  return { program, scanner: new FakeScanner(scanned, request) }
}

function kindOf(link: Link): LinkTest['kind'] {
  if (link.operator === 'unconditionalmatch') return 'always'
  if (link.targets.some((target) => reasonedVariable(target.variable))) return 'reasoned'
  return link.argument.includes('%{') ? 'dynamic' : 'scanned'
}

function ruleOf(text: RuleText): Rule {
  const { links, ...given } = text
  const source = { file: 'test.conf', line: text.id }
  const disruptive: Disruptive = 'pass'
  const defaults = {
    kind: 'rule' as const,
    phase: 2,
    source,
    disruptive,
    status: 403,
    disruptiveArgument: '',
    log: true,
    auditLog: true,
    msg: '',
    logdata: '',
    severity: null,
    tags: [],
    ver: '',
    rev: '',
    maturity: '',
    accuracy: '',
    skip: 0,
    skipAfter: '',
  }
  return { ...defaults, ...given, links: links.map((link) => linkOf(link, source)) }
}

function linkOf([targets, operator, ...actions]: LinkText, source: Link['source']): Link {
  const found = /^(!?)@?(\w+)\s?(.*)$/s.exec(operator)
  return {
    source,
    targets: targets === '' ? [] : targets.split('|').map(targetOf),
    operator: found?.[2]?.toLowerCase() ?? '',
    negated: found?.[1] === '!',
    argument: found?.[3] ?? '',
    entries: [],
    transformations: [],
    multiMatch: false,
    capture: actions.includes('capture'),
    actions: actions
      .filter((action) => action !== 'capture')
      .map((action) => {
        const [name = '', ...rest] = action.split(':')
        return { name, argument: rest.join(':') }
      }),
  }
}

function targetOf(text: string): Target {
  const [, mark, variable = '', name] = /^([!&]?)(\w+):?(.*)$/.exec(text) ?? []
  const pattern = /^\/(.*)\/$/.exec(name ?? '')?.[1] ?? null
  return {
    variable,
    name: pattern !== null || name === undefined || name === '' ? null : name,
    namePattern: pattern,
    count: mark === '&',
    exclude: mark === '!',
  }
}

type Operator = (text: string, argument: string) => readonly string[] | null

const operators: Readonly<Record<string, Operator>> = {
  rx: (text, argument) => new RegExp(argument, 's').exec(text)?.map((group) => group ?? '') ?? null,
  streq: (text, argument) => (text === argument ? [] : null),
  within: (text, argument) => (argument.includes(text) ? [] : null),
}

interface FakeLeaf {
  readonly link: Link
  readonly phase: number
}

/** Runs leaves in JavaScript and notes what it was told. */
export class FakeScanner implements Scanner {
  readonly told: string[] = []
  overBudgetIn = 0
  readonly #leaves: readonly FakeLeaf[]
  readonly #request: RequestText

  constructor(leaves: readonly FakeLeaf[], request: RequestText) {
    this.#leaves = leaves
    this.#request = request
  }

  scan(_handle: number, _plan: number, phase: number): Scanned | 'over-budget' {
    this.told.push(`scan ${phase}`)
    if (phase === this.overBudgetIn) return 'over-budget'
    const hits = this.#leaves.flatMap(({ link, phase: own }, leaf) =>
      own === phase ? this.#run(leaf, link, link.argument) : [],
    )
    return { leaves: [...new Set(hits.map(({ leaf }) => leaf))], hits: () => hits }
  }

  evaluate(_handle: number, query: LeafQuery): ScanResult {
    const link = this.#leaves[query.leaf]?.link
    return link === undefined ? [] : this.#run(query.leaf, link, query.argument)
  }

  matchText(query: LeafQuery, text: string): readonly Hit[] {
    const link = this.#leaves[query.leaf]?.link
    if (link === undefined) return []
    const captures = test(link, text, query.argument === '' ? link.argument : query.argument)
    return captures === null
      ? []
      : [{ leaf: query.leaf, variable: '', name: null, value: text, captures }]
  }

  variable(_handle: number, name: string, selector: string): readonly Hit[] {
    const key = selector === '' ? name : `${name}:${selector}`
    const found = Object.entries(this.#request).find(
      ([one]) => one.toLowerCase() === key.toLowerCase(),
    )
    return found === undefined
      ? []
      : [{ leaf: 0xffff_ffff, variable: name, name: selector, value: found[1], captures: [] }]
  }

  setBodyProcessor(_handle: number, processor: string): void {
    this.told.push(`processor ${processor}`)
  }

  forceBodyVariable(_handle: number, on: boolean): void {
    this.told.push(`force ${on}`)
  }

  setBodyAccess(_handle: number, on: boolean): void {
    this.told.push(`body access ${on}`)
  }

  showResponseBody(_handle: number): void {
    this.told.push('response body')
  }

  #run(leaf: number, link: Link, argument: string): Hit[] {
    const hits: Hit[] = []
    for (const [key, value] of Object.entries(this.#request)) {
      const [variable = '', name = null] = key.split(':')
      const wanted = link.targets.some(
        (target) => target.variable === variable && (target.name ?? name) === name,
      )
      const captures = wanted ? test(link, value, argument) : null
      if (captures !== null) hits.push({ leaf, variable, name, value, captures })
    }
    return hits
  }
}

function test(link: Link, text: string, argument: string): readonly string[] | null {
  const operator = operators[link.operator]
  if (operator === undefined) throw new Error(`the fake has no operator ${link.operator}`)
  const captures = operator(text, argument)
  return link.negated ? (captures === null ? [] : null) : captures
}
