/** The programs of one worker, one for each variant, and which of them a route's requests run. */
import { noExclusions } from '../exclusions.ts'
import type { StandingExclusions } from '../exclusions.ts'
import { prepareUnfolded, replaceRule, specialize } from '../prepared.ts'
import type { PreparedProgram } from '../prepared.ts'
import type { Program, ProgramRule, ProgramVariant } from '../program.ts'
import type { Rule } from '../rule.ts'
import { PreparedExclusions } from './prepared-tuning.ts'
import type { RequestScope } from './prepared-tuning.ts'

/** What a transaction begins with. */
export interface Beginning {
  readonly program: PreparedProgram
  readonly exclusions: StandingExclusions
}

/** All variants of one program; those of routes that nobody asks for are never prepared. */
export class TunedProgram {
  readonly #program: Program
  /** Shared by all variants but those with arguments of their own. */
  readonly #plain: PreparedProgram
  readonly #rules: readonly Rule[]
  readonly #variants = new Map<number, PreparedProgram>()
  readonly #exclusions = new Map<number, PreparedExclusions>()

  constructor(program: Program) {
    this.#program = program
    this.#plain = prepareUnfolded(program)
    this.#rules = rulesOf(program)
    this.#variant(program.tunings?.[0]?.variant ?? 0)
  }

  /** What a request of this tuning begins with. */
  begin(tuning: number, request: RequestScope): Beginning {
    const chosen = this.#program.tunings?.[tuning]
    const program = this.#variant(chosen?.variant ?? 0)
    if (chosen === undefined || chosen.exclusions.length === 0) {
      return { program, exclusions: noExclusions }
    }
    let exclusions = this.#exclusions.get(tuning)
    if (exclusions === undefined) {
      exclusions = new PreparedExclusions(chosen.exclusions, this.#rules)
      this.#exclusions.set(tuning, exclusions)
    }
    return { program, exclusions: exclusions.for(request) }
  }

  #variant(index: number): PreparedProgram {
    const known = this.#variants.get(index)
    if (known !== undefined) return known
    const variant = this.#program.variants?.[index]
    const prepared =
      variant === undefined
        ? specialize(this.#plain)
        : prepareVariant(this.#program, variant, this.#plain)
    this.#variants.set(index, prepared)
    return prepared
  }
}

/** One variant, over the program's own rules made ready. */
export function prepareVariant(
  program: Program,
  variant: ProgramVariant,
  plain: PreparedProgram,
): PreparedProgram {
  const { settings, phases, plan } = variant
  const base = phases === undefined ? plain : prepareUnfolded({ ...program, phases })
  const set = settings === null ? base : replaceRule(base, settings)
  const without = { absent: new Set(variant.absent), doubtful: new Set(variant.doubtful) }
  return specialize({ ...set, plan }, without)
}

/** Every rule of a program. */
export function rulesOf({ phases }: Pick<Program, 'phases'>): Rule[] {
  const isRule = (item: ProgramRule | string): item is ProgramRule => typeof item !== 'string'
  return phases.flatMap((items) => items.filter(isRule).map(({ rule }) => rule))
}
