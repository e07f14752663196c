/** Which rules there are: the installed CRS, its version, and what its version needs from us. */
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { RulesetOptions } from '../waf/seclang/load.ts'
import type { Environment } from './config/environment.ts'
import type { EdgeConfig } from './config/schema.ts'
import { stateDirectory } from './directories.ts'

/** The folder below which rules are installed. */
export function rulesFolder(env: Environment): string {
  return join(stateDirectory(env), 'rules')
}

// Where an image or a package puts the rules that it brings along.
const shippedRules = '/usr/share/quic-proxy-waf/rules'

/** The rules that `edge rules install` chose, else those that came along; null without any. */
export function installedRules(env: Environment, shipped = shippedRules): string | null {
  const folders = [rulesFolder(env), shipped].map((folder) => join(folder, 'current'))
  const current = folders.find((folder) => existsSync(join(folder, 'rules')))
  return current === undefined ? null : realpathSync(current)
}

/** The version that the rules of a CRS folder carry: `4.28.0`; null when it is no CRS. */
export function crsVersion(folder: string): string | null {
  const file = join(folder, 'rules/REQUEST-901-INITIALIZATION.conf')
  if (!existsSync(file)) return null
  return /ver:'OWASP_CRS\/([0-9][0-9A-Za-z.-]*)'/.exec(readFileSync(file, 'utf8'))?.[1] ?? null
}

/** SecLang of ours that the rules of this version need before them. */
export function setupFilesFor(version: string | null): string[] {
  const isThree = version?.startsWith('3.') === true
  return isThree ? [fileURLToPath(new URL('../waf/crs-3.conf', import.meta.url))] : []
}

/** What the ruleset is loaded from, in the order of the contract: base, setup, users', rules. */
export function rulesetOptions({ waf }: Pick<EdgeConfig, 'waf'>): RulesetOptions {
  const ours = waf.rules === null ? [] : setupFilesFor(crsVersion(waf.rules))
  return {
    baseFile: waf.baseFile ?? fileURLToPath(new URL('../waf/base.conf', import.meta.url)),
    crsDirectory: waf.rules,
    paranoia: waf.paranoia,
    setupFiles: [...ours, ...waf.setupFiles],
    geoDatabase: waf.geoDatabase,
  }
}
