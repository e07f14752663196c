/** Members of TX that rules read and none sets: a name that is misspelt never matches. */
import type { Link, Rule, SecLangFault } from '../rule.ts'
import { setNames } from './set-names.ts'

/** One finding for each name, at the first rule that reads it. */
export function unsetNames(rules: readonly Rule[]): SecLangFault[] {
  const links = rules.flatMap((rule) => rule.links)
  const isSet = setNames(links)
  // A rule that asks whether a name is there knows that it may not be.
  const asked = new Set(links.flatMap(({ targets }) => targets.flatMap(countedName)))
  const told = new Set<string>()
  const faults: SecLangFault[] = []
  for (const link of links) {
    for (const name of readNames(link)) {
      if (told.has(name) || asked.has(name) || isSet(name)) continue
      told.add(name)
      faults.push({
        ...link.source,
        column: 1,
        message: `TX:${name} is read here and set nowhere`,
        mend: 'mend its spelling, or set it with setvar before this rule',
      })
    }
  }
  return faults
}

function countedName({ variable, name, count }: Link['targets'][number]): string[] {
  return variable === 'TX' && count && name !== null ? [name.toLowerCase()] : []
}

function readNames({ targets, argument, actions }: Link): string[] {
  const named = targets.flatMap(({ variable, name, count, exclude }) =>
    variable === 'TX' && name !== null && !count && !exclude ? [name.toLowerCase()] : [],
  )
  const values = actions.filter(({ name }) => name === 'setvar').map((action) => action.argument)
  return [...named, ...[argument, ...values].flatMap(namesInMacros)].filter(isMember)
}

function namesInMacros(text: string): string[] {
  return [...text.matchAll(/%\{tx[.:]([^}]+)\}/gi)].map(([, name = '']) => name.toLowerCase())
}

/** The members 0 to 9 are set by captures. */
function isMember(name: string): boolean {
  return !/^\d$/.test(name)
}
