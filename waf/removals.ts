/** Which rules some `ctl:` of a ruleset may take out, or blind to a target, while it runs. */
import { removableById, rulesByMsg, rulesByTag } from './exclusions.ts'
import type { Action, Rule } from './rule.ts'

/** Says whether a rule is meant. */
export type RuleTest = (rule: Rule) => boolean

const selectors: Readonly<Record<string, (text: string) => RuleTest>> = {
  ruleremovebyid: removableById,
  ruleremovebytag: rulesByTag,
  ruleremovebymsg: rulesByMsg,
  ruleremovetargetbyid: removableById,
  ruleremovetargetbytag: rulesByTag,
  ruleremovetargetbymsg: rulesByMsg,
}

/**
 * One test for each `ctl:ruleRemove…` among the actions that may change what a rule does which
 * reads only TX.
 */
export function removalsOf(actions: readonly Action[]): RuleTest[] {
  return actions.flatMap(({ name, argument }) => {
    const [option = '', value = ''] = argument.split(/=(.*)/s)
    const select = name === 'ctl' ? selectors[option.trim().toLowerCase()] : undefined
    const [chosen = '', targets] = value.split(/;(.*)/s)
    if (select === undefined || (targets !== undefined && !hidesTx(targets))) return []
    return [select(chosen.trim())]
  })
}

/** True when a list of targets names TX. */
export function hidesTx(targets: string): boolean {
  return /(?:^|[|,])\s*TX(?:\s*$|\s*[:|,])/i.test(targets)
}
