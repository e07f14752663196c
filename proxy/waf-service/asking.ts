/** An exchange that another program inspects: what it is asked, and what it has said so far. */
import type { ResponseFacts } from '../../waf/facts.ts'
import type { Verdict, WafMode } from '../../waf/verdict.ts'
import type { LineSink } from '../../waf/log-file.ts'
import type { BodyExtent } from '../body-extent.ts'
import type { ErrorCode } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { AskPlan, ResponseHold } from '../plan.ts'
import type { InspectionPolicy } from '../route.ts'
import { type Answer, type Told, asciiJson, readAnswer } from './protocol.ts'

/** What a worker must know to ask the service. */
export interface ServiceSettings {
  /** `variantNames`, by the tuning's index. */
  readonly variants: readonly string[]
  /** The proxy's own logs: the service has the matches, the proxy has the exchange. */
  readonly log: LineSink | null
  readonly audit: LineSink | null
}

/** What a proxy learns from the wire: the service's answer, or why there is none. */
export type Heard =
  | { readonly text: string; readonly error: null }
  | { readonly text: null; readonly error: ErrorCode }

/** The part of an exchange that is asked about now. */
export type Moment = AskPlan['moment']

/** What became of the question. */
export type Heeded =
  | { readonly moment: Moment; readonly verdict: Verdict; readonly error: null }
  | { readonly moment: Moment; readonly verdict: null; readonly error: ErrorCode }

/** One exchange at the service. */
export class Asked {
  readonly mode: WafMode
  readonly #settings: ServiceSettings
  readonly #question: string
  #moment: Moment | null = null
  #extent: BodyExtent = 'unread'
  #answer: Pick<Answer, 'responseNeed' | 'bodyBytesMax' | 'hold'> = nothing
  #told: Told | null = null

  constructor(
    exchange: Exchange,
    settings: ServiceSettings,
    { inspection, hasBody }: { readonly inspection: InspectionPolicy; readonly hasBody: boolean },
  ) {
    const { requestId, timeMs, clientAddress, route } = exchange
    this.mode = inspection.mode
    this.#settings = settings
    this.#question = asciiJson({
      variant: settings.variants[inspection.tuning] ?? '',
      mode: inspection.mode,
      requestId,
      timeMs,
      clientAddress,
      route: route?.name ?? '',
      hasBody,
    })
  }

  /** What log, metrics and events tell; null while nothing matched. */
  get told(): Told | null {
    return this.#told
  }

  /** The question that has no answer yet; null: none has. */
  get moment(): Moment | null {
    return this.#moment
  }

  /** How much of the response's body the service was shown. */
  get extent(): BodyExtent {
    return this.#extent
  }

  /** `SecRequestBodyLimit`, where it refuses what is longer. */
  get bodyBytesMax(): number {
    return this.#answer.bodyBytesMax ?? Infinity
  }

  /** What the wire shows of the response. */
  get inspectResponse(): 'none' | 'head' | ResponseHold {
    const { responseNeed, hold } = this.#answer
    if (responseNeed !== 'body') return responseNeed
    return hold ?? 'head'
  }

  /** The plan that asks. */
  ask(moment: Moment, response?: ResponseFacts & { readonly body: BodyExtent }): AskPlan {
    this.#moment = moment
    if (response !== undefined) this.#extent = response.body
    return { kind: 'ask', moment, extent: this.#extent, question: this.#question }
  }

  /** Phase 4 waits for the body, which is here now. */
  askBody(extent: BodyExtent): AskPlan {
    this.#extent = extent
    return this.ask('response-body')
  }

  /** Takes an answer; null for the last words on an exchange that is over. */
  hear(heard: Heard): Heeded | null {
    const moment = this.#moment
    this.#moment = null
    if (heard.error !== null) {
      this.#answer = nothing
      return moment === null ? null : { moment, verdict: null, error: heard.error }
    }
    const answer = readAnswer(heard.text)
    this.#answer = answer
    this.#told = answer.told ?? this.#told
    if (answer.log.length > 0) this.#settings.log?.write(answer.log)
    if (answer.audit.length > 0) this.#settings.audit?.write(answer.audit)
    return moment === null ? null : { moment, verdict: answer.verdict, error: null }
  }
}

const nothing = { responseNeed: 'none', bodyBytesMax: null, hold: null } as const
