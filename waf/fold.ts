/**
 * Partial evaluation: the rules at the start of phase 1 that depend on no request (the CRS's
 * initialisation) run once, when the rules are prepared. What they leave in TX is the state that
 * every transaction begins with. A rule that is not understood ends the folding: only time is lost.
 */
import { noExclusions } from './exclusions.ts'
import type { StandingExclusions } from './exclusions.ts'
import type { ExchangeFacts } from './facts.ts'
import { matchLink } from './match-link.ts'
import { decidesAlone } from './prepared-link.ts'
import type { PreparedLink } from './prepared-link.ts'
import type { PreparedProgram, PreparedRule } from './prepared.ts'
import type { LinkTest } from './program.ts'
import { removalsOf } from './removals.ts'
import type { RuleTest } from './removals.ts'
import type { Rule } from './rule.ts'
import type { Scanner } from './scanner.ts'
import { Transaction } from './transaction.ts'

/** What folding found. */
export interface Folded {
  /** TX at the start of every transaction. */
  readonly tx: ReadonlyMap<string, string>
  /** Rules of phase 1, by index, that need not run any more. */
  readonly rules: ReadonlySet<number>
}

/** ctl options that do the same whatever value a rule has matched. */
const blindOptions = [
  'auditengine',
  'auditlogparts',
  'debugloglevel',
  'forcerequestbodyvariable',
  'responsebodyaccess',
  'ruleremovebyid',
  'ruleremovebymsg',
  'ruleremovebytag',
  'ruleremovetargetbyid',
  'ruleremovetargetbymsg',
  'ruleremovetargetbytag',
]
const blind = new Set(blindOptions)

/** Those that do not touch TX; what removes rules is looked at where these stand. */
const harmless = new Set([...blindOptions, 'requestbodyaccess', 'requestbodyprocessor'])

function option(argument: string): string {
  return argument.split('=', 1)[0]?.trim().toLowerCase() ?? ''
}

/** True when a `ctl:` with this argument does the same for any value, and no scan shows it. */
export function isBlindOption(argument: string): boolean {
  return blind.has(option(argument))
}

/**
 * Runs what can be run without a request. `absent` are the rules of phase 1, by index, that do not
 * run at all, `doubtful` those that an exclusion takes out for some requests only.
 */
export function fold(
  program: PreparedProgram,
  absent: (index: number) => boolean = () => false,
  doubtful: RuleTest = () => false,
): Folded {
  const rules = program.phases[1]?.rules ?? []
  const transaction = requestless(program)
  const removals = [doubtful]
  const done = new Set<number>()
  let at = 0
  for (let rule = rules[at]; rule !== undefined; rule = rules[at]) {
    const { rule: own } = rule
    if (absent(at)) {
      at += 1
      continue
    }
    if (failsAtOnce(transaction, rule)) {
      done.add(at)
      at += 1
      continue
    }
    if (!isConstant(rule) || !rule.links.every((link) => decidesAlone(transaction, link))) {
      if (!isAside(rule)) break
      removals.push(...removalsOf(rule.links.flatMap(({ link }) => link.actions)))
      at += 1
      continue
    }
    if (removals.some((removes) => removes(own))) break
    const before = new Map(transaction.tx)
    const matched = matches(transaction, rule)
    if (matched && !isQuiet(rule)) {
      transaction.tx.restart(before)
      break
    }
    const next = matched ? rule.next : at + 1
    // What a constant skip leaves out is never reached by any request.
    for (; at < Math.min(next, rules.length); at += 1) done.add(at)
  }
  return { tx: new Map(transaction.tx), rules: done }
}

/** True when the first link reads only TX and does not match, whatever the chain asks then. */
function failsAtOnce(transaction: Transaction, rule: PreparedRule): boolean {
  const [first] = rule.links
  if (first === undefined || !readsOnlyTx(first) || !decidesAlone(transaction, first)) return false
  return !matches(transaction, { ...rule, links: [{ ...first, perValue: [] }] })
}

/** Runs a rule that reads only TX. */
export function matches(transaction: Transaction, prepared: PreparedRule): boolean {
  return prepared.links.every(
    (link) => matchLink(transaction, prepared, link, new Map()) === 'matched',
  )
}

/** A transaction of no request, for rules that read none. */
export function requestless(
  program: PreparedProgram,
  exclusions: StandingExclusions = noExclusions,
): Transaction {
  return new Transaction(program, noScanner, { facts: noFacts, mode: 'block', exclusions })
}

/** True when a match leaves no trace outside TX, but for where the rules go on. */
export function isQuiet({ rule, links }: PreparedRule): boolean {
  if (rule.log || rule.auditLog || rule.disruptive !== 'pass' || rule.severity !== null)
    return false
  return links.every((link) => link.perRule.length === 0)
}

/** True when every link reads nothing but TX and sets nothing else on its way. */
function isConstant({ links }: PreparedRule): boolean {
  return links.every((link) => readsOnlyTx(link) && writesOnlyTx(link))
}

function readsOnlyTx({ link, test, txKey }: PreparedLink): boolean {
  if (link.capture || !isTxText(link.argument)) return false
  if (test.kind === 'always') return link.targets.length === 0
  return txKey !== null && !/^\d+$/.test(txKey)
}

/** True when a match of the link changes nothing but TX, by what is in TX. */
export function writesOnlyTx({ link }: PreparedLink): boolean {
  return link.actions.every(({ name, argument }) => {
    if (opensCollection.has(name)) return false
    return name !== 'setvar' || (/^!?\s*tx[.:]/i.test(argument) && isTxText(argument))
  })
}

/** Every transaction opens its own. */
const opensCollection = new Set(['initcol', 'setsid', 'setuid', 'setrsc'])

/** True when every macro of the text reads a member of TX that is no capture. */
function isTxText(text: string): boolean {
  return [...text.matchAll(/%\{([^}]*)\}/g)].every(([, name]) => /^tx[.:](?!\d)/i.test(name ?? ''))
}

/** True when the rules behind it do the same whether this one matched or not. */
function isAside({ rule, links }: PreparedRule): boolean {
  if (rule.skip > 0 || rule.skipAfter !== '' || rule.disruptive === 'allow') return false
  if (readsTx(rule)) return false
  return links.every(
    ({ link, test }) =>
      readsOnlyRequest(test, link.argument) &&
      !link.capture &&
      link.actions.every(({ name, argument }) => {
        if (name === 'logdata' || name === 'msg') return true
        return name === 'ctl' && harmless.has(option(argument))
      }),
  )
}

/** Scanned, or evaluated late because an earlier `ctl` may have changed what it reads. */
function readsOnlyRequest({ kind }: LinkTest, argument: string): boolean {
  return kind === 'scanned' || (kind === 'dynamic' && !argument.includes('%{'))
}

function readsTx(rule: Rule): boolean {
  const texts = [rule.msg, rule.logdata, rule.disruptiveArgument, ...rule.tags]
  for (const link of rule.links) texts.push(...link.actions.map((action) => action.argument))
  return texts.some((text) => /%\{tx/i.test(text))
}

const noFacts: ExchangeFacts = {
  handle: 0,
  uniqueId: '',
  timeMs: 0,
  clientAddress: '',
  clientPort: 0,
  serverAddress: '',
  serverPort: 0,
  method: '',
  uri: '',
  httpVersion: '',
  hostname: '',
  headers: [],
  hasBody: false,
  route: '',
}

function unread(): never {
  throw new Error('a rule that reads the request was folded')
}

const noScanner: Scanner = {
  scan: unread,
  evaluate: unread,
  matchText: unread,
  variable: unread,
  setBodyProcessor: unread,
  forceBodyVariable: unread,
  setBodyAccess: unread,
  showResponseBody: unread,
}
