/** Names that stand for numbers in SecLang. */

const phaseNames: ReadonlyMap<string, number> = new Map([
  ['request', 2],
  ['response', 4],
  ['logging', 5],
])

/** `2`, `request` → 2; null when it is no phase. */
export function phaseOf(written: string): number | null {
  if (/^[1-5]$/.test(written)) return Number(written)
  return phaseNames.get(written.toLowerCase()) ?? null
}

/** In order: EMERGENCY is 0. */
export const severities = [
  'EMERGENCY',
  'ALERT',
  'CRITICAL',
  'ERROR',
  'WARNING',
  'NOTICE',
  'INFO',
  'DEBUG',
] as const

/** `2`, `CRITICAL` → 2; null when it is no severity. */
export function severityOf(written: string): number | null {
  if (/^[0-7]$/.test(written)) return Number(written)
  const index = severities.findIndex((name) => name === written.toUpperCase())
  return index < 0 ? null : index
}
