/** The anomaly score as the CRS counts it, followed from rule to rule. */
import type { Points } from './evidence.ts'
import type { Change } from './trail.ts'

/** CRS 4 says `inbound_anomaly_score_pl1`, CRS 3 `anomaly_score_pl1`; both `outbound_…`. */
const counter = /^tx\.(?:(inbound|outbound)_)?anomaly_score_pl([1-4])$/

/** No points yet. */
export const noPoints: Points = { inbound: [0, 0, 0, 0], outbound: [0, 0, 0, 0] }

/** Which side and level a member of TX counts for; null when it is no such counter. */
export function counterOf(
  name: string,
): { readonly side: 'inbound' | 'outbound'; readonly level: number } | null {
  const found = counter.exec(name)
  if (found === null) return null
  return { side: found[1] === 'outbound' ? 'outbound' : 'inbound', level: Number(found[2]) }
}

/** The points after a rule changed these members of TX. */
export function pointsAfter(points: Points, changes: readonly Change[]): Points {
  let after = points
  for (const { name, after: value } of changes) {
    const counts = counterOf(name)
    if (counts === null) continue
    const levels = after[counts.side].with(counts.level - 1, Number(value) || 0)
    after = { ...after, [counts.side]: levels }
  }
  return after
}
