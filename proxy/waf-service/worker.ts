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
import { Answering, LineBox } from './answering.ts'

/** What such a worker is born with. */
export interface AnsweringSetup {
  readonly slot: number
  readonly config: EdgeConfig
  readonly program: Program
  /** By tuning. */
  readonly variants: readonly string[]
}

function start(): void {
  const main = parentPort
  assert(main !== null, 'this module runs as a worker')
  const { slot, config, program, variants }: AnsweringSetup = workerData
  const { log } = operationLog(config.log.level)
  const port = createPort(slot, () => answering.run())
  const lines = {
    log: new LineBox(),
    audit: config.waf.auditLogFile === null ? null : new LineBox(),
  }
  const scanner = new AddonScanner(port)
  const waf = new Waf({
    program,
    scanner,
    witness: scanner,
    redaction: new Redaction(config.waf.events.redact),
    evidenceLimits: config.waf.events,
    auditBodyBytesMax: config.waf.auditBodyBytesMax,
    log: lines.log,
    audit: lines.audit,
    collections: { store: openCollectionStore('shared'), now: () => Date.now() },
  })
  const answering = new Answering({
    port,
    known: knownHeaders(),
    waf,
    lines,
    variants: new Map(variants.map((name, index) => [name, index])),
    hold: responseHoldOf(program),
    events: config.waf.events,
    // Room for the frame around it.
    answerBytesMax: config.waf.service.frameBytesMax - 1_024,
    clock: () => performance.now(),
    onHead: config.testHooks ? runTestHook : (_request: RequestHead) => undefined,
    onFailure: (error, exchange) => log.error({ err: error, exchange }, 'no verdict'),
  })
  // Nothing is said to it but its end; without a listener the thread would end by itself.
  main.on('message', () => undefined)
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
  main.postMessage({ type: 'ready', generation: port.generation })
  // Questions may have come before the port had anyone to wake.
  answering.run()
}

start()
