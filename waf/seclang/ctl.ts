/** What `ctl:` may say: checked at load, so that the evaluator need not doubt it. */
import type { Report } from './faults.ts'
import { parseTargets } from './targets.ts'

type Check = (value: string, report: Report) => void

const engine = oneOf('On', 'Off', 'DetectionOnly')
const onOff = oneOf('On', 'Off')

/** By lower-case option name. */
const options: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['auditengine', oneOf('On', 'Off', 'RelevantOnly')],
  ['auditlogparts', matching(/^[+-]?[A-Z]+$/i, 'write +E, -E or a list of letters')],
  ['debugloglevel', matching(/^\d$/, 'write 0 to 9')],
  ['forcerequestbodyvariable', onOff],
  ['hashenforcement', oneOf('Off')],
  ['hashengine', oneOf('Off')],
  ['parsexmlintoargs', oneOf('Off')],
  ['requestbodyaccess', onOff],
  ['requestbodylimit', matching(/^\d+$/, 'write a number of bytes')],
  ['requestbodyprocessor', oneOf('URLENCODED', 'MULTIPART', 'JSON', 'XML')],
  ['responsebodyaccess', onOff],
  ['responsebodylimit', matching(/^\d+$/, 'write a number of bytes')],
  ['responsebodyprocessor', oneOf('JSON', 'XML')],
  ['ruleengine', engine],
  ['ruleremovebyid', matching(/^\d+(?:\s*-\s*\d+)?$/, 'write an id or a range such as 10-19')],
  ['ruleremovebymsg', present],
  ['ruleremovebytag', present],
  ['ruleremovetargetbyid', target(/^\d+(?:\s*-\s*\d+)?$/)],
  ['ruleremovetargetbymsg', target(/./)],
  ['ruleremovetargetbytag', target(/./)],
])

/** Checks `option=value`. */
export function checkCtl(argument: string, report: Report): void {
  const parts = /^\s*(\w+)\s*=\s*(.*)$/s.exec(argument)
  const option = parts?.[1] ?? argument
  const check = options.get(option.toLowerCase())
  if (check === undefined) {
    report(`unknown ctl option "${option}"`, 'write ctl:option=value with a documented option')
    return
  }
  check(parts?.[2] ?? '', (message, mend) => report(`ctl:${option}: ${message}`, mend))
}

function oneOf(...values: readonly string[]): Check {
  return (value, report) => {
    const known = values.some((one) => one.toLowerCase() === value.toLowerCase())
    if (!known) report(`"${value}" is no value`, `write ${values.join(', ')}`)
  }
}

function matching(pattern: RegExp, mend: string): Check {
  return (value, report) => {
    if (!pattern.test(value)) report(`"${value}" is no value`, mend)
  }
}

function present(value: string, report: Report): void {
  if (value === '') report('the value is missing', 'name what to remove')
}

/** `which;TARGET`. */
function target(which: RegExp): Check {
  return (value, report) => {
    const cut = value.indexOf(';')
    const selected = value.slice(0, Math.max(cut, 0)).trim()
    if (!which.test(selected)) report(`"${value}" is no value`, 'write rule;VARIABLE:name')
    else parseTargets(value.slice(cut + 1), report)
  }
}
