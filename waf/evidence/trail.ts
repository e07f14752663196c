/**
 * What rules that are kept saw and set, noted while they run: references and a few numbers, so that
 * a clean request pays nothing and an attack next to nothing. `evidence.ts` makes it readable.
 */
import type { Macro } from '../macro.ts'
import { compileMacro } from '../macro.ts'
import { parseAssignment } from '../actions/assignment.ts'
import type { Link, Rule } from '../rule.ts'
import type { Transaction } from '../transaction.ts'

/** What to note of a rule, known at load; null for one whose matches are not kept. */
export interface NotePlan {
  /** The members of TX that its setvar actions change. */
  readonly counters: readonly Macro[]
  /** Their names, where no macro is among them. */
  readonly names: readonly string[] | null
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
  readonly link: Link
  /** The operator's argument, expanded. */
  readonly argument: string
  readonly values: readonly NotedValue[]
  readonly valuesLeftOut: number
}

/** The notes on one match: the members of TX that it set, by place; '' where there was none. */
export interface Notes {
  readonly links: readonly NotedLink[]
  readonly names: readonly string[]
  readonly before: readonly string[]
  readonly after: readonly string[]
}

/** One member of TX before and after a rule. */
export interface Change {
  readonly name: string
  readonly before: string
  readonly after: string
}

/** A link as the notes need it. */
interface Noting {
  readonly link: Link
  readonly argument: Macro
}

/** A rule as the notes need it. */
interface NotedRule {
  readonly notes: NotePlan | null
}

interface Draft extends NotedLink {
  readonly values: NotedValue[]
  valuesLeftOut: number
}

const none: readonly string[] = []

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
  const unique = new Map(sets.map(({ name }) => [name.constant ?? name, name]))
  const counters = [...unique.values()].map(lowerCase)
  const names = counters.map(({ constant }) => constant).filter((name) => name !== null)
  return { counters, names: names.length === counters.length ? names : null }
}

/** What the rule set, as pairs. */
export function changesOf({ names, before, after }: Notes): Change[] {
  return names.map((name, index) => ({
    name: `tx.${name}`,
    before: before[index] ?? '',
    after: after[index] ?? '',
  }))
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
  #names: readonly string[] = none
  #before: readonly string[] = none

  constructor(transaction: Transaction) {
    this.#transaction = transaction
  }

  /** A link accepts a value, and its setvar actions are yet to run. Null: a SecAction. */
  accept(rule: NotedRule, noting: Noting, value: NotedValue | null): void {
    if (this.#rule !== rule) this.#begin(rule)
    let draft = this.#links.at(-1)
    if (draft?.link !== noting.link) {
      const argument = noting.argument.constant ?? noting.argument.expand(this.#transaction)
      draft = { link: noting.link, argument, values: [], valuesLeftOut: 0 }
      this.#links.push(draft)
    }
    if (value === null) return
    if (draft.values.length < notedValuesMax) draft.values.push(value)
    else draft.valuesLeftOut += 1
  }

  /** The whole rule matched: what was noted of it. */
  settle(rule: NotedRule): Notes | null {
    if (this.#rule !== rule) return null
    this.#rule = null
    const names = this.#names
    return { links: this.#links, names, before: this.#before, after: this.#read(names) }
  }

  /** What a chain noted that failed further on is forgotten here. */
  #begin(rule: NotedRule): void {
    this.#rule = rule
    this.#links = []
    const { names = none, counters = [] } = rule.notes ?? {}
    this.#names = names ?? counters.map((counter) => counter.expand(this.#transaction))
    this.#before = this.#read(this.#names)
  }

  #read(names: readonly string[]): readonly string[] {
    if (names.length === 0) return none
    const { tx } = this.#transaction
    return names.map((name) => tx.get(name) ?? '')
  }
}
