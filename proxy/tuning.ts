/** The tunings that the routes ask for, and what the rules make of them. */
import type { Program } from '../waf/program.ts'
import type { Rule } from '../waf/rule.ts'
import type { Exclusion, Levels, Tuning, TuningSettings } from '../waf/tuning/tuning.ts'
import { noSettings } from '../waf/tuning/tuning.ts'
import { ConfigError, type Fault } from './config/faults.ts'
import type { Origins } from './config/layer.ts'
import type { Path } from './config/schema-walk.ts'
import type { EdgeConfig } from './config/schema.ts'
import type { Logger } from './log.ts'

/** Distinct tunings; the first is that of requests without a route. */
export interface Tunings {
  readonly all: readonly Tuning[]
  /** Index into `all` for each route. */
  readonly ofRoute: readonly number[]
}

type RouteWaf = EdgeConfig['routes'][number]['waf']

/** Equal ones are one, however many routes there are. */
export function tuningsOf({ waf, routes }: EdgeConfig): Tunings {
  const all: Tuning[] = [{ settings: noSettings, exclusions: waf.exclusions }]
  const known = new Map(all.map((tuning, index) => [JSON.stringify(tuning), index]))
  const ofRoute = routes.map((route) => {
    const exclusions = [...waf.exclusions, ...route.waf.exclusions]
    const tuning = { settings: settingsOf(route.waf), exclusions }
    const key = JSON.stringify(tuning)
    const index = known.get(key) ?? all.push(tuning) - 1
    known.set(key, index)
    return index
  })
  return { all, ofRoute }
}

/** The levels that one section says. */
export function settingsOf(waf: RouteWaf | EdgeConfig['waf']): TuningSettings {
  const { paranoia, detectionParanoia, inboundThreshold, outboundThreshold, earlyBlocking } = waf
  return { paranoia, detectionParanoia, inboundThreshold, outboundThreshold, earlyBlocking }
}

/** How one route is inspected, for operators. */
export interface RouteLevels extends Levels {
  readonly route: string
  readonly mode: string
  readonly exclusions: number
}

/** Every route with what is in force on it; the levels are null where nothing is inspected. */
export function routeLevels(config: EdgeConfig, program: Program | null): RouteLevels[] {
  const { all, ofRoute } = tuningsOf(config)
  return config.routes.map(({ name, waf }, index) => {
    const tuning = ofRoute[index] ?? 0
    const off = config.waf.mode === 'off' || waf.mode === 'off'
    const levels = off ? null : levelsOfTuning(program, tuning)
    const exclusions = off ? 0 : (all[tuning]?.exclusions.length ?? 0)
    return { route: name, mode: off ? 'off' : waf.mode, ...(levels ?? noLevels), exclusions }
  })
}

// Beyond it the admin API tells: a start with thousands of routes must not drown in lines.
const loggedRoutesMax = 50

/** One line for each route: what is blocked there, at which level and with how many points. */
export function logLevels(
  log: Pick<Logger, 'info'>,
  {
    config,
    rules,
  }: { readonly config: EdgeConfig; readonly rules: { readonly program: Program | null } },
): void {
  const all = routeLevels(config, rules.program)
  for (const levels of all.slice(0, loggedRoutesMax)) log.info(levels, 'inspection of the route')
  const more = all.length - loggedRoutesMax
  if (more > 0) log.info({ more }, 'further routes: GET /routes of the admin API')
}

function levelsOfTuning(program: Program | null, tuning: number): Levels | null {
  const variant = program?.tunings?.[tuning]?.variant ?? 0
  return program?.variants?.[variant]?.levels ?? null
}

const noLevels: Levels = {
  paranoia: null,
  detectionParanoia: null,
  inboundThreshold: null,
  outboundThreshold: null,
  earlyBlocking: false,
}

/** Exclusions that name what the rules do not have: they may come from another version. */
export function exclusionNotices(
  { waf, routes }: EdgeConfig,
  origins: Origins,
  rules: readonly Rule[],
): string[] {
  const ids = rules.map(({ id }) => id)
  const tags = new Set(rules.flatMap((rule) => rule.tags))
  const notices = (path: Path, exclusions: readonly Exclusion[]): string[] =>
    exclusions.flatMap((exclusion, index) => [
      ...exclusion.rules.flatMap(({ first, last }, place) => {
        if (ids.some((id) => id >= first && id <= last)) return []
        const where = origins.get([...path, index, 'rules', place])
        const named = first === last ? `rule ${first}` : `rule of ${first}-${last}`
        return [`${where}: no ${named} is loaded: this exclusion does nothing`]
      }),
      ...exclusion.tags.flatMap((tag, place) => {
        if (tags.has(tag)) return []
        const where = origins.get([...path, index, 'tags', place])
        return [`${where}: no rule carries the tag "${tag}": this exclusion does nothing`]
      }),
    ])
  return [
    ...notices(['waf', 'exclusions'], waf.exclusions),
    ...routes.flatMap((route, index) =>
      notices(['routes', index, 'waf', 'exclusions'], route.waf.exclusions),
    ),
  ]
}

/** Levels that contradict each other once the setup files have spoken: the CRS would refuse all. */
export function judgeLevels(config: EdgeConfig, origins: Origins, program: Program): void {
  const faults = routeLevels(config, program).flatMap((levels, index): Fault[] => {
    const { route, paranoia, detectionParanoia } = levels
    if (paranoia === null || detectionParanoia === null || detectionParanoia >= paranoia) return []
    const where = origins.get(['routes', index, 'waf', 'paranoia'])
    const found = `blocks at level ${paranoia} and detects at ${detectionParanoia}`
    const message = `route "${route}" ${found}`
    return [{ where, message, mend: 'raise detectionParanoia, here or in the setup files' }]
  })
  if (faults.length > 0) throw new ConfigError(faults)
}
