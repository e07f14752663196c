/** Every action that does something while rules run, one line each. */
import type { ActionFactory } from './action.ts'
import { deprecatevar, expirevar, initcol, setrsc, setsid, setuid } from './collections.ts'
import { ctl } from './ctl.ts'
import { setvar } from './setvar.ts'

export type { RunAction } from './action.ts'

/** Understood and without effect: rules have no environment, and nothing is written elsewhere. */
const withoutEffect: ActionFactory = () => () => undefined

/** When an action runs: for each value that matched, or once when the whole rule did. */
export interface ActionKind {
  readonly when: 'value' | 'rule'
  readonly make: ActionFactory
}

/** By lower-case name. */
export const actions: Readonly<Record<string, ActionKind>> = {
  // ModSecurity v3: setvar runs for every matching value, even in a chain that fails further on.
  setvar: { when: 'value', make: setvar },
  ctl: { when: 'rule', make: ctl },
  // In the order written, with setvar: `initcol:ip=…,setvar:ip.n=+1` counts in what it opened.
  initcol: { when: 'value', make: initcol },
  setsid: { when: 'value', make: setsid },
  setuid: { when: 'value', make: setuid },
  setrsc: { when: 'value', make: setrsc },
  expirevar: { when: 'rule', make: expirevar },
  deprecatevar: { when: 'rule', make: deprecatevar },
  setenv: { when: 'rule', make: withoutEffect },
  sanitisearg: { when: 'rule', make: withoutEffect },
  sanitisematched: { when: 'rule', make: withoutEffect },
  sanitisematchedbytes: { when: 'rule', make: withoutEffect },
  sanitiserequestheader: { when: 'rule', make: withoutEffect },
  sanitiseresponseheader: { when: 'rule', make: withoutEffect },
  xmlns: { when: 'rule', make: withoutEffect },
}
