/** What ordinary requests feel of a flood: the same client before it and beside it. */

/** See test/clients/go/ordinary.go. */
export interface Ordinary {
  /** When each one was due (Unix time) and how long after that it was over, in milliseconds. */
  readonly requests: readonly (readonly [number, number])[]
  readonly failed: readonly string[]
  readonly connections: number
  readonly refused: number
}

/** How many connections an ordinary client makes when none is closed. */
export const ordinaryConnections = 4

/** Unix times in milliseconds: nothing happens, all connect, they flood, all is over. */
export interface Span {
  readonly quietMs: number
  readonly dialMs: number
  readonly floodMs: number
  readonly endMs: number
}

/** Percentiles of some requests. */
interface Latency {
  readonly requests: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** The account of the ordinary requests. */
export interface Benign {
  readonly failed: readonly string[]
  /** Connections that the server closed, and requests that had to be sent again. */
  readonly cut: number
  readonly refused: number
  readonly alone: Latency
  /** While all attackers shake hands at once: the price of TLS, and no flood yet. */
  readonly dialing: Latency
  readonly beside: Latency
  /** Beside floods of another server here: what their load does by itself. */
  readonly elsewhere: Latency
  /** Beside by elsewhere; by alone where nothing was flooded elsewhere. */
  readonly p50Ratio: number
  readonly p99Ratio: number
}

/**
 * Sorts the requests by when they were due: in `spans` the server was flooded that they were sent
 * to, in `others` another one. The rest (programs start and end) counts nowhere.
 */
export function weigh(
  ordinary: Ordinary,
  spans: readonly Span[],
  others: readonly Span[] = [],
): Benign {
  const during = (among: readonly Span[], from: keyof Span, to: keyof Span) =>
    latency(
      ordinary.requests
        .filter(([due]) => among.some((span) => due >= span[from] && due < span[to]))
        .map(([, took]) => took),
    )
  const alone = during([...spans, ...others], 'quietMs', 'dialMs')
  const beside = during(spans, 'floodMs', 'endMs')
  const elsewhere = during(others, 'floodMs', 'endMs')
  const usual = others.length === 0 ? alone : elsewhere
  return {
    failed: ordinary.failed,
    cut: ordinary.connections - ordinaryConnections,
    refused: ordinary.refused,
    alone,
    dialing: during(spans, 'dialMs', 'floodMs'),
    beside,
    elsewhere,
    p50Ratio: ratio(beside.p50Ms, usual.p50Ms),
    p99Ratio: ratio(beside.p99Ms, usual.p99Ms),
  }
}

function latency(took: readonly number[]): Latency {
  const sorted = took.toSorted((left, right) => left - right)
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0
  return { requests: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99) }
}

function ratio(beside: number, usual: number): number {
  return usual === 0 ? 0 : Math.round((100 * beside) / usual) / 100
}
