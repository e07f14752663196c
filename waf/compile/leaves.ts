/** Links → leaves of the scan plan. Equal leaves are one, so that equal tests run once. */
import type { Link } from '../rule.ts'
import type { Leaf, Target } from '../scan-plan.ts'
import type { LinkTest } from '../program.ts'
import { hasMacros, neverMatches } from '../seclang/operators.ts'
import { variables } from '../seclang/variables.ts'

/** The leaves found so far, each with its index. */
export class LeafTable {
  readonly leaves: Leaf[] = []
  readonly #indexes = new Map<string, number>()

  /** The leaf's index: that of an equal leaf when there is one. */
  add(leaf: Leaf): number {
    // Where it stands is no part of what it tests.
    const key = JSON.stringify({ ...leaf, source: '' })
    const known = this.#indexes.get(key)
    if (known !== undefined) return known
    const index = this.leaves.push(leaf) - 1
    this.#indexes.set(key, index)
    return index
  }
}

/**
 * Variables of the request that an earlier rule of the same phase may change by `ctl:`, so that the
 * phase's scan, which ran before all its rules, may show the old value.
 */
const setWhileReasoning = new Set(['REQBODY_PROCESSOR'])

/** How the link is decided; adds the leaves it needs. */
export function testOf(link: Link, phase: number, table: LeafTable): LinkTest {
  if (link.targets.length === 0) return { kind: 'always' }
  const reasoned = side(link.targets, true)
  const scanned = side(link.targets, false)
  const macros = hasMacros(link.operator, link.argument)
  const changes = scanned.some((target) => setWhileReasoning.has(target.variable))
  // An answer of @rbl changes with time: it is asked for only when the rule is reached, and outside
  // of the scan, whose memo would keep it.
  const late = link.operator === 'rbl' || (changes && (macros || reasoned.length > 0))
  const dynamic = macros || late
  const scannedLeaf =
    scanned.length === 0 ? -1 : table.add(leafOf(link, { phase, targets: scanned, dynamic }))
  if (reasoned.length === 0) {
    if (late) return { kind: 'dynamic', leaf: scannedLeaf, late }
    if (dynamic) return { kind: 'dynamic', leaf: scannedLeaf }
    const test: LinkTest = { kind: 'scanned', leaf: scannedLeaf }
    return changes ? { ...test, late: true } : test
  }
  // The texts come from the evaluator, so rules that test different members share the leaf.
  const text = leafOf(link, { phase, targets: [], dynamic: macros })
  const leaf = table.add({ ...text, textOnly: true })
  return late
    ? { kind: 'reasoned', leaf, scannedLeaf, late }
    : { kind: 'reasoned', leaf, scannedLeaf }
}

/** The targets of one side; empty when that side names exclusions only. */
function side(targets: readonly Target[], reasoned: boolean): Target[] {
  const own = targets.filter((target) => isReasoned(target) === reasoned)
  return own.some((target) => !target.exclude) ? own : []
}

function isReasoned(target: Target): boolean {
  return variables.get(target.variable)?.reasoned ?? false
}

/** The link as a leaf over some of its targets. */
export function leafOf(link: Link, at: Pick<Leaf, 'phase' | 'targets' | 'dynamic'>): Leaf {
  return {
    ...at,
    transformations: link.transformations,
    operator: neverMatches(link) ? 'nomatch' : link.operator,
    negated: link.negated,
    argument: link.argument,
    entries: link.entries,
    multiMatch: link.multiMatch,
    capture: link.capture,
    textOnly: false,
    source: `${link.source.file}:${link.source.line}`,
  }
}
