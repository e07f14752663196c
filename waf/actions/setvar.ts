/** `setvar:tx.score=+%{tx.critical}`, `setvar:tx.seen`, `setvar:!tx.seen`. */
import { compileMacro } from '../macro.ts'
import type { Macro } from '../macro.ts'
import { toNumber } from '../number.ts'
import type { Transaction } from '../transaction.ts'
import type { Tx } from '../tx.ts'
import type { ActionFactory, RunAction } from './action.ts'
import { parseAssignment } from './assignment.ts'
import { setMember } from './collections.ts'

/** Sets, counts up or down, or removes: a member of TX here, one that persists in the store. */
export const setvar: ActionFactory = (argument) => {
  const removes = argument.startsWith('!')
  const assignment = parseAssignment(removes ? argument.slice(1).trim() : argument)
  const { collection, name, value } = assignment
  if (collection !== 'tx') return setMember(assignment, removes)
  const change = (
    apply: (members: Tx, key: string, transaction: Transaction) => void,
  ): RunAction => {
    const key = name.constant?.toLowerCase() ?? null
    return (transaction) => {
      apply(transaction.tx, key ?? name.expand(transaction).toLowerCase(), transaction)
    }
  }
  if (removes) return change((members, key) => members.delete(key))
  const sign = value?.[0]
  if (value !== null && (sign === '+' || sign === '-')) return count(name, value)
  const text = compileMacro(value ?? '1')
  if (text.constant !== null) {
    const { constant } = text
    return change((members, key) => members.set(key, constant))
  }
  return change((members, key, transaction) => members.set(key, text.expand(transaction)))
}

function count(name: Macro, value: string): RunAction {
  const amount = compileMacro(value.slice(1))
  const sign = value.startsWith('-') ? -1 : 1
  const constant = name.constant?.toLowerCase() ?? null
  return (transaction) => {
    const members = transaction.tx
    const key = constant ?? name.expand(transaction).toLowerCase()
    const next = toNumber(members.get(key) ?? '') + sign * toNumber(amount.expand(transaction))
    members.set(key, String(next))
  }
}
