/** `ARGS|!ARGS:foo|&REQUEST_HEADERS:/^x-/|XML:/*` → targets. */
import type { Target } from '../scan-plan.ts'
import { placed, type Report } from './faults.ts'
import { readQuoted } from './lexer.ts'
import { variables } from './variables.ts'
import { reasonOf } from '../reason-of.ts'

/** Reads a list of variables, separated by `|` or, as update directives allow, by `,`. */
export function parseTargets(text: string, report: Report): Target[] {
  const targets: Target[] = []
  let at = 0
  while (at < text.length) {
    const piece = readPiece(text, at)
    const target = parseTarget(piece, placed(report, at))
    if (target !== null) targets.push(target)
    at = piece.end + 1
  }
  if (text.trim() === '') report('no variable is named', 'name one, such as ARGS')
  return targets
}

interface Piece {
  /** `&ARGS` of `&ARGS:foo`. */
  readonly head: string
  /** What follows the colon, without quotes; null when there is no colon. */
  readonly selector: string | null
  readonly end: number
}

function readPiece(text: string, start: number): Piece {
  const head = /[^|,:]*/y
  head.lastIndex = start
  const name = head.exec(text)?.[0] ?? ''
  const colon = start + name.length
  if (text.charAt(colon) !== ':') return { head: name.trim(), selector: null, end: colon }
  const quoted = text.charAt(colon + 1) === "'" ? readQuoted(text, colon + 1) : null
  if (quoted !== null) return { head: name.trim(), selector: quoted.text, end: quoted.end }
  // A pattern may hold the separators, so it ends at the slash that a separator follows.
  const selector = isXml(name) ? /[^|]*/y : /\/(?:[^/\\]|\\.|\/(?![|,\s]|$))*\/(?=[|,\s]|$)|[^|,]*/y
  selector.lastIndex = colon + 1
  const found = selector.exec(text)?.[0] ?? ''
  return { head: name.trim(), selector: found.trim(), end: colon + 1 + found.length }
}

function isXml(name: string): boolean {
  return /^[\s!&]*xml$/i.test(name)
}

function parseTarget(piece: Piece, report: Report): Target | null {
  const parts = /^([!&]?)\s*(\w+)$/.exec(piece.head)
  const variable = parts?.[2]?.toUpperCase() ?? ''
  const kind = variables.get(variable)
  if (kind === undefined) {
    const shown = piece.head === '' ? 'an empty name' : `"${piece.head}"`
    report(`unknown variable ${shown}`, 'see the variables in the reference; list them with |')
    return null
  }
  const prefix = parts?.[1] ?? ''
  const common = { variable, count: prefix === '&', exclude: prefix === '!' }
  const selector = piece.selector
  if (selector === null) return { ...common, name: null, namePattern: null }
  if (!kind.collection || selector === '') {
    const why = kind.collection ? 'the name after the colon is missing' : 'it has no members'
    report(`${variable}:${selector}: ${why}`, `write ${variable}`)
    return null
  }
  const pattern = isXml(variable) ? null : (/^\/(.*)\/$/s.exec(selector)?.[1] ?? null)
  if (pattern !== null && !checkPattern(pattern, report)) return null
  return { ...common, name: pattern === null ? selector : null, namePattern: pattern }
}

/** Refuses what is no regular expression in any dialect; the addon judges what it compiles. */
function checkPattern(pattern: string, report: Report): boolean {
  try {
    void new RegExp(pattern.replace(/^\(\?[a-z]+\)/, ''))
    return true
  } catch (error) {
    report(`bad pattern for names: ${reasonOf(error)}`, 'mend the regular expression in /…/')
    return false
  }
}

/** True when both name the same members, whatever `!` says. */
export function sameTarget(a: Target, b: Target): boolean {
  return (
    a.variable === b.variable &&
    a.count === b.count &&
    a.namePattern === b.namePattern &&
    a.name?.toLowerCase() === b.name?.toLowerCase()
  )
}
