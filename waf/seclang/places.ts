/** `SecGeoLookupDb` and the rules with `@geoLookup`: wherever it stands, it is meant for all. */
import type { Marker, Rule } from '../rule.ts'
import { reportAt } from './faults.ts'
import { neverMatches } from './operators.ts'
import type { Reading } from './reading.ts'

/** The rules with the database as the argument of each `@geoLookup`; without one a notice. */
export function withPlaces(items: readonly (Rule | Marker)[], reading: Reading): (Rule | Marker)[] {
  const database = reading.settings.geoLookupDb
  return items.map((item) => {
    if (item.kind === 'marker' || !item.links.some(neverMatches)) return item
    if (database !== '') {
      const links = item.links.map((link) =>
        neverMatches(link) ? { ...link, argument: database } : link,
      )
      return { ...item, links }
    }
    const message = '@geolookup never matches: there is no database of places'
    const mend = 'name one with waf.geoDatabase or SecGeoLookupDb, or remove the rule'
    for (const link of item.links.filter(neverMatches)) {
      reportAt(reading.notices, link.source)(message, mend)
    }
    return item
  })
}
