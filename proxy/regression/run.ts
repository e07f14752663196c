/** Runs regression cases against a target, one after the other, and counts. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { CaseRequest, RegressionCase, Stage } from './cases.ts'
import { type Difference, type Observation, judge } from './judge.ts'
import type { Overrides } from './overrides.ts'

/** Where cases are sent: an engine without a server, or a server. */
export interface Target {
  /** Sends one request; a text is the reason why this protocol cannot carry it. */
  send(request: CaseRequest): Promise<string | Sent>
  close(): void
}

/** A request that was sent. */
export interface Sent {
  readonly status: number
  /** What the WAF has logged of it by now; null where nobody reads its log. */
  log(): string | null
}

/** A case that failed. */
export interface Failure extends Difference {
  readonly id: string
  readonly file: string
  /** From 1. */
  readonly stage: number
}

/** A case that did not count, and why. */
export interface NotRun {
  readonly id: string
  readonly file: string
  readonly reason: string
}

/** What a run found. */
export interface RunReport {
  readonly passed: readonly { readonly id: string; readonly file: string }[]
  readonly failed: readonly Failure[]
  readonly notCarried: readonly NotRun[]
  readonly ignored: readonly NotRun[]
}

/** How long phase 5 may take to reach the log after the answer. */
const logAttempts = 6
const logDelayMs = 20

/** Runs every case. */
export async function runCases(
  cases: readonly RegressionCase[],
  target: Target,
  overrides: Overrides,
): Promise<RunReport> {
  const passed: { id: string; file: string }[] = []
  const failed: Failure[] = []
  const notCarried: NotRun[] = []
  const ignored: NotRun[] = []
  for (const given of cases) {
    const { id, file } = given
    const reason = overrides.ignored(given)
    if (reason !== null) {
      ignored.push({ id, file, reason })
      continue
    }
    const outcome = await runCase(overrides.apply(given), target)
    if (outcome === null) passed.push({ id, file })
    else if (typeof outcome === 'string') notCarried.push({ id, file, reason: outcome })
    else failed.push({ id, file, ...outcome })
  }
  return { passed, failed, notCarried, ignored }
}

type Outcome = null | string | (Difference & { readonly stage: number })

async function runCase({ stages }: RegressionCase, target: Target): Promise<Outcome> {
  for (const [index, stage] of stages.entries()) {
    let difference = await runStage(stage, target)
    if (difference !== null && typeof difference !== 'string' && stage.expect.retryOnce) {
      difference = await runStage(stage, target)
    }
    if (typeof difference === 'string') return difference
    if (difference !== null) return { ...difference, stage: index + 1 }
  }
  return null
}

async function runStage(
  { request, expect }: Stage,
  target: Target,
): Promise<Difference | string | null> {
  const sent = await target.send(request)
  if (typeof sent === 'string') return sent
  for (let attempt = 1; ; attempt += 1) {
    const log = sent.log()
    const seen: Observation = { status: sent.status, log }
    const difference = judge(expect, seen)
    if (difference === null || log === null || attempt === logAttempts) return difference
    await sleep(logDelayMs)
  }
}
