/**
 * `%{TX.score}`, `%{MATCHED_VAR}`, `%{REQUEST_HEADERS.host}`… in messages, setvar and operator
 * arguments. Compiled once, when the rules are prepared; an unknown name expands to nothing.
 */
import { readScalar, reasonedVariable } from './variables.ts'
import type { Transaction } from './transaction.ts'

/** A text with its macros found. */
export interface Macro {
  /** The text when it has no macro, else null. */
  readonly constant: string | null
  expand(transaction: Transaction): string
}

type Part = string | ((transaction: Transaction) => string)

const pattern = /%\{([^}]*)\}/g

/** Finds the macros of `text`. */
export function compileMacro(text: string): Macro {
  const parts: Part[] = []
  let end = 0
  for (const found of text.matchAll(pattern)) {
    if (found.index > end) parts.push(text.slice(end, found.index))
    parts.push(resolver(found[1] ?? ''))
    end = found.index + found[0].length
  }
  if (parts.length === 0) return { constant: text, expand: () => text }
  if (end < text.length) parts.push(text.slice(end))
  const [only] = parts
  if (parts.length === 1 && typeof only === 'function') return { constant: null, expand: only }
  return { constant: null, expand: (transaction) => join(parts, transaction) }
}

function join(parts: readonly Part[], transaction: Transaction): string {
  let text = ''
  for (const part of parts) text += typeof part === 'string' ? part : part(transaction)
  return text
}

/** `TX.score` and `TX:score` alike: the first separator ends the variable's name. */
function resolver(expression: string): (transaction: Transaction) => string {
  const at = expression.search(/[.:]/)
  const variable = (at < 0 ? expression : expression.slice(0, at)).trim().toUpperCase()
  const name = at < 0 ? '' : expression.slice(at + 1)
  if (reasonedVariable(variable)) {
    const key = name.toLowerCase()
    return (transaction) => readScalar(transaction, variable, key)
  }
  return (transaction) => {
    const { scanner, facts } = transaction
    return scanner.variable(facts.handle, variable, name)[0]?.value ?? ''
  }
}
