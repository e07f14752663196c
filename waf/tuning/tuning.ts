/**
 * What routes say about inspection beyond the rules: levels, thresholds, exclusions. Plain data, so
 * that it crosses threads; `variants.ts` compiles it, `prepared-tuning.ts` makes it ready to run.
 */

/** Members of TX that the CRS reads; null leaves what the setup files say. */
export interface TuningSettings {
  readonly paranoia: number | null
  readonly detectionParanoia: number | null
  readonly inboundThreshold: number | null
  readonly outboundThreshold: number | null
  readonly earlyBlocking: boolean | null
}

/** Rules, or what these rules see, taken out of a route's inspection. */
export interface Exclusion {
  readonly rules: readonly { readonly first: number; readonly last: number }[]
  /** Compared whole. */
  readonly tags: readonly string[]
  /** `ARGS:name`, `ARGS:/regex/`; empty: the rules do not run at all. */
  readonly targets: readonly string[]
  /** Of the canonical path: whole, or with a `*` at its end the beginning; empty: every path. */
  readonly paths: readonly string[]
  /** Empty: every method. */
  readonly methods: readonly string[]
  readonly reason: string
}

/** How the exchanges of some routes are inspected. */
export interface Tuning {
  readonly settings: TuningSettings
  readonly exclusions: readonly Exclusion[]
}

/** The levels that are in force once the rules' own start has run; null where no rule sets them. */
export interface Levels {
  readonly paranoia: number | null
  readonly detectionParanoia: number | null
  readonly inboundThreshold: number | null
  readonly outboundThreshold: number | null
  readonly earlyBlocking: boolean
}

/** Says nothing. */
export const noSettings: TuningSettings = {
  paranoia: null,
  detectionParanoia: null,
  inboundThreshold: null,
  outboundThreshold: null,
  earlyBlocking: null,
}

/** Inspection as the rules have it. */
export const noTuning: Tuning = { settings: noSettings, exclusions: [] }

/** Where a route's settings stand among the rules: after all setup files, so that they win. */
export const routeSettings = { file: 'edge.yaml', id: 990_089 } as const

/**
 * The SecAction that does what the settings say, under the names of CRS 4 and CRS 3; with nothing
 * to set it only keeps its place.
 */
export function settingsAction(settings: TuningSettings, id: number): string {
  const assignments = Object.entries(assigned(settings))
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `,setvar:tx.${name}=${value}`)
  return `SecAction "id:${id},phase:1,pass,nolog,t:none${assignments.join('')}"`
}

function assigned(settings: TuningSettings): Readonly<Record<string, number | null>> {
  const { paranoia, detectionParanoia, earlyBlocking } = settings
  return {
    blocking_paranoia_level: paranoia,
    detection_paranoia_level: detectionParanoia ?? paranoia,
    paranoia_level: paranoia,
    // CRS 3 takes paranoia_level for it by itself, also one that a setup file sets later.
    executing_paranoia_level: detectionParanoia,
    inbound_anomaly_score_threshold: settings.inboundThreshold,
    outbound_anomaly_score_threshold: settings.outboundThreshold,
    early_blocking: earlyBlocking === null ? null : Number(earlyBlocking),
  }
}

/** What TX says of the levels, by the names of CRS 4, else of CRS 3. */
export function levelsOf(tx: ReadonlyMap<string, string>): Levels {
  const number = (...names: readonly string[]): number | null => {
    const text = names.map((name) => tx.get(name)).find((value) => value !== undefined)
    return text === undefined || !/^\d+$/.test(text) ? null : Number(text)
  }
  return {
    paranoia: number('blocking_paranoia_level', 'paranoia_level'),
    detectionParanoia: number('detection_paranoia_level', 'executing_paranoia_level'),
    inboundThreshold: number('inbound_anomaly_score_threshold'),
    outboundThreshold: number('outbound_anomaly_score_threshold'),
    earlyBlocking: tx.get('early_blocking') === '1',
  }
}
