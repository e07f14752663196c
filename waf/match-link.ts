/** Decides one link of a rule over the transaction, and does what it does for each value. */
import { refuses } from './prepared-link.ts'
import type { PreparedLink } from './prepared-link.ts'
import type { PreparedRule } from './prepared.ts'
import type { Hit } from './scan-plan.ts'
import type { LeafQuery, ScanResult } from './scanner.ts'
import type { Transaction } from './transaction.ts'
import type { Value } from './variables.ts'

/** The phase's hits by leaf. */
export type HitsByLeaf = ReadonlyMap<number, readonly Hit[]>

/** What came of one link. */
export type LinkOutcome = 'matched' | 'unmatched' | 'over-budget'

/** One value that the link's operator accepted. */
interface Match extends Value {
  readonly captures: readonly (string | null)[]
  /** The leaf that matched; absent where none was asked. */
  readonly leaf?: number
  /** The text before transformations, when only reasoning knew it. */
  readonly source?: string
}

const none: readonly Match[] = []
const noCaptures: readonly string[] = []

/** Runs one link; on a match its per-value actions have run and MATCHED_VAR is the last value. */
export function matchLink(
  transaction: Transaction,
  prepared: PreparedRule,
  link: PreparedLink,
  hits: HitsByLeaf,
): LinkOutcome {
  if (link.test.kind === 'always') return always(transaction, prepared, link)
  const found = valuesOf(transaction, link, hits)
  if (found === 'over-budget') return found
  // As in ModSecurity v3, targets are taken from the link that bears the rule's id: the head.
  const hides = found.length > 0 && link === prepared.links[0]
  const hidden = hides ? transaction.exclusions.hides(prepared.rule) : null
  let matched = false
  for (const match of found) {
    if (hidden?.(match) === true) continue
    matched = true
    accept(transaction, prepared, { link, match })
  }
  return matched ? 'matched' : 'unmatched'
}

function accept(
  transaction: Transaction,
  prepared: PreparedRule,
  { link, match }: { readonly link: PreparedLink; readonly match: Match },
): void {
  if (prepared.notes !== null) transaction.noted.accept(prepared, link, match)
  transaction.matchedVar = match
  transaction.matchedVars.push(match)
  // What a negated operator did not find has no groups.
  if (link.link.capture && !link.link.negated) transaction.tx.capture(match.captures)
  for (const run of link.perValue) run(transaction)
}

/** SecAction has no value to show; `@unconditionalMatch` shows those it can read. */
function always(transaction: Transaction, prepared: PreparedRule, link: PreparedLink): LinkOutcome {
  const values = link.readers.flatMap((read) => read(transaction))
  if (values.length === 0) {
    if (prepared.notes !== null) transaction.noted.accept(prepared, link, null)
    for (const run of link.perValue) run(transaction)
  }
  for (const value of values) {
    accept(transaction, prepared, { link, match: { ...value, captures: noCaptures } })
  }
  return 'matched'
}

function valuesOf(
  transaction: Transaction,
  link: PreparedLink,
  hits: HitsByLeaf,
): readonly Match[] | 'over-budget' {
  if (link.txKey === null) return collect(transaction, link, hits)
  if (link.plain === null) return compareTx(transaction, link)
  return refuses(transaction, link) ? none : collect(transaction, link, hits)
}

function collect(
  transaction: Transaction,
  link: PreparedLink,
  hits: HitsByLeaf,
): readonly Match[] | 'over-budget' {
  const { test } = link
  if (test.kind === 'always') return none
  if (test.kind === 'scanned') {
    const isStale = test.late === true && transaction.isProcessorChanged
    if (!isStale) return hits.get(test.leaf) ?? none
    return evaluate(transaction, test.leaf, link.argument.expand(transaction))
  }
  if (test.kind === 'dynamic') {
    return evaluate(transaction, test.leaf, link.argument.expand(transaction))
  }
  const late = test.late === true || link.argument.constant === null
  const scanned = scannedPart(transaction, link, { leaf: test.scannedLeaf, late, hits })
  if (scanned === 'over-budget') return scanned
  const reasoned = reason(transaction, link, test.leaf)
  return scanned.length === 0 ? reasoned : [...scanned, ...reasoned]
}

/** The targets of a reasoned link that the addon can see. */
function scannedPart(
  transaction: Transaction,
  link: PreparedLink,
  {
    leaf,
    late,
    hits,
  }: { readonly leaf: number; readonly late: boolean; readonly hits: HitsByLeaf },
): readonly Match[] | 'over-budget' {
  if (leaf < 0) return none
  if (!late) return hits.get(leaf) ?? none
  return evaluate(transaction, leaf, link.argument.expand(transaction))
}

function evaluate(transaction: Transaction, leaf: number, argument: string): ScanResult {
  const { scanner, facts, program } = transaction
  return scanner.evaluate(facts.handle, { plan: program.plan, leaf, argument })
}

function reason(transaction: Transaction, link: PreparedLink, leaf: number): readonly Match[] {
  const argument = link.argument.expand(transaction)
  const query: LeafQuery = {
    plan: transaction.program.plan,
    leaf,
    // The leaf holds its own argument already unless it has macros.
    argument: link.argument.constant === null ? argument : '',
  }
  const matches: Match[] = []
  for (const read of link.readers) {
    for (const value of read(transaction)) {
      if (link.ownTest !== null && link.plain === null) {
        if (link.ownTest(value.value, argument)) matches.push({ ...value, captures: noCaptures })
        continue
      }
      for (const hit of transaction.scanner.matchText(query, value.value)) {
        const { variable, name, value: source } = value
        matches.push({ ...hit, variable, name, source })
      }
    }
  }
  return matches
}

/** The shortest way for `TX:name @lt 1` and `&TX:name @eq 0`. */
function compareTx(transaction: Transaction, link: PreparedLink): readonly Match[] {
  const { txKey, ownTest } = link
  const [target] = link.link.targets
  if (txKey === null || ownTest === null || target === undefined) return none
  const held = transaction.tx.get(txKey)
  if (held === undefined && !target.count) return none
  const value = target.count ? (held === undefined ? '0' : '1') : (held ?? '')
  if (!ownTest(value, link.argument.expand(transaction))) return none
  return [{ variable: 'TX', name: target.name, value, captures: noCaptures }]
}
