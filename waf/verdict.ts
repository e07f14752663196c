/**
 * What an inspection decides. A denial is a value, not an error: `proxy/serve.ts` turns it into a
 * plan, and only `failed` (nothing could be decided) follows `waf.onFailure`.
 */

/** How a route wants its exchanges inspected. */
export type WafMode = 'block' | 'detect' | 'off'

/** Why an inspection came to no decision. */
export type FailureReason = 'over-budget'

/** The decision on an exchange so far. */
export type Verdict =
  | { readonly action: 'pass' }
  /** Phase 1 (or 3) passed; the next phase waits for the body. */
  | { readonly action: 'needs-body' }
  | {
      readonly action: 'deny'
      readonly status: number
      readonly ruleId: number
      readonly phase: number
    }
  | {
      readonly action: 'redirect'
      readonly status: number
      readonly location: string
      readonly ruleId: number
      readonly phase: number
    }
  | { readonly action: 'failed'; readonly reason: FailureReason }

/** A rule that stopped the exchange. */
export type Interruption = Extract<Verdict, { action: 'deny' | 'redirect' }>

/** Nothing against it. */
export const pass: Verdict = Object.freeze({ action: 'pass' })
/** Go on, and come back with the body. */
export const needsBody: Verdict = Object.freeze({ action: 'needs-body' })
/** The scan's time budget is spent. */
export const overBudget: Verdict = Object.freeze({ action: 'failed', reason: 'over-budget' })
