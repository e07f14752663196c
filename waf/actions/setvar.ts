/** `setvar:tx.score=+%{tx.critical}`, `setvar:tx.seen`, `setvar:!tx.seen`. */
import { compileMacro } from '../macro.ts'
import { toNumber } from '../number.ts'
import type { ActionFactory, RunAction } from './action.ts'
import { collectionOf, parseAssignment } from './assignment.ts'

/** Sets, counts up or down, or removes. A collection that was never opened is left alone. */
export const setvar: ActionFactory = (argument) => {
  const removes = argument.startsWith('!')
  const { collection, name, value } = parseAssignment(removes ? argument.slice(1).trim() : argument)
  const change = (apply: (members: Map<string, string>, key: string) => void): RunAction => {
    const key = name.constant?.toLowerCase() ?? null
    return (transaction) => {
      const members = collectionOf(transaction, collection)
      if (members === undefined) return
      apply(members, key ?? name.expand(transaction).toLowerCase())
    }
  }
  if (removes) return change((members, key) => void members.delete(key))
  const sign = value?.[0]
  if (value !== null && (sign === '+' || sign === '-')) return count(argument, value)
  const text = compileMacro(value ?? '1')
  if (text.constant !== null) {
    const { constant } = text
    return change((members, key) => void members.set(key, constant))
  }
  return (transaction) => {
    const members = collectionOf(transaction, collection)
    if (members === undefined) return
    members.set(name.expand(transaction).toLowerCase(), text.expand(transaction))
  }
}

function count(argument: string, value: string): RunAction {
  const { collection, name } = parseAssignment(argument)
  const amount = compileMacro(value.slice(1))
  const sign = value.startsWith('-') ? -1 : 1
  return (transaction) => {
    const members = collectionOf(transaction, collection)
    if (members === undefined) return
    const key = name.expand(transaction).toLowerCase()
    const next = toNumber(members.get(key) ?? '') + sign * toNumber(amount.expand(transaction))
    members.set(key, String(next))
  }
}
