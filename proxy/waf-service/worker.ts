/** Entry of a worker of the WAF service: joins the wire's queue and answers until it is ended. */
import assert from 'node:assert'
import { parentPort, workerData } from 'node:worker_threads'
import { Redaction } from '../../waf/evidence/redact.ts'
import type { Program } from '../../waf/program.ts'
import { AddonScanner, openCollectionStore } from '../../waf/scanner.ts'
import { Waf } from '../../waf/waf.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { responseHoldOf } from '../edge.ts'
import { operationLog } from '../log.ts'
import type { RequestHead } from '../request.ts'
import { runTestHook } from '../test-hooks.ts'
import { createPort, knownHeaders } from '../wire.ts'
import { Answering, type AnsweringRules, LineBox } from './answering.ts'

/** Rules as a worker is given them. */
export interface ServedRules {
  /** Counts up from the start of the program. */
  readonly generation: number
  readonly config: EdgeConfig
  readonly program: Program
  /** By tuning. */
  readonly variants: readonly string[]
}

/** What such a worker is born with. */
export interface AnsweringSetup {
  readonly slot: number
  /** The newest first. */
  readonly rules: readonly [ServedRules, ...ServedRules[]]
}

/** What it is told. */
export type ToAnswering =
  | { readonly kind: 'take'; readonly rules: ServedRules }
  | { readonly kind: 'forget'; readonly generation: number }

/** What it tells, besides that it is ready. */
export interface FromAnswering {
  readonly kind: 'released'
  readonly generation: number
}

function start(): void {
  const main = parentPort
  assert(main !== null, 'this module runs as a worker')
  const { slot, rules: served }: AnsweringSetup = workerData
  const [{ config }] = served
  const { log } = operationLog(config.log.level)
  const port = createPort(slot, () => answering.run())
  const lines = {
    log: new LineBox(),
    audit: config.waf.auditLogFile === null ? null : new LineBox(),
  }
  const scanner = new AddonScanner(port)
  const collections = { store: openCollectionStore('shared'), now: () => Date.now() }
  const rulesOf = ({
    generation,
    config: own,
    program,
    variants,
  }: ServedRules): AnsweringRules => ({
    generation,
    waf: new Waf({
      program,
      scanner,
      witness: scanner,
      redaction: new Redaction(own.waf.events.redact),
      evidenceLimits: own.waf.events,
      auditBodyBytesMax: own.waf.auditBodyBytesMax,
      log: lines.log,
      audit: lines.audit,
      collections,
    }),
    variants: new Map(variants.map((name, index) => [name, index])),
    hold: responseHoldOf(program),
  })
  const [oldest, ...newer] = served.toReversed()
  assert(oldest !== undefined)
  const answering = new Answering({
    port,
    known: knownHeaders(),
    rules: rulesOf(oldest),
    lines,
    events: config.waf.events,
    // Room for the frame around it.
    answerBytesMax: config.waf.service.frameBytesMax - 1_024,
    clock: () => performance.now(),
    onHead: config.testHooks ? runTestHook : (_request: RequestHead) => undefined,
    onReleased: (generation) => {
      const message: FromAnswering = { kind: 'released', generation }
      // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
      main.postMessage(message)
    },
    onFailure: (error, exchange) => log.error({ err: error, exchange }, 'no verdict'),
  })
  for (const rules of newer) answering.take(rulesOf(rules))
  main.on('message', (message: ToAnswering) => {
    if (message.kind === 'take') answering.take(rulesOf(message.rules))
    else answering.forget(message.generation)
  })
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
  main.postMessage({ type: 'ready', generation: port.generation })
  // Questions may have come before the port had anyone to wake.
  answering.run()
}

start()
