/** `ctl:option=value`: changes the engine for the rest of this transaction. */
import { withParts } from '../audit-parts.ts'
import { removableById, rulesById, rulesByMsg, rulesByTag, targets } from '../exclusions.ts'
import type { EngineMode, EngineSettings } from '../rule.ts'
import type { ActionFactory, RunAction } from './action.ts'

const none: RunAction = () => undefined
const switches = { on: true, off: false } as const
const engines = { on: 'on', off: 'off', detectiononly: 'detection-only' } as const satisfies Record<
  string,
  EngineMode
>
const audits = { on: 'on', off: 'off', relevantonly: 'relevant-only' } as const satisfies Record<
  string,
  EngineSettings['auditEngine']
>
const processors = new Set(['URLENCODED', 'MULTIPART', 'JSON', 'XML'])

/** Accepted for the sake of existing rule files; each is set elsewhere or has no meaning here. */
const withoutEffect: ActionFactory = () => none

const options: Readonly<Record<string, ActionFactory>> = {
  ruleengine: (value) => {
    const engine = choose(engines, value)
    return (transaction) => transaction.setEngine(engine)
  },
  auditengine: (value) => {
    const audit = choose(audits, value)
    return (transaction) => void (transaction.auditEngine = audit)
  },
  auditlogparts: (value) => (transaction) => {
    transaction.auditLogParts = withParts(transaction.auditLogParts, value)
  },
  requestbodyaccess: (value) => {
    const on = choose(switches, value)
    return (transaction) => transaction.setBodyAccess(on)
  },
  responsebodyaccess: (value) => {
    const on = choose(switches, value)
    return (transaction) => void (transaction.responseBodyAccess = on)
  },
  forcerequestbodyvariable: (value) => {
    const on = choose(switches, value)
    return (transaction) => transaction.setForceBodyVariable(on)
  },
  requestbodyprocessor: (value) => {
    const processor = value.toUpperCase()
    if (!processors.has(processor)) {
      throw new Error(`"${value}": expected one of ${[...processors].join(', ')}`)
    }
    return (transaction) => transaction.setBodyProcessor(processor)
  },
  ruleremovebyid: (value) => removeRules(removableById(value)),
  ruleremovebytag: (value) => removeRules(rulesByTag(value)),
  ruleremovebymsg: (value) => removeRules(rulesByMsg(value)),
  ruleremovetargetbyid: (value) => removeTarget(value, rulesById),
  ruleremovetargetbytag: (value) => removeTarget(value, rulesByTag),
  ruleremovetargetbymsg: (value) => removeTarget(value, rulesByMsg),
  debugloglevel: withoutEffect,
  requestbodylimit: withoutEffect,
  responsebodylimit: withoutEffect,
  responsebodyprocessor: withoutEffect,
  parsexmlintoargs: withoutEffect,
  hashengine: withoutEffect,
  hashenforcement: withoutEffect,
}

/** `ctl:ruleRemoveTargetById=942100;ARGS:password` */
export const ctl: ActionFactory = (argument) => {
  const at = argument.indexOf('=')
  const name = (at < 0 ? argument : argument.slice(0, at)).trim()
  const option = options[name.toLowerCase()]
  if (option === undefined) throw new Error(`no ctl option is named "${name}"`)
  if (at < 0) throw new Error(`ctl:${name} needs a value: ctl:${name}=…`)
  return option(argument.slice(at + 1).trim())
}

type Rules = ReturnType<typeof rulesById>

function removeRules(rules: Rules): RunAction {
  return (transaction) => transaction.exclusions.removeRules(rules)
}

function removeTarget(value: string, rules: (text: string) => Rules): RunAction {
  const at = value.indexOf(';')
  if (at < 0) throw new Error(`"${value}": expected rules;target, such as 942100;ARGS:name`)
  const removed = rules(value.slice(0, at).trim())
  const target = targets(value.slice(at + 1))
  return (transaction) => transaction.exclusions.removeTarget(removed, target)
}

function choose<Choice>(choices: Readonly<Record<string, Choice>>, value: string): Choice {
  const key = value.toLowerCase()
  const choice = Object.hasOwn(choices, key) ? choices[key] : undefined
  if (choice !== undefined) return choice
  throw new Error(`"${value}": expected one of ${Object.keys(choices).join(', ')}`)
}
