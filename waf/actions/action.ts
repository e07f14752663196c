/** What the action files offer the table in `index.ts`. */
import type { Transaction } from '../transaction.ts'

/** An action with its argument understood. */
export type RunAction = (transaction: Transaction) => void

/** Understands an argument; throws an `Error` that says what was expected instead. */
export type ActionFactory = (argument: string) => RunAction
