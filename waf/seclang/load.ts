/** Which SecLang files make up the ruleset, in which order. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Ruleset, SecLangFault } from '../rule.ts'
import { noSettings, routeSettings, settingsAction } from '../tuning/tuning.ts'
import type { TuningSettings } from '../tuning/tuning.ts'
import { parseSecLang, type SecLangInput } from './parser.ts'
import { reasonOf } from '../reason-of.ts'

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
  /** What the configuration says beside the paranoia level, at the same place. */
  readonly settings?: Omit<TuningSettings, 'paranoia'>
  /** Keeps a place after all setup files for what routes say. */
  readonly tunable?: boolean
}

/** Ids 990000–990099 are ours; `base.conf` uses those below. */
const PARANOIA_RULE_ID = 990_090

/** Loads everything. Throws one `SecLangError` with all faults. */
export function loadRuleset(options: RulesetOptions): Ruleset {
  const { inputs, faults } = rulesetInputs(options)
  return parseSecLang(inputs, faults)
}

/** What is read for these options, in order, and what is missing of it. */
export function rulesetInputs(options: RulesetOptions): {
  readonly inputs: readonly SecLangInput[]
  readonly faults: readonly SecLangFault[]
} {
  const faults: SecLangFault[] = []
  return { inputs: inputsOf(options, faults), faults }
}

/** The files that are read first, in order; what they include is not among them. */
export function rulesetFiles(options: RulesetOptions): string[] {
  return inputsOf(options, []).map(({ file }) => file)
}

function inputsOf(options: RulesetOptions, faults: SecLangFault[]): SecLangInput[] {
  const crs = crsFiles(options.crsDirectory, faults)
  return [
    ...geoInput(options.geoDatabase ?? null),
    { file: options.baseFile },
    ...crs.setup,
    ...settingsInput(options),
    ...options.setupFiles.map((file) => ({ file })),
    ...(options.tunable === true ? [routeInput] : []),
    ...crs.rules,
    ...(options.ruleFiles ?? []).map((file) => ({ file })),
  ]
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

/** Read before the users' setup files, so that these win. */
function settingsInput({ paranoia, settings }: RulesetOptions): SecLangInput[] {
  const all: TuningSettings = { ...noSettings, ...settings, paranoia }
  if (Object.values(all).every((value) => value === null)) return []
  return [{ file: '--paranoia', text: settingsAction(all, PARANOIA_RULE_ID) }]
}

const routeInput: SecLangInput = {
  file: routeSettings.file,
  text: settingsAction(noSettings, routeSettings.id),
}

function geoInput(path: string | null): SecLangInput[] {
  if (path === null) return []
  const quoted = path.replaceAll(/["\\]/g, (character) => `\\${character}`)
  return [{ file: 'waf.geoDatabase', text: `SecGeoLookupDb "${quoted}"` }]
}
