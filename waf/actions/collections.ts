/**
 * `initcol:ip=%{REMOTE_ADDR}`, `setsid`, `setuid`, `expirevar`. The collections open empty and end
 * with the transaction: the store that the workers share comes with a later issue, so rules that
 * count over requests load and run but never see an earlier request.
 */
import { compileMacro } from '../macro.ts'
import type { Transaction } from '../transaction.ts'
import type { ActionFactory } from './action.ts'
import { parseAssignment } from './assignment.ts'

const openable = new Set(['global', 'ip', 'session', 'user', 'resource'])

/** `initcol:ip=%{REMOTE_ADDR}`: opens a collection under a key. */
export const initcol: ActionFactory = (argument) => {
  const at = argument.indexOf('=')
  const collection = argument.slice(0, Math.max(at, 0)).trim().toLowerCase()
  if (!openable.has(collection)) {
    throw new Error(`"${argument}": expected one of ${[...openable].join(', ')}, then =key`)
  }
  const key = compileMacro(argument.slice(at + 1))
  return (transaction) => open(transaction, collection, key.expand(transaction))
}

/** `setsid:%{REQUEST_COOKIES.session}`: names the session and opens SESSION. */
export const setsid: ActionFactory = (argument) => {
  const key = compileMacro(argument)
  return (transaction) => {
    transaction.sessionId = key.expand(transaction)
    open(transaction, 'session', transaction.sessionId)
  }
}

/** `setuid:%{ARGS.user}`: names the user and opens USER. */
export const setuid: ActionFactory = (argument) => {
  const key = compileMacro(argument)
  return (transaction) => {
    transaction.userId = key.expand(transaction)
    open(transaction, 'user', transaction.userId)
  }
}

/** `expirevar:ip.blocked=600`: checked, and without effect while nothing outlives a transaction. */
export const expirevar: ActionFactory = (argument) => {
  parseAssignment(argument)
  return () => undefined
}

function open(transaction: Transaction, collection: string, key: string): void {
  if (transaction.collections.has(collection)) return
  transaction.collections.set(collection, new Map([['key', key]]))
}
