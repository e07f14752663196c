/**
 * What rules that are kept saw and set, noted while they run: references and a few numbers, so that
 * a clean request pays nothing and an attack next to nothing. `evidence.ts` makes it readable.
 */
import type { Macro } from '../macro.ts'
import { compileMacro } from '../macro.ts'
import { parseAssignment } from '../actions/assignment.ts'
import type { Rule } from '../rule.ts'
import type { Transaction } from '../transaction.ts'

/** What to note of a rule, known at load; null for one whose matches are not kept. */
export interface NotePlan {
  /** The members of TX that its setvar actions change. */
  readonly counters: readonly Macro[]
}

/** A value that a link accepted. */
export interface NotedValue {
  readonly variable: string
  readonly name: string | null
  /** The text that the operator saw. */
  readonly value: string
  /** The leaf that matched; absent where none was asked. */
  readonly leaf?: number
  /** The text before transformations, when only reasoning knew it. */
  readonly source?: string
  /** Groups of a link that captures. */
  readonly captures?: readonly (string | null)[]
}

/** What one link of the rule accepted, the first values of it. */
export interface NotedLink {
  /** Its place in the chain. */
  readonly index: number
  /** The operator's argument, expanded. */
  readonly argument: string
  readonly values: readonly NotedValue[]
  readonly valuesLeftOut: number
}

/** One member of TX before and after the rule; '' when it was not there. */
export interface Change {
  readonly name: string
  readonly before: string
  readonly after: string
}

/** The notes on one match. */
export interface Notes {
  readonly links: readonly NotedLink[]
  readonly changes: readonly Change[]
}

/** A link as the notes need it. */
interface Noting {
  readonly argument: Macro
}

/** A rule as the notes need it. */
interface NotedRule {
  readonly links: readonly Noting[]
  readonly notes: NotePlan | null
}

interface Draft {
  readonly noting: Noting
  readonly argument: string
  readonly values: NotedValue[]
  valuesLeftOut: number
}

/** Values noted for each link: one rule may match every argument of a request. */
export const notedValuesMax = 16

/** Null for a rule whose matches nobody will be told of. */
export function notePlan(rule: Rule): NotePlan | null {
  const stops = rule.disruptive !== 'pass' && rule.disruptive !== 'allow'
  if (!rule.log && !rule.auditLog && !stops) return null
  const sets = rule.links
    .flatMap((link) => link.actions)
    .filter(({ name }) => name === 'setvar')
    .map(({ argument }) => parseAssignment(argument.replace(/^!\s*/, '')))
    .filter(({ collection }) => collection === 'tx')
  const counters = new Map(sets.map(({ name }) => [name.constant ?? name, name]))
  return { counters: [...counters.values()].map(lowerCase) }
}

/** TX is keyed in lower case. */
function lowerCase(name: Macro): Macro {
  if (name.constant !== null) return compileMacro(name.constant.toLowerCase())
  return { constant: null, expand: (transaction) => name.expand(transaction).toLowerCase() }
}

/** The notes of one transaction; made by the first match of a kept rule. */
export class Trail {
  readonly #transaction: Transaction
  #rule: NotedRule | null = null
  #links: Draft[] = []
  #before: readonly (readonly [name: string, value: string])[] = []

  constructor(transaction: Transaction) {
    this.#transaction = transaction
  }

  /** A link accepts a value, and its setvar actions are yet to run. Null: a SecAction. */
  accept(rule: NotedRule, noting: Noting, value: NotedValue | null): void {
    if (this.#rule !== rule) this.#begin(rule)
    let draft = this.#links.at(-1)
    if (draft?.noting !== noting) {
      const argument = noting.argument.expand(this.#transaction)
      draft = { noting, argument, values: [], valuesLeftOut: 0 }
      this.#links.push(draft)
    }
    if (value === null) return
    if (draft.values.length < notedValuesMax) draft.values.push(value)
    else draft.valuesLeftOut += 1
  }

  /** The whole rule matched: what was noted of it. */
  settle(rule: NotedRule): Notes | null {
    if (this.#rule !== rule) return null
    const { tx } = this.#transaction
    const changes = this.#before.map(([name, before]) => ({
      name: `tx.${name}`,
      before,
      after: tx.get(name) ?? '',
    }))
    const links = this.#links.map(({ noting, argument, values, valuesLeftOut }) => ({
      index: rule.links.indexOf(noting),
      argument,
      values,
      valuesLeftOut,
    }))
    this.#rule = null
    return { links, changes }
  }

  /** What a chain noted that failed further on is forgotten here. */
  #begin(rule: NotedRule): void {
    const { tx } = this.#transaction
    this.#rule = rule
    this.#links = []
    this.#before = (rule.notes?.counters ?? []).map((counter) => {
      const name = counter.expand(this.#transaction)
      return [name, tx.get(name) ?? '']
    })
  }
}
