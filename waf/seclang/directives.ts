/** Every directive: one table. */
import {
  removeById,
  removeByMsg,
  removeByTag,
  updateActionById,
  updateTargetById,
  updateTargetByMsg,
  updateTargetByTag,
} from './amendments.ts'
import { include, includeOptional } from './include.ts'
import type { Place } from './reading.ts'
import { secAction, secDefaultAction, secMarker, secRule } from './rules.ts'
import * as settings from './settings.ts'

/** How a directive is read. */
export interface DirectiveKind {
  readonly min: number
  readonly max: number
  readonly read: (words: readonly string[], place: Place) => void
}

const MANY = 1_000

/** Settings of ModSecurity that mean nothing here: they load, and a notice says so. */
const withoutEffect = `SecAuditLog SecAuditLog2 SecAuditLogDirMode SecAuditLogFileMode
  SecAuditLogFormat SecAuditLogPrefix SecAuditLogStorageDir SecAuditLogType
  SecCacheTransformations SecChrootDir SecConnEngine SecConnReadStateLimit
  SecConnWriteStateLimit SecContentInjection SecDataDir SecDebugLog SecDebugLogLevel
  SecDisableBackendCompression SecGuardianLog SecInterceptOnError SecPcreMatchLimit
  SecPcreMatchLimitRecursion SecReadStateLimit SecRequestBodyInMemoryLimit SecRuleInheritance
  SecRulePerfTime SecSensorId SecServerSignature SecStatusEngine SecStreamInBodyInspection
  SecStreamOutBodyInspection SecTmpDir SecTmpSaveUploadedFiles SecCookieV0Separator
  SecRemoteTimeout SecRxPreFilter SecUnicodeCodePage SecUnicodeMap SecUnicodeMapFile
  SecUploadDir SecUploadFileMode SecUploadKeepFiles SecWriteStateLimit`

/** By lower-case name: directives are read without case, as Apache does. */
export const directives: ReadonlyMap<string, DirectiveKind> = new Map<string, DirectiveKind>([
  ...withoutEffect.split(/\s+/).map(ignored),
  ['include', words(1, MANY, include)],
  ['includeoptional', words(1, MANY, includeOptional)],
  ['secaction', words(1, 1, secAction)],
  ['secargumentseparator', words(1, 1, settings.argumentSeparator)],
  ['secargumentslimit', words(1, 1, settings.count('argumentsLimit'))],
  ['secauditengine', words(1, 1, settings.auditEngine)],
  ['secauditlogparts', words(1, 1, settings.auditLogParts)],
  ['secauditlogrelevantstatus', words(1, 1, settings.auditLogRelevantStatus)],
  ['seccollectiontimeout', words(1, 1, settings.count('collectionTimeoutSeconds'))],
  ['seccomponentsignature', words(1, 1, settings.componentSignature)],
  ['seccookieformat', words(1, 1, settings.mustBe('0'))],
  ['secdefaultaction', words(1, 1, secDefaultAction)],
  ['secgeolookupdb', words(1, 1, settings.geoLookupDb)],
  ['secmarker', words(1, 1, secMarker)],
  ['sechashengine', words(1, 1, settings.mustBe('Off'))],
  ['secignorerulecompilationerrors', words(1, 1, settings.mustBe('Off'))],
  ['secparsexmlintoargs', words(1, 1, settings.mustBe('Off'))],
  ['secrequestbodyaccess', words(1, 1, requestBodyAccess())],
  ['secrequestbodyjsondepthlimit', words(1, 1, settings.count('requestBodyJsonDepthLimit'))],
  ['secrequestbodylimit', words(1, 1, settings.count('requestBodyLimitBytes'))],
  ['secrequestbodylimitaction', words(1, 1, settings.requestBodyLimitAction)],
  ['secrequestbodynofileslimit', words(1, 1, settings.count('requestBodyNoFilesLimitBytes'))],
  ['secresponsebodyaccess', words(1, 1, responseBodyAccess())],
  ['secresponsebodylimit', words(1, 1, settings.count('responseBodyLimitBytes'))],
  ['secresponsebodylimitaction', words(1, 1, settings.responseBodyLimitAction)],
  ['secresponsebodymimetype', words(1, MANY, settings.responseBodyMimeTypes)],
  ['secresponsebodymimetypesclear', words(0, 0, settings.responseBodyMimeTypesClear)],
  ['secrule', words(2, 3, secRule)],
  ['secruleengine', words(1, 1, settings.ruleEngine)],
  ['secruleremovebyid', words(1, MANY, removeById)],
  ['secruleremovebymsg', words(1, 1, removeByMsg)],
  ['secruleremovebytag', words(1, 1, removeByTag)],
  ['secruleupdateactionbyid', words(2, 2, updateActionById)],
  ['secruleupdatetargetbyid', words(2, 3, updateTargetById)],
  ['secruleupdatetargetbymsg', words(2, 3, updateTargetByMsg)],
  ['secruleupdatetargetbytag', words(2, 3, updateTargetByTag)],
  ['secuploadfilelimit', words(1, 1, settings.uploadFileLimit)],
  ['secwebappid', words(1, 1, settings.webAppId)],
  ['secxmlexternalentity', words(1, 1, settings.mustBe('Off'))],
])

/** Directives of ModSecurity that would ask for what this engine never does, and what to do. */
export const refusedDirectives: ReadonlyMap<string, string> = new Map([
  ['secgsblookupdb', 'remove it'],
  ['sechashkey', 'remove the SecHash directives'],
  ['sechashmethodpm', 'remove the SecHash directives'],
  ['sechashmethodrx', 'remove the SecHash directives'],
  ['sechashparam', 'remove the SecHash directives'],
  ['sechttpblkey', 'remove it; no name server is asked'],
  ['secremoterules', 'fetch the rules yourself and name the file'],
  ['secremoterulesfailaction', 'fetch the rules yourself and name the file'],
  ['secrulescript', 'remove it; no program is run for a request'],
])

function words(min: number, max: number, read: DirectiveKind['read']): DirectiveKind {
  return { min, max, read }
}

function ignored(name: string): [string, DirectiveKind] {
  return [
    name.toLowerCase(),
    words(0, MANY, (_, place) => {
      place.notice(
        `${place.directive} has no effect`,
        'use the settings of the proxy, or remove it',
      )
    }),
  ]
}

function requestBodyAccess(): DirectiveKind['read'] {
  return settings.onOff((draft, on) => {
    draft.requestBodyAccess = on
  })
}

function responseBodyAccess(): DirectiveKind['read'] {
  return settings.onOff((draft, on) => {
    draft.responseBodyAccess = on
  })
}
