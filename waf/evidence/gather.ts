/** From the notes of a transaction to its evidence: bounded in matches, values, bytes and time. */
import type { MatchedRule } from '../matched-rule.ts'
import { operatorName, transformationName } from '../matched-rule.ts'
import type { Target } from '../scan-plan.ts'
import type { MatchTrace, TextExcerpt, TraceAsk, Witness } from '../scanner.ts'
import type { Transaction } from '../transaction.ts'
import { fullName } from '../variables.ts'
import type {
  EvidenceLimits,
  Excerpt,
  LinkEvidence,
  MatchEvidence,
  ValueEvidence,
  WafEvidence,
} from './evidence.ts'
import { nameBytesMax } from './exclusion.ts'
import { stars, type Redaction } from './redact.ts'
import { noPoints, pointsAfter } from './score.ts'
import { changesOf } from './trail.ts'
import type { NotedLink, NotedValue } from './trail.ts'

/** What gathering works with. */
export interface Gathering {
  readonly witness: Witness
  readonly redaction: Redaction
  readonly limits: EvidenceLimits
}

/** Bytes transformed for one exchange after which texts are no longer computed again. */
const traceWorkBytesMax = 1024 * 1024
/** What a trace costs that found nothing. */
const traceBytesMax = 256 * 1024
const argumentCharactersMax = 256
const capturesMax = 10

/** Everything; while the addon still holds the exchange. */
export function gather(transaction: Transaction, gathering: Gathering): WafEvidence {
  const { matched } = transaction
  const kept = decisive(matched, gathering.limits.matchesMax)
  return {
    ...outline(transaction),
    matches: matchesOf(kept, transaction, new Teller(transaction, gathering)),
    matchesLeftOut: matched.length - kept.length,
    complete: true,
  }
}

/** Without the matches: for exchanges beyond what evidence is made for. */
export function outline(transaction: Transaction): WafEvidence {
  const { tx, facts, matched, scanner } = transaction
  const number = (...names: readonly string[]): number =>
    Number(names.map((name) => tx.get(name)).find((value) => value !== undefined) ?? 0)
  return {
    engine: transaction.engine,
    paranoia: {
      blocking: number('blocking_paranoia_level', 'paranoia_level'),
      detection: number('detection_paranoia_level', 'executing_paranoia_level'),
    },
    threshold: {
      inbound: number('inbound_anomaly_score_threshold'),
      outbound: number('outbound_anomaly_score_threshold'),
    },
    method: facts.method,
    filename: scanner.variable(facts.handle, 'REQUEST_FILENAME', '')[0]?.value ?? '',
    matches: [],
    matchesLeftOut: matched.length,
    complete: false,
  }
}

/** The first ones, and always those that stopped the exchange or would have. */
function decisive(matched: readonly MatchedRule[], max: number): readonly MatchedRule[] {
  if (matched.length <= max) return matched
  const stops = ({ rule, interruption }: MatchedRule): boolean =>
    interruption !== null || (rule.disruptive !== 'pass' && rule.disruptive !== 'allow')
  const first = new Set(matched.filter(stops).slice(0, max))
  for (const match of matched) if (first.size < max) first.add(match)
  return matched.filter((match) => first.has(match))
}

function matchesOf(
  kept: readonly MatchedRule[],
  transaction: Transaction,
  teller: Teller,
): MatchEvidence[] {
  let points = noPoints
  return kept.map((match) => {
    const { rule, notes } = match
    const changes = notes === null ? [] : changesOf(notes)
    const before = points
    points = pointsAfter(points, changes)
    const links = (notes?.links ?? []).map((link) => teller.link(link))
    const secret = links.some((link) => link.values.some((value) => value.redacted))
    const { redaction } = teller
    return {
      ruleId: rule.id,
      file: rule.source.file,
      line: rule.source.line,
      phase: rule.phase,
      message: teller.cut(match.message),
      data: secret ? '[redacted]' : redaction.text(teller.cut(match.data)),
      severity: rule.severity,
      paranoiaLevel: paranoiaLevel(match.tags),
      tags: match.tags.map((tag) => teller.cut(tag)),
      version: rule.ver,
      disruptive: rule.disruptive,
      interruption: match.interruption?.action ?? null,
      links,
      changes: changes
        .filter(({ before: was, after }) => was !== after)
        .map(({ name, before: was, after }) => ({
          name,
          before: secret ? stars(teller.cut(was)) : redaction.text(teller.cut(was)),
          after: isNumber(after) || !secret ? redaction.text(teller.cut(after)) : '[redacted]',
        })),
      score: { before, after: points },
    }
  })
}

function isNumber(text: string): boolean {
  return /^-?\d{1,9}$/.test(text)
}

function paranoiaLevel(tags: readonly string[]): number | null {
  for (const tag of tags) {
    const found = /^paranoia-level\/([1-4])$/.exec(tag)
    if (found !== null) return Number(found[1])
  }
  return null
}

interface ValueContext {
  readonly transformations: readonly string[]
  /** Which of the values that look the same. */
  readonly nth: number
  /** '' for that of the leaf. */
  readonly argument: string
}

/** Tells links and values, as long as the work lasts. */
class Teller {
  readonly redaction: Redaction
  readonly #transaction: Transaction
  readonly #witness: Witness
  readonly #limits: EvidenceLimits
  #workBytes = 0

  constructor(transaction: Transaction, { witness, redaction, limits }: Gathering) {
    this.redaction = redaction
    this.#transaction = transaction
    this.#witness = witness
    this.#limits = limits
  }

  /** At most as many characters as a text may have. */
  cut(text: string): string {
    return text.slice(0, this.#limits.excerptBytesMax)
  }

  link(noted: NotedLink): LinkEvidence {
    const { link } = noted
    const told = noted.values.slice(0, this.#limits.valuesMax)
    const transformations = link.transformations
      .filter((name) => name !== 'none')
      .map(transformationName)
    const seen = new Map<string, number>()
    // A constant argument is in the leaf; the addon would compile it anew.
    const argument = noted.argument === link.argument ? '' : noted.argument
    return {
      line: link.source.line,
      targets: link.targets.map(targetText),
      operator: operatorName(link.operator),
      negated: link.negated,
      argument: noted.argument.slice(0, argumentCharactersMax),
      transformations,
      values: told.map((value) => {
        const same = `${fullName(value)}\n${value.value}`
        const nth = seen.get(same) ?? 0
        seen.set(same, nth + 1)
        return this.#value(value, { transformations, nth, argument })
      }),
      valuesLeftOut: noted.valuesLeftOut + noted.values.length - told.length,
    }
  }

  #value(value: NotedValue, of: ValueContext): ValueEvidence {
    const { variable } = value
    const name = value.name?.slice(0, nameBytesMax) ?? null
    const redacted = this.redaction.hides(variable, name)
    const show = (excerpt: TextExcerpt): Excerpt => ({
      ...excerpt,
      text: redacted ? stars(excerpt.text) : this.redaction.text(excerpt.text),
    })
    const { value: seen } = value
    const trace = this.#trace(value, of)
    const { spanStart, spanLength } = trace ?? {}
    return {
      variable: fullName({ ...value, name }),
      collection: variable,
      name,
      redacted,
      before: show(trace?.before ?? { text: this.cut(seen), offset: 0, length: seen.length }),
      steps: (trace?.steps ?? []).map((step, index) => ({
        transformation: of.transformations[index] ?? '',
        after: step === null ? null : show(step),
      })),
      span:
        typeof spanStart === 'number' && typeof spanLength === 'number'
          ? { start: spanStart, length: spanLength }
          : null,
      captures: (trace?.captures ?? []).slice(0, capturesMax).map((group) => show(group).text),
    }
  }

  #trace(
    { variable, name, value, leaf, source }: NotedValue,
    { nth, argument }: ValueContext,
  ): MatchTrace | null {
    if (leaf === undefined || this.#workBytes > traceWorkBytesMax) return null
    const { program, facts } = this.#transaction
    const ask: TraceAsk = {
      plan: program.plan,
      leaf,
      argument,
      variable,
      ...(name === null ? {} : { name }),
      value,
      nth,
      excerptBytesMax: this.#limits.excerptBytesMax,
    }
    const trace =
      source === undefined
        ? this.#witness.trace(facts.handle, ask)
        : this.#witness.traceText(ask, source)
    this.#workBytes += trace?.workBytes ?? traceBytesMax
    return trace
  }
}

/** `!ARGS:x`, `&REQUEST_HEADERS:/^x-/`. */
function targetText({ variable, name, namePattern, count, exclude }: Target): string {
  const member = namePattern === null ? name : `/${namePattern}/`
  return `${exclude ? '!' : ''}${count ? '&' : ''}${variable}${member === null ? '' : `:${member}`}`
}
