/** `"id:1,phase:2,setvar:'tx.a=+1',t:none"` → actions, each known and well formed. */
import type { Action } from '../rule.ts'
import { checkCtl } from './ctl.ts'
import { placed, type Report } from './faults.ts'
import { readQuoted } from './lexer.ts'
import { phaseOf, severityOf } from './phases.ts'
import {
  checkDeprecatevar,
  checkExpirevar,
  checkInitcol,
  checkSetenv,
  checkSetvar,
} from './setvar.ts'
import { transformationName } from './transformations.ts'

type Check = (argument: string, report: Report) => void

interface ActionKind {
  /**
   * `disruptive`: what happens to the exchange; `rule`: says something of the whole rule;
   * `flow`: order and logging; `run`: runs when its link matches; `mark`: how its link is tested.
   */
  readonly group: 'disruptive' | 'rule' | 'flow' | 'run' | 'mark'
  readonly argument: 'none' | 'required' | 'optional'
  readonly check?: Check
}

const flag = { group: 'flow', argument: 'none' } as const
const mark = { group: 'mark', argument: 'none' } as const
const stop = { group: 'disruptive', argument: 'none' } as const
const about = { group: 'rule', argument: 'required' } as const
const run = { group: 'run', argument: 'required' } as const

const kinds: ReadonlyMap<string, ActionKind> = new Map<string, ActionKind>([
  ['accuracy', about],
  ['allow', { group: 'disruptive', argument: 'optional', check: checkAllow }],
  ['auditlog', flag],
  ['block', stop],
  ['capture', mark],
  ['chain', flag],
  ['ctl', { ...run, check: checkCtl }],
  ['deny', stop],
  ['deprecatevar', { ...run, check: checkDeprecatevar }],
  ['drop', stop],
  ['expirevar', { ...run, check: checkExpirevar }],
  ['id', { ...about, check: checkId }],
  ['initcol', { ...run, check: checkInitcol }],
  ['log', flag],
  ['logdata', about],
  ['maturity', about],
  ['msg', about],
  ['multimatch', mark],
  ['noauditlog', flag],
  ['nolog', flag],
  ['pass', stop],
  ['pause', about],
  ['phase', { ...about, check: checkPhase }],
  ['redirect', { group: 'disruptive', argument: 'required' }],
  ['rev', about],
  ['sanitisearg', run],
  ['sanitisematched', { group: 'run', argument: 'none' }],
  ['sanitisematchedbytes', { group: 'run', argument: 'optional' }],
  ['sanitiserequestheader', run],
  ['sanitiseresponseheader', run],
  ['setenv', { ...run, check: checkSetenv }],
  ['setrsc', run],
  ['setsid', run],
  ['setuid', run],
  ['setvar', { ...run, check: checkSetvar }],
  ['severity', { ...about, check: checkSeverity }],
  ['skip', { group: 'flow', argument: 'required', check: checkSkip }],
  ['skipafter', { group: 'flow', argument: 'required' }],
  ['status', { ...about, check: checkStatus }],
  ['t', { group: 'mark', argument: 'required', check: checkTransformation }],
  ['tag', about],
  ['ver', about],
  ['xmlns', about],
])

const refused: ReadonlyMap<string, string> = new Map([
  ['append', 'remove it; bodies are never rewritten'],
  ['exec', 'remove it; no program is run for a request'],
  ['prepend', 'remove it; bodies are never rewritten'],
  ['proxy', 'use redirect or deny'],
])

/** The group of a known action; `rule` for others, which the parser has refused already. */
export function groupOf(name: string): ActionKind['group'] {
  return kinds.get(name)?.group ?? 'rule'
}

/** Reads a comma-separated list. Faulty actions are reported and left out. */
export function parseActions(text: string, report: Report): Action[] {
  const actions: Action[] = []
  let at = 0
  while (at < text.length) {
    const { written, argument, end } = readAction(text, at)
    const begin = at + (/^\s*/.exec(text.slice(at, end))?.[0].length ?? 0)
    at = end
    if (written === '' && argument === null) continue
    const action = knownAction(written, argument, placed(report, begin))
    if (action !== null) actions.push(action)
  }
  return actions
}

interface Piece {
  readonly written: string
  /** Null when there is no colon. */
  readonly argument: string | null
  readonly end: number
}

function readAction(text: string, start: number): Piece {
  const written = /[^:,]*/y
  written.lastIndex = start
  const name = written.exec(text)?.[0] ?? ''
  const colon = start + name.length
  if (text.charAt(colon) !== ':') return { written: name.trim(), argument: null, end: colon + 1 }
  let at = colon + 1
  while (/\s/.test(text.charAt(at))) at += 1
  const quoted = text.charAt(at) === "'" ? readQuoted(text, at) : null
  const after = quoted?.end ?? at
  const comma = text.indexOf(',', after)
  const end = comma < 0 ? text.length : comma
  const argument = quoted === null ? text.slice(at, end).trim() : quoted.text
  // What stands between the closing quote and the comma belongs to neither, so it must be seen.
  const rest = quoted === null ? '' : text.slice(after, end).trim()
  return { written: name.trim(), argument: argument + rest, end: end + 1 }
}

function knownAction(written: string, argument: string | null, report: Report): Action | null {
  const name = written.toLowerCase().replace(/^sanitize/, 'sanitise')
  const kind = kinds.get(name)
  if (kind === undefined) {
    const mend = refused.get(name)
    if (mend !== undefined) report(`action ${written} is not supported`, mend)
    else report(`unknown action "${written}"`, "check its spelling; quote texts with '…'")
    return null
  }
  if (kind.argument === 'none' && argument !== null) {
    report(`action ${written} takes no argument`, `write ${written} alone`)
    return null
  }
  if (kind.argument === 'required' && (argument === null || argument === '')) {
    // An empty text is a text: `msg:''`, `rev:''`.
    if (argument === null || kind.check !== undefined) {
      report(`action ${written} has no argument`, `write ${written}:…`)
      return null
    }
  }
  kind.check?.(argument ?? '', report)
  return { name, argument: argument ?? '' }
}

function checkAllow(argument: string, report: Report): void {
  if (['', 'phase', 'request'].includes(argument.toLowerCase())) return
  report(`allow:${argument}: unknown scope`, 'write allow, allow:phase or allow:request')
}

function checkId(argument: string, report: Report): void {
  const id = Number(argument)
  if (/^\d+$/.test(argument) && id > 0 && Number.isSafeInteger(id)) return
  report(`id "${argument}" is not a positive number`, 'write id:100001 or another free number')
}

function checkPhase(argument: string, report: Report): void {
  if (phaseOf(argument) !== null) return
  report(`unknown phase "${argument}"`, 'write 1 to 5, request, response or logging')
}

function checkSeverity(argument: string, report: Report): void {
  if (severityOf(argument) !== null) return
  report(`unknown severity "${argument}"`, 'write 0 to 7 or a name such as CRITICAL')
}

function checkSkip(argument: string, report: Report): void {
  if (/^[1-9]\d*$/.test(argument)) return
  report(`skip:${argument}: not a number of rules`, 'write skip:1 or more')
}

function checkStatus(argument: string, report: Report): void {
  const status = Number(argument)
  if (/^\d{3}$/.test(argument) && status >= 200 && status <= 599) return
  report(`status:${argument}: not a final HTTP status`, 'write a status from 200 to 599')
}

function checkTransformation(argument: string, report: Report): void {
  if (transformationName(argument) !== null) return
  report(`unknown transformation "${argument}"`, 'check its spelling')
}
