/** The h1 corpus by class. */
import type { Case } from './case.ts'
import { chunks } from './h1/chunks.ts'
import { connections } from './h1/connections.ts'
import { fields } from './h1/fields.ts'
import { framing } from './h1/framing.ts'
import { startLine } from './h1/start-line.ts'

/** Name and cases of each class. */
export const classes: readonly (readonly [string, readonly Case[]])[] = [
  ['framing', framing],
  ['chunks', chunks],
  ['request lines and targets', startLine],
  ['fields', fields],
  ['connections and limits', connections],
]

/** All of them. */
export const allCases: readonly Case[] = classes.flatMap(([, cases]) => cases)
