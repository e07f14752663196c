/** A rule while files are read: actions as written, so that later directives may still amend it. */
import type { Action, Disruptive, Link, Rule, Source } from '../rule.ts'
import type { Target } from '../scan-plan.ts'
import { groupOf } from './actions.ts'
import type { OperatorUse } from './operators.ts'
import { phaseOf, severityOf } from './phases.ts'
import { chainOf } from './transformations.ts'

/** `SecDefaultAction`, by phase. Replaced, never changed: a rule keeps what held at its place. */
export type DefaultActions = ReadonlyMap<number, readonly Action[]>

/** One link with its actions as written. */
export interface LinkDraft {
  readonly source: Source
  readonly targets: readonly Target[]
  readonly use: OperatorUse
  readonly actions: readonly Action[]
}

/** One rule with all its links. */
export interface RuleDraft {
  readonly kind: 'rule'
  readonly id: number
  readonly source: Source
  readonly defaults: DefaultActions
  /** The head first. */
  readonly links: readonly LinkDraft[]
}

/** What holds for a phase without `SecDefaultAction`, as ModSecurity's manual has it. */
const builtInDefaults: readonly Action[] = [
  { name: 'log', argument: '' },
  { name: 'auditlog', argument: '' },
  { name: 'pass', argument: '' },
]

const DENY_STATUS = 403
const REDIRECT_STATUS = 302

/** The action's argument as written last, or null when it is absent. */
export function lastArgument(actions: readonly Action[], name: string): string | null {
  return actions.findLast((action) => action.name === name)?.argument ?? null
}

/** The disruptive action that wins: the last one. */
export function disruptiveOf(actions: readonly Action[]): Action | null {
  return actions.findLast((action) => groupOf(action.name) === 'disruptive') ?? null
}

/** Resolves defaults, `block`, names for numbers: what the compiler and the evaluator use. */
export function finishRule(draft: RuleDraft): Rule {
  const own = draft.links[0]?.actions ?? []
  const phase = phaseOf(lastArgument(own, 'phase') ?? '') ?? 2
  const inherited = (draft.defaults.get(phase) ?? builtInDefaults).filter(
    (action) => action.name !== 'phase',
  )
  const all = [...inherited, ...own]
  // A link may bring msg or logdata of its own; the head's come first.
  const everywhere = [...draft.links.slice(1).flatMap((link) => link.actions), ...all]
  const text = (name: string): string => lastArgument(everywhere, name) ?? ''
  const severity = lastArgument(everywhere, 'severity')
  return {
    kind: 'rule',
    id: draft.id,
    phase,
    source: draft.source,
    links: draft.links.map((link, index) => finishLink(link, inherited, index === 0)),
    ...disruption(own, inherited),
    ...logging(all),
    msg: text('msg'),
    logdata: text('logdata'),
    severity: severity === null ? null : severityOf(severity),
    tags: all.filter((action) => action.name === 'tag').map((action) => action.argument),
    ver: text('ver'),
    rev: text('rev'),
    maturity: text('maturity'),
    accuracy: text('accuracy'),
    skip: Number(lastArgument(own, 'skip') ?? 0),
    skipAfter: lastArgument(own, 'skipafter') ?? '',
  }
}

function finishLink(link: LinkDraft, inherited: readonly Action[], head: boolean): Link {
  const all = [...inherited, ...link.actions]
  const chain = all.filter((action) => action.name === 't').map((action) => action.argument)
  const runs = head ? all : link.actions
  return {
    source: link.source,
    targets: link.targets,
    ...link.use,
    transformations: chainOf(chain),
    multiMatch: all.some((action) => action.name === 'multimatch'),
    capture: all.some((action) => action.name === 'capture'),
    actions: runs.filter((one) => groupOf(one.name) === 'run' || one.name === 'logdata'),
  }
}

function disruption(
  own: readonly Action[],
  inherited: readonly Action[],
): Pick<Rule, 'disruptive' | 'status' | 'disruptiveArgument'> {
  const written = disruptiveOf(own)
  const fallback = disruptiveOf(inherited)
  const chosen = written === null || written.name === 'block' ? fallback : written
  const disruptive = disruptiveName(chosen?.name ?? 'pass')
  const status = Number(lastArgument([...inherited, ...own], 'status') ?? DENY_STATUS)
  const redirects = disruptive === 'redirect' && (status < 300 || status > 399)
  return {
    disruptive,
    status: redirects ? REDIRECT_STATUS : status,
    disruptiveArgument:
      disruptive === 'allow' ? (chosen?.argument ?? '').toLowerCase() : (chosen?.argument ?? ''),
  }
}

const disruptiveNames = ['pass', 'deny', 'drop', 'redirect', 'allow', 'block', 'proxy'] as const

function disruptiveName(name: string): Disruptive {
  return disruptiveNames.find((one) => one === name) ?? 'pass'
}

/** `nolog` takes the audit log along unless `auditlog` says otherwise. */
function logging(actions: readonly Action[]): Pick<Rule, 'log' | 'auditLog'> {
  let log = true
  let auditLog = true
  for (const action of actions) {
    if (action.name === 'log') log = true
    if (action.name === 'nolog') log = false
    if (action.name === 'log' || action.name === 'auditlog') auditLog = true
    if (action.name === 'nolog' || action.name === 'noauditlog') auditLog = false
  }
  return { log, auditLog }
}
