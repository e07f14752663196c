/** What two engines say differently of one request, and the smallest request that shows it. */
import type { Contender, Match, Matches } from './engines.ts'
import { assemble } from './request.ts'
import type { Pair, Parts, PlainRequest } from './request.ts'

/** A rule that only one of them reports. */
export interface Difference {
  readonly only: 'ours' | 'theirs'
  readonly match: Match
  readonly request: PlainRequest
  /** Both refuse the request for a body that does not parse: what else they say tells of why. */
  readonly isBroken: boolean
}

/** REQBODY_ERROR, of waf/base.conf. */
const brokenBody = 990_010

/** Rules that judge the sum of the others: they differ as soon as another one does. */
const sums = /^9(?:49|59|80)\d{3}$/

/** Of the sums a difference counts only when nothing else differs. */
export function differences(
  request: PlainRequest,
  ours: Matches | 'refused',
  theirs: Matches | 'refused',
): Difference[] {
  if (ours === 'refused' || theirs === 'refused') return []
  const beyond = (these: Matches, those: Matches): Match[] =>
    [...these.values()].filter(({ id }) => !those.has(id))
  const isBroken = ours.has(brokenBody) && theirs.has(brokenBody)
  const all = [
    ...beyond(ours, theirs).map((match) => ({ only: 'ours' as const, match, request, isBroken })),
    ...beyond(theirs, ours).map((match) => ({ only: 'theirs' as const, match, request, isBroken })),
  ]
  const own = all.filter(({ match }) => !sums.test(String(match.id)))
  return own.length > 0 ? own : all
}

const STEPS_MAX = 120

/** Leaves out parts and pieces of texts as long as the same rule still differs the same way. */
export async function shrink(
  parts: Parts,
  wanted: Difference,
  [ours, theirs]: readonly [Contender, Contender],
): Promise<Parts> {
  let steps = 0
  const holds = async (candidate: Parts): Promise<boolean> => {
    steps += 1
    const request = assemble(candidate)
    const [left, right] = await Promise.all([ours.ask(request), theirs.ask(request)])
    const found = differences(request, left, right)
    return found.some(({ only, match }) => only === wanted.only && match.id === wanted.match.id)
  }
  let smallest = parts
  for (let again = true; again && steps < STEPS_MAX;) {
    again = false
    for (const candidate of smaller(smallest)) {
      if (steps >= STEPS_MAX) break
      if (!(await holds(candidate))) continue
      smallest = candidate
      again = true
      break
    }
  }
  return smallest
}

/** Every request that is one step smaller, the largest steps first. */
function* smaller(parts: Parts): Generator<Parts> {
  if (parts.kind !== null) yield { ...parts, kind: null, body: [], contentType: '', method: 'GET' }
  if (parts.path !== '/') yield { ...parts, path: '/' }
  if (parts.tail !== '') yield { ...parts, tail: '' }
  const lists = ['query', 'cookies', 'headers', 'body'] as const
  for (const list of lists) {
    if (parts[list].length > 1 && list !== 'headers') yield { ...parts, [list]: [] }
    for (const index of parts[list].keys()) {
      yield { ...parts, [list]: parts[list].toSpliced(index, 1) }
    }
  }
  for (const path of shorter(parts.path)) if (path.startsWith('/')) yield { ...parts, path }
  for (const tail of shorter(parts.tail)) if (/^[?/;#]/.test(tail)) yield { ...parts, tail }
  for (const list of lists) {
    for (const [index, pair] of parts[list].entries()) {
      for (const less of shorterPairs(pair)) {
        yield { ...parts, [list]: parts[list].with(index, less) }
      }
    }
  }
}

function* shorterPairs([name, value]: Pair): Generator<Pair> {
  for (const less of shorter(value)) yield [name, less]
  for (const less of shorter(name)) yield [less, value]
}

/** Without a half, a quarter, an eighth, and so on down to one character of a short text. */
function* shorter(text: string): Generator<string> {
  for (let size = text.length >> 1; size >= Math.max(1, text.length >> 4); size >>= 1) {
    for (let at = 0; at < text.length; at += size) yield text.slice(0, at) + text.slice(at + size)
  }
}
