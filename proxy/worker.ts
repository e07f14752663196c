/** Entry of a WAF worker: joins the wire's queue and serves until it is told to stop. */
import assert from 'node:assert'
import { once } from 'node:events'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { accessLine } from './access-log.ts'
import { Generations } from './edge.ts'
import { EventRecorder } from './events/recorder.ts'
import { LogSink, descriptorTarget, logDelayMs } from './log-sink.ts'
import { operationLog } from './log.ts'
import { WorkerMetrics } from './metrics.ts'
import type { RequestHead } from './request.ts'
import { runTestHook } from './test-hooks.ts'
import { Turn } from './turn.ts'
import { EndpointLoads } from './upstream/endpoint-load.ts'
import { createPort, knownHeaders } from './wire.ts'
import type { ToMain, ToWorker, WorkerSetup } from './worker-messages.ts'

const stdout = 1
// What a worker counted since its last report is lost with it: keep that little.
const reportIntervalMs = 250

async function start(): Promise<void> {
  const main = parentPort
  assert(main !== null, 'this module runs as a worker')
  const setup: WorkerSetup = workerData ?? (await firstMessage(main))
  const { log } = operationLog(setup.config.log.level)
  const metrics = new WorkerMetrics()
  const access = setup.config.log.access
    ? new LogSink(descriptorTarget(stdout), { delayMs: logDelayMs })
    : null
  const recorder = new EventRecorder(setup.config.waf.events, () => performance.now())
  let reportDue = false

  const loads = new EndpointLoads()
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
  const post = (message: ToMain): void => main.postMessage(message)
  const report = (): void => {
    if (access !== null) metrics.accessLogDropped(access.dropped)
    metrics.outstanding(loads.all())
    metrics.eventsLost(recorder.lost)
    post({ kind: 'report', series: metrics.report(), events: recorder.take() })
    reportDue = false
  }
  const wake = (): void => {
    turn.run()
    const endpoints = loads.takeFailing()
    if (endpoints.length > 0) post({ kind: 'failing', endpoints })
    access?.flush()
    if (reportDue) return
    reportDue = true
    setTimeout(() => {
      if (reportDue) report()
    }, reportIntervalMs)
  }

  const port = createPort(setup.slot, () => wake())
  const generations = new Generations(setup, port, loads)
  const turn = new Turn({
    port,
    known: knownHeaders(),
    edge: generations.edge,
    now: () => Date.now(),
    clock: () => performance.now(),
    onHead: setup.config.testHooks ? runTestHook : (_request: RequestHead) => undefined,
    onEntry: (entry, explain) => {
      metrics.exchange(entry)
      access?.add(accessLine(entry))
      recorder.record(entry, explain)
    },
    onInspected: (phase, milliseconds) => metrics.inspection(phase, milliseconds),
    onReleased: (edge) => post({ kind: 'released', generation: generations.forget(edge) }),
    onFailure: (error, exchange) =>
      log.error({ err: error, exchange: exchange.requestId }, 'an exchange was not inspected'),
  })

  main.on('message', (request: ToWorker) => {
    if (request.kind === 'report') return report()
    if (request.kind === 'upstreams') return generations.update(request.upstreams)
    if (request.kind === 'swap') {
      if (generations.take(request)) log.level = request.setup.config.log.level
      return turn.swap(generations.edge)
    }
    // The last outcomes may have come together with this order.
    wake()
    report()
    void (access?.drained() ?? Promise.resolve()).then(() => post({ kind: 'stopped' }))
  })
  post({ type: 'ready', generation: port.generation })
  // Exchanges may have come before the port had anyone to wake.
  wake()
}

/** What a worker that was started ahead begins with. */
async function firstMessage(main: MessagePort): Promise<WorkerSetup> {
  const messages: unknown[] = await once(main, 'message')
  return messages[0] as WorkerSetup
}

await start()
