/** Which SecLang files make up the ruleset, in which order. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Ruleset, SecLangFault } from '../rule.ts'
import { reasonOf } from './faults.ts'
import { parseSecLang, type SecLangInput } from './parser.ts'

/** What to load. */
export interface RulesetOptions {
  /** `waf/base.conf` or the user's own. */
  readonly baseFile: string
  /** Holds `crs-setup.conf` (or `.example`) and `rules/`; null for no rules but the users'. */
  readonly crsDirectory: string | null
  /** 1–4: sets CRS's blocking and detection levels before the setup files; null sets nothing. */
  readonly paranoia: number | null
  /** Read after CRS's setup file, so they win over it. */
  readonly setupFiles: readonly string[]
  /** The database of `@geoLookup` unless the rules name one. */
  readonly geoDatabase?: string | null
  /** Read after the rules. */
  readonly ruleFiles?: readonly string[]
}

/** Ids 990000–990099 are ours; `base.conf` uses those below. */
const PARANOIA_RULE_ID = 990_090

/** Loads everything. Throws one `SecLangError` with all faults. */
export function loadRuleset(options: RulesetOptions): Ruleset {
  const faults: SecLangFault[] = []
  const crs = crsFiles(options.crsDirectory, faults)
  const inputs: SecLangInput[] = [
    ...geoInput(options.geoDatabase ?? null),
    { file: options.baseFile },
    ...crs.setup,
    ...paranoiaInput(options.paranoia),
    ...options.setupFiles.map((file) => ({ file })),
    ...crs.rules,
    ...(options.ruleFiles ?? []).map((file) => ({ file })),
  ]
  return parseSecLang(inputs, faults)
}

interface CrsFiles {
  readonly setup: readonly SecLangInput[]
  readonly rules: readonly SecLangInput[]
}

function crsFiles(directory: string | null, faults: SecLangFault[]): CrsFiles {
  if (directory === null) return { setup: [], rules: [] }
  const mend = 'name a CRS directory, or run: edge rules install'
  const setups = ['crs-setup.conf', 'crs-setup.conf.example'].map((name) => join(directory, name))
  const setup = setups.find((file) => existsSync(file))
  if (setup === undefined) {
    const message = 'neither crs-setup.conf nor crs-setup.conf.example is there'
    faults.push({ file: directory, line: 1, column: 1, message, mend })
  }
  const folder = join(directory, 'rules')
  const rules = ruleFiles(folder, faults, mend)
  return { setup: setup === undefined ? [] : [{ file: setup }], rules }
}

function ruleFiles(folder: string, faults: SecLangFault[], mend: string): SecLangInput[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith('.conf'))
    if (names.length === 0)
      faults.push({ file: folder, line: 1, column: 1, message: 'no *.conf', mend })
    return names.toSorted().map((name) => ({ file: join(folder, name) }))
  } catch (error) {
    faults.push({
      file: folder,
      line: 1,
      column: 1,
      message: `cannot be read: ${reasonOf(error)}`,
      mend,
    })
    return []
  }
}

/** CRS 4 reads the first two names, CRS 3 the last. */
function paranoiaInput(level: number | null): SecLangInput[] {
  if (level === null) return []
  const names = ['blocking_paranoia_level', 'detection_paranoia_level', 'paranoia_level']
  const sets = names.map((name) => `setvar:tx.${name}=${level}`).join(',')
  const text = `SecAction "id:${PARANOIA_RULE_ID},phase:1,pass,nolog,t:none,${sets}"`
  return [{ file: '--paranoia', text }]
}

function geoInput(path: string | null): SecLangInput[] {
  if (path === null) return []
  const quoted = path.replaceAll(/["\\]/g, (character) => `\\${character}`)
  return [{ file: 'waf.geoDatabase', text: `SecGeoLookupDb "${quoted}"` }]
}
