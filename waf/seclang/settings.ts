/** The directives that set one value of the engine. */
import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { withParts } from '../audit-parts.ts'
import type { Place, SettingsDraft } from './reading.ts'
import { reasonOf } from '../reason-of.ts'

type Read = (words: readonly string[], place: Place) => void

/** Names of settings whose value is of one type. */
type NamesOf<Value> = {
  [Name in keyof SettingsDraft]: SettingsDraft[Name] extends Value ? Name : never
}[keyof SettingsDraft]

/** `On` or `Off`. */
export function onOff(set: (settings: SettingsDraft, on: boolean) => void): Read {
  return choice({ on: true, off: false }, set)
}

/** One of a few words, without case. */
function choice<Value>(
  values: Readonly<Record<string, Value>>,
  set: (settings: SettingsDraft, value: Value) => void,
): Read {
  const byWord = new Map(Object.entries(values))
  return (words, place) => {
    const value = byWord.get((words[0] ?? '').toLowerCase())
    if (value !== undefined) set(place.reading.settings, value)
    else place.report(`"${words[0]}" is no value`, `write ${[...byWord.keys()].join(', ')}`)
  }
}

/** A whole number from 1. */
export function count(name: NamesOf<number>): Read {
  return (words, place) => {
    const value = Number(words[0])
    if (/^\d+$/.test(words[0] ?? '') && value > 0 && Number.isSafeInteger(value)) {
      place.reading.settings[name] = value
    } else place.report(`"${words[0]}" is not a number from 1`, 'write a whole number')
  }
}

/** `SecUploadFileLimit 100`. */
export const uploadFileLimit: Read = (words, place) => {
  if (/^[1-9]\d{0,8}$/.test(words[0] ?? '')) {
    place.reading.settings.uploadFileLimit = Number(words[0])
  } else place.report(`"${words[0]}" is not a number from 1`, 'write a whole number')
}

/** `SecWebAppId shop`. */
export const webAppId: Read = (words, place) => {
  if (/^[\w.-]+$/.test(words[0] ?? '')) place.reading.settings.webAppId = words[0] ?? ''
  else place.report(`"${words[0]}" is no name`, 'write letters, digits, ".", "_" and "-"')
}

/** `SecArgumentSeparator ;`. */
export const argumentSeparator: Read = (words, place) => {
  const separator = words[0] ?? ''
  if (separator.length === 1) place.reading.settings.argumentSeparator = separator
  else place.report(`"${separator}" is not one character`, 'write & or ;')
}

/** `SecGeoLookupDb GeoLite2-Country.mmdb`: beside the rule file, unless it has a whole path. */
export const geoLookupDb: Read = (words, place) => {
  const path = resolve(dirname(place.source.file), words[0] ?? '')
  if (!existsSync(path)) {
    place.report(`${path} is not there`, 'name a MaxMind database (.mmdb)')
    return
  }
  place.reading.settings.geoLookupDb = path
  // A new database is taken like a new rule: by a reload.
  place.reading.files.push(path)
}

/** `SecComponentSignature "OWASP_CRS/4.28.0"`. */
export const componentSignature: Read = (words, place) => {
  const { settings } = place.reading
  settings.componentSignatures = [...settings.componentSignatures, words[0] ?? '']
}

/** `SecResponseBodyMimeType text/html application/json`: replaces the list. */
export const responseBodyMimeTypes: Read = (words, place) => {
  place.reading.settings.responseBodyMimeTypes = words.map((word) => word.toLowerCase())
}

/** `SecResponseBodyMimeTypesClear`. */
export const responseBodyMimeTypesClear: Read = (_, place) => {
  place.reading.settings.responseBodyMimeTypes = []
}

const limitActions = { reject: 'reject', processpartial: 'process-partial' } as const

/** `SecRequestBodyLimitAction Reject`. */
export const requestBodyLimitAction = choice(limitActions, (settings, value) => {
  settings.requestBodyLimitAction = value
})

/** `SecResponseBodyLimitAction ProcessPartial`. */
export const responseBodyLimitAction = choice(limitActions, (settings, value) => {
  settings.responseBodyLimitAction = value
})

/** `SecRuleEngine On`. */
export const ruleEngine = choice(
  { on: 'on', off: 'off', detectiononly: 'detection-only' } as const,
  (settings, value) => {
    settings.ruleEngine = value
  },
)

/** `SecAuditEngine RelevantOnly`. */
export const auditEngine = choice(
  { on: 'on', off: 'off', relevantonly: 'relevant-only' } as const,
  (settings, value) => {
    settings.auditEngine = value
  },
)

/** `SecAuditLogParts ABIJDEFHZ`. */
export const auditLogParts: Read = (words, place) => {
  const parts = (words[0] ?? '').toUpperCase()
  if (/^A[A-KZ]*Z$/.test(parts)) place.reading.settings.auditLogParts = withParts('', parts)
  else
    place.report(`"${words[0]}" is no list of parts`, 'write A, the parts B to K, and Z at the end')
}

/** `SecAuditLogRelevantStatus "^(?:5|4(?!04))"`. */
export const auditLogRelevantStatus: Read = (words, place) => {
  const pattern = words[0] ?? ''
  try {
    void new RegExp(pattern)
    place.reading.settings.auditLogRelevantStatus = pattern
  } catch (error) {
    place.report(`bad pattern: ${reasonOf(error)}`, 'mend the regular expression')
  }
}

/** Only what is safe may be said; the other value would ask for what this engine never does. */
export function mustBe(value: string): Read {
  return (words, place) => {
    if ((words[0] ?? '').toLowerCase() === value.toLowerCase()) return
    place.report(`${place.directive} ${words[0]} is not supported`, `write ${value} or remove it`)
  }
}
