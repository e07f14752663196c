/**
 * Resolves macros that no request can change: `@within %{tx.allowed_methods}` has one argument for
 * ever once the start has run, so its leaf belongs into the scan like any other.
 */
import { requestless } from './fold.ts'
import type { PreparedProgram } from './prepared.ts'
import type { LinkTest, Program, ProgramRule } from './program.ts'
import { effectsOf, holdsOnlySettledTx, liveRules } from './prune.ts'
import type { Leaf } from './scan-plan.ts'

/** The dynamic leaves whose argument is settled, with that argument. */
export function settledArguments(program: PreparedProgram): ReadonlyMap<number, string> {
  const effects = effectsOf(program)
  const start = requestless(program)
  const settled = new Map<number, string>()
  for (const phase of program.phases) {
    for (const index of liveRules(phase)) {
      const rule = phase.rules[index]
      const guarded = rule?.links[1]
      if (rule?.guard && guarded && holdsOnlySettledTx(guarded.link.argument, effects)) {
        settled.set(rule.guard.within, guarded.argument.expand(start))
      }
      for (const { link, test, argument } of rule?.links ?? []) {
        if (test.kind !== 'dynamic' || test.late === true) continue
        if (holdsOnlySettledTx(link.argument, effects))
          settled.set(test.leaf, argument.expand(start))
      }
    }
  }
  return settled
}

/** The leaves with those arguments written in. */
export function settleLeaves(
  leaves: readonly Leaf[],
  settled: ReadonlyMap<number, string>,
): readonly Leaf[] {
  return leaves.map((leaf, index) => {
    const argument = settled.get(index)
    return argument === undefined ? leaf : { ...leaf, argument, dynamic: false }
  })
}

/** The program that takes them from the scan. */
export function settleTests(program: Program, settled: ReadonlyMap<number, string>): Program {
  const settle = (test: LinkTest): LinkTest =>
    test.kind === 'dynamic' && settled.has(test.leaf) ? { kind: 'scanned', leaf: test.leaf } : test
  const phases = program.phases.map((items) =>
    items.map((item) =>
      typeof item === 'string' ? item : armed({ ...item, tests: item.tests.map(settle) }, settled),
    ),
  )
  return { ...program, phases }
}

/** With its guard settled a rule asks for its values only when it has to; without, it has none. */
function armed(item: ProgramRule, settled: ReadonlyMap<number, string>): ProgramRule {
  const { guard, ...plain } = item
  const [head, ...others] = item.tests
  if (guard === undefined || head?.kind !== 'scanned' || !settled.has(guard.within)) return plain
  return { ...item, tests: [{ kind: 'dynamic', leaf: head.leaf, late: true }, ...others] }
}
