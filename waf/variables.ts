/** The variables that only reasoning knows: TX, MATCHED_VAR, RULE, the persistent collections. */
import type { CollectionName } from './collections/open-collection.ts'
import { toNumber } from './number.ts'
import type { Target } from './scan-plan.ts'
import { meansCapture } from './tx.ts'
import type { NameTest, Tx } from './tx.ts'
import type { Transaction } from './transaction.ts'

/** One value of a variable, as a hit carries it. */
export interface Value {
  readonly variable: string
  readonly name: string | null
  readonly value: string
}

/** Null when the variable has no value at all. */
type Scalar = (transaction: Transaction) => string | null
/** `wanted`: the only member asked for, in lower case; others may be left out then. */
type Members = (
  transaction: Transaction,
  wanted: string | null,
) => Iterable<readonly [string, string]>

const none: readonly (readonly [string, string])[] = []
const noValues: readonly Value[] = []

const scalars: Readonly<Record<string, Scalar>> = {
  MATCHED_VAR: (transaction) => transaction.matchedVar?.value ?? '',
  MATCHED_VAR_NAME: ({ matchedVar }) => (matchedVar === null ? '' : fullName(matchedVar)),
  HIGHEST_SEVERITY: (transaction) => String(transaction.highestSeverity),
  UNIQUE_ID: (transaction) => transaction.facts.uniqueId,
  SESSIONID: (transaction) => transaction.sessionId,
  USERID: (transaction) => transaction.userId,
  WEBAPPID: ({ program }) => program.settings.webAppId,
  USERAGENT_IP: (transaction) => transaction.facts.clientAddress,
  MODSEC_BUILD: () => '030000000',
  MSC_PCRE_ERROR: () => null,
  MSC_PCRE_LIMITS_EXCEEDED: () => null,
  REMOTE_USER: ({ facts }) => basicUser(facts.headers),
  WEBSERVER_ERROR_LOG: () => null,
  DURATION: (transaction) => String(Math.max(0, Date.now() - transaction.facts.timeMs)),
  TIME: (transaction) => arrival(transaction).toTimeString().slice(0, 8),
  TIME_EPOCH: (transaction) => String(Math.trunc(transaction.facts.timeMs / 1000)),
  TIME_YEAR: (transaction) => String(arrival(transaction).getFullYear()),
  TIME_MON: (transaction) => twoDigits(arrival(transaction).getMonth() + 1),
  TIME_DAY: (transaction) => twoDigits(arrival(transaction).getDate()),
  TIME_WDAY: (transaction) => String(arrival(transaction).getDay() || 7),
  TIME_HOUR: (transaction) => twoDigits(arrival(transaction).getHours()),
  TIME_MIN: (transaction) => twoDigits(arrival(transaction).getMinutes()),
  TIME_SEC: (transaction) => twoDigits(arrival(transaction).getSeconds()),
}

const collections: Readonly<Record<string, Members>> = {
  TX: (transaction) => transaction.tx,
  MATCHED_VARS: (transaction) => matchedVars(transaction, (value) => value.value),
  MATCHED_VARS_NAMES: (transaction) => matchedVars(transaction, (value) => fullName(value)),
  RULE: (transaction) => ruleFields(transaction),
  GLOBAL: persistent('GLOBAL'),
  IP: persistent('IP'),
  SESSION: persistent('SESSION'),
  USER: persistent('USER'),
  RESOURCE: persistent('RESOURCE'),
  // Nothing of the process's environment is shown to rules; setenv writes here in vain.
  ENV: () => none,
  GEO: (transaction) => transaction.geo,
}

/** True for a variable that the addon does not know. Upper-case names. */
export function reasonedVariable(name: string): boolean {
  return Object.hasOwn(scalars, name) || Object.hasOwn(collections, name)
}

/** `ARGS:id`, `REQUEST_URI`. */
export function fullName(value: Value): string {
  return value.name === null ? value.variable : `${value.variable}:${value.name}`
}

/** What a macro reads: the scalar, or the collection's member `key` (lower-case). */
export function readScalar(transaction: Transaction, variable: string, key: string): string {
  if (variable === 'TX') return transaction.tx.get(key) ?? ''
  const scalar = scalars[variable]
  if (scalar !== undefined) return scalar(transaction) ?? ''
  for (const [name, value] of collections[variable]?.(transaction, key) ?? none) {
    if (name.toLowerCase() === key) return value
  }
  return ''
}

/** A reasoned target, ready to read. */
export interface Reader {
  (transaction: Transaction): readonly Value[]
}

/** Makes the reader of one target that is reasoned and no exclusion. */
export function compileReader(target: Target, excludes: readonly Target[]): Reader {
  const { variable } = target
  const selects = selector(target)
  const wanted = target.name?.toLowerCase() ?? null
  const excluded = excludes.filter((one) => one.variable === variable).map(selector)
  const keeps = (name: string | null): boolean =>
    selects(name) && !excluded.some((excludesName) => excludesName(name))
  const read: Reader = (transaction) => {
    const values: Value[] = []
    const scalar = scalars[variable]
    if (scalar !== undefined) {
      const value = scalar(transaction)
      if (value !== null && keeps(null)) values.push({ variable, name: null, value })
      return values
    }
    for (const [name, value] of collections[variable]?.(transaction, wanted) ?? none) {
      if (keeps(name)) values.push({ variable, name, value })
    }
    return values
  }
  return counted(target, variable === 'TX' ? txReader(wanted, keeps) : read)
}

function counted(target: Target, read: Reader): Reader {
  if (!target.count) return read
  const { variable } = target
  return (transaction) => [{ variable, name: target.name, value: String(read(transaction).length) }]
}

/** Members of TX: one by its name, or those of a pattern, which the start's are asked but once. */
function txReader(wanted: string | null, keeps: NameTest): Reader {
  const variable = 'TX'
  if (wanted !== null) {
    if (!keeps(wanted)) return () => noValues
    return ({ tx }) => {
      const value = tx.get(wanted)
      return value === undefined ? noValues : [{ variable, name: wanted, value }]
    }
  }
  if (meansCapture(keeps)) {
    return ({ tx }) => {
      const meant = [...tx].filter(([name]) => keeps(name))
      return meant.map(([name, value]) => ({ variable, name, value }))
    }
  }
  const known = new WeakMap<Tx['start'], readonly string[]>()
  return ({ tx }) => {
    const { start } = tx
    let names = known.get(start)
    if (names === undefined) {
      names = [...start.keys()].filter(keeps)
      known.set(start, names)
    }
    const values = names.map((name): Value => ({ variable, name, value: tx.get(name) ?? '' }))
    tx.forEachAdded((name, value) => {
      if (keeps(name)) values.push({ variable, name, value })
    })
    return values
  }
}

/** The test that a target's name puts to a member's name. */
export function selector(
  target: Pick<Target, 'name' | 'namePattern'>,
): (name: string | null) => boolean {
  if (target.namePattern !== null) {
    const prefix = /^\^(\w+)$/.exec(target.namePattern)?.[1]?.toLowerCase()
    if (prefix !== undefined) {
      // The CRS asks a hundred members of TX for such a beginning, several times per request.
      return (name) => name?.toLowerCase().startsWith(prefix) === true
    }
    const pattern = new RegExp(target.namePattern, 'is')
    return (name) => name !== null && pattern.test(name)
  }
  const wanted = target.name?.toLowerCase() ?? null
  return (name) => wanted === null || name?.toLowerCase() === wanted
}

function persistent(collection: CollectionName): Members {
  return (transaction, wanted) => {
    const opened = transaction.collection(collection)
    if (opened === null) return none
    if (wanted === null) return opened.members()
    const value = opened.read(wanted)
    return value === null ? none : [[wanted, value] as const]
  }
}

function matchedVars(
  transaction: Transaction,
  text: (value: Value) => string,
): Iterable<readonly [string, string]> {
  return transaction.matchedVars.map((value) => [fullName(value), text(value)] as const)
}

function ruleFields(transaction: Transaction): Iterable<readonly [string, string]> {
  const rule = transaction.currentRule
  if (rule === null) return none
  return [
    ['id', String(rule.id)],
    ['rev', rule.rev],
    ['severity', rule.severity === null ? '' : String(rule.severity)],
    ['msg', rule.msg],
    ['logdata', rule.logdata],
  ]
}

function arrival(transaction: Transaction): Date {
  return new Date(transaction.facts.timeMs)
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}

/** What TX holds under `key` as a number. */
export function txNumber(transaction: Transaction, key: string): number {
  return toNumber(transaction.tx.get(key) ?? '')
}

/** The user of `Authorization: Basic …`, as it claims to be; null without one. */
function basicUser(headers: readonly (readonly [string, string])[]): string | null {
  const authorization = headers.find(([name]) => name.toLowerCase() === 'authorization')?.[1]
  const encoded = /^\s*basic\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1]
  if (encoded === undefined) return null
  // RFC 7617 §2: the first colon ends the user's name.
  return Buffer.from(encoded, 'base64').toString('latin1').split(':', 1)[0] ?? null
}
