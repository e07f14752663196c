/**
 * `initcol:ip=%{REMOTE_ADDR}`, `setsid`, `setuid`, `setrsc`, `expirevar`, `deprecatevar`, and
 * setvar on what these opened. What was never opened is left alone, as in ModSecurity 2; in version
 * 3 it has an empty key then, under which all clients would meet.
 */
import type { CollectionName, OpenCollection } from '../collections/open-collection.ts'
import { compileMacro } from '../macro.ts'
import type { Macro } from '../macro.ts'
import { toNumber } from '../number.ts'
import type { Transaction } from '../transaction.ts'
import type { ActionFactory, RunAction } from './action.ts'
import { parseAssignment } from './assignment.ts'
import type { Assignment } from './assignment.ts'

const openable: ReadonlyMap<string, CollectionName> = new Map([
  ['global', 'GLOBAL'],
  ['ip', 'IP'],
  ['session', 'SESSION'],
  ['user', 'USER'],
  ['resource', 'RESOURCE'],
])

/** `initcol:ip=%{REMOTE_ADDR}`: opens a collection under a key. */
export const initcol: ActionFactory = (argument) => {
  const at = argument.indexOf('=')
  const written = argument.slice(0, Math.max(at, 0)).trim().toLowerCase()
  const collection = openable.get(written)
  if (collection === undefined) {
    throw new Error(`"${argument}": expected one of ${[...openable.keys()].join(', ')}, then =key`)
  }
  const key = compileMacro(argument.slice(at + 1))
  return (transaction) => transaction.openCollection(collection, key.expand(transaction))
}

/** `setsid:%{REQUEST_COOKIES.session}`: names the session and opens SESSION. */
export const setsid: ActionFactory = (argument) => {
  const key = compileMacro(argument)
  return (transaction) => {
    transaction.sessionId = key.expand(transaction)
    transaction.openCollection('SESSION', transaction.sessionId)
  }
}

/** `setuid:%{ARGS.user}`: names the user and opens USER. */
export const setuid: ActionFactory = (argument) => {
  const key = compileMacro(argument)
  return (transaction) => {
    transaction.userId = key.expand(transaction)
    transaction.openCollection('USER', transaction.userId)
  }
}

/** `setrsc:%{REQUEST_FILENAME}`: opens RESOURCE. */
export const setrsc: ActionFactory = (argument) => {
  const key = compileMacro(argument)
  return (transaction) => transaction.openCollection('RESOURCE', key.expand(transaction))
}

/** `setvar:ip.count=+1` and its other forms: one step in the store, whoever else counts. */
export function setMember(assignment: Assignment, removes: boolean): RunAction {
  const { value } = assignment
  if (removes) return change(assignment, (members, name) => members.remove(name))
  const sign = value?.[0]
  if (value === null || (sign !== '+' && sign !== '-')) {
    const text = compileMacro(value ?? '1')
    return change(assignment, (members, name, transaction) =>
      members.set(name, text.expand(transaction)),
    )
  }
  const amount = compileMacro(value.slice(1))
  const direction = sign === '-' ? -1 : 1
  return change(assignment, (members, name, transaction) =>
    members.add(name, direction * toNumber(amount.expand(transaction))),
  )
}

/** `expirevar:ip.blocked=600`: seconds from now. As in ModSecurity 3, no number changes nothing. */
export const expirevar: ActionFactory = (argument) => {
  const assignment = parseAssignment(argument)
  const seconds = compileMacro(assignment.value ?? '0')
  // TX ends with its transaction, long before any second is over.
  if (assignment.collection === 'tx') return () => undefined
  return change(assignment, (members, name, transaction) => {
    const text = seconds.expand(transaction)
    if (/^\d+$/.test(text)) members.expire(name, toNumber(text))
  })
}

/**
 * `deprecatevar:ip.score=60/300`: 60 less for every 300 seconds since the collection was updated
 * last. ModSecurity 3 refuses the action at load; this is what version 2 does.
 */
export const deprecatevar: ActionFactory = (argument) => {
  const assignment = parseAssignment(argument)
  const [, amount, seconds] = /^(\d+)\/([1-9]\d*)$/.exec(assignment.value ?? '') ?? []
  if (amount === undefined || seconds === undefined || assignment.collection === 'tx') {
    throw new Error(`"${argument}": expected a persistent variable=amount/seconds`)
  }
  const rate = { amount: toNumber(amount), seconds: toNumber(seconds) }
  return change(assignment, (members, name) => members.decay(name, rate))
}

type Apply = (members: OpenCollection, name: string, transaction: Transaction) => void

function change(
  { collection, name }: { collection: string; name: Macro },
  apply: Apply,
): RunAction {
  const opened = openable.get(collection)
  if (opened === undefined) throw new Error(`there is no collection "${collection}"`)
  return (transaction) => {
    const members = transaction.collection(opened)
    if (members !== null) apply(members, name.expand(transaction).toLowerCase(), transaction)
  }
}
