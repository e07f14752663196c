/** The form of `setvar`, `initcol`, `expirevar`, `setenv`: checked at load, run by `actions/`. */
import type { Report } from './faults.ts'

const scopes = 'tx|ip|global|session|user|resource'

/** `tx.name`, `!tx.name`, `tx.name=value`, `tx.name=+1`; names may hold macros. */
export function checkSetvar(argument: string, report: Report): void {
  if (new RegExp(`^!?\\s*(?:${scopes})\\.[^=]+(?:=.*)?$`, 'is').test(argument)) return
  report(`setvar:${argument}: not understood`, 'write setvar:tx.name=value, =+1, =-1 or !tx.name')
}

/** `ip=%{remote_addr}`. */
export function checkInitcol(argument: string, report: Report): void {
  if (/^(?:ip|global|session|user|resource)=.+$/is.test(argument)) return
  report(`initcol:${argument}: not understood`, 'write initcol:ip=%{remote_addr} or its like')
}

/** `ip.name=60`: seconds, which may be a macro. */
export function checkExpirevar(argument: string, report: Report): void {
  if (new RegExp(`^(?:${scopes})\\.[^=]+=.+$`, 'is').test(argument)) return
  report(`expirevar:${argument}: not understood`, 'write expirevar:ip.name=seconds')
}

/** `session.score=60/300`: an amount and the seconds after which it is taken away each time. */
export function checkDeprecatevar(argument: string, report: Report): void {
  const form = /^(?:ip|global|session|user|resource)\.[^=]+=\d+\/[1-9]\d*$/is
  if (form.test(argument)) return
  report(`deprecatevar:${argument}: not understood`, 'write deprecatevar:ip.name=amount/seconds')
}

/** `NAME=value`, `!NAME`. */
export function checkSetenv(argument: string, report: Report): void {
  if (/^!?[^=\s]+(?:=.*)?$/s.test(argument)) return
  report(`setenv:${argument}: not understood`, 'write setenv:NAME=value')
}
