/** From the workers' series and the wire's numbers to Prometheus text. */
import type { MetricObject, PrometheusContentType } from 'prom-client'
import { type FamilyName, type Series, bucketsOf, families, isGauge } from '../metrics.ts'

/** One metric in prom-client's JSON, by which it merges the metrics of many workers. */
type MetricJson = Pick<MetricObject, 'help' | 'name'> & {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly aggregator: 'sum'
  readonly values: readonly {
    readonly metricName?: string
    readonly labels: Readonly<Record<string, string | number>>
    readonly value: number
  }[]
}

/** A number that the main thread knows by itself. */
export interface Sample {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly values: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
  }[]
}

/** One number, or one for each label; a name that ends with `_total` is that of a counter. */
export function sample(name: string, help: string, value: number | Sample['values']): Sample {
  const type = name.endsWith('_total') ? 'counter' : 'gauge'
  const values = typeof value === 'number' ? [{ labels: {}, value }] : value
  return { name, help, type, values }
}

/** Numbers of one sample, each under its own value of the label. */
export function byLabel(
  label: string,
  numbers: Readonly<Record<string, number>>,
): Sample['values'] {
  return Object.entries(numbers).map(([name, value]) => ({ labels: { [label]: name }, value }))
}

/** The content type of `expose`. */
export const expositionType = 'text/plain; version=0.0.4; charset=utf-8'

/** All reports summed, and the samples, as text. */
export async function expose(
  reports: readonly (readonly Series[])[],
  samples: readonly Sample[],
): Promise<string> {
  // Loaded with the first scrape: it brings a part of OpenTelemetry, which no start waits for.
  const { AggregatorRegistry } = await import('prom-client')
  const own = samples.map((sample): MetricJson => ({ ...sample, aggregator: 'sum' }))
  const merged = [own, ...reports.map((report) => metricsOf(report))]
  return AggregatorRegistry.aggregate<PrometheusContentType>(merged).metrics()
}

/** Adds up series, so that what a worker that is gone had counted stays counted. */
export function addSeries(sums: Map<string, Series>, report: readonly Series[]): void {
  for (const { family, labels, numbers } of report) {
    const key = `${family}\n${labels.join('\n')}`
    const before = sums.get(key)?.numbers ?? []
    const numbersNow = numbers.map((value, index) => value + (before[index] ?? 0))
    sums.set(key, { family, labels, numbers: numbersNow })
  }
}

function metricsOf(report: readonly Series[]): MetricJson[] {
  const byFamily = Map.groupBy(report, ({ family }) => family)
  return [...byFamily].map(([name, series]) => {
    const histogram = bucketsOf(name).length > 0
    return {
      name,
      help: families[name].help,
      type: histogram ? 'histogram' : isGauge(name) ? 'gauge' : 'counter',
      aggregator: 'sum',
      values: series.flatMap((one) => (histogram ? histogramValues(one) : [counterValue(one)])),
    }
  })
}

function counterValue({ family, labels, numbers }: Series): MetricJson['values'][number] {
  return { labels: named(family, labels), value: numbers[0] ?? 0 }
}

function histogramValues({ family, labels, numbers }: Series): MetricJson['values'] {
  const buckets = bucketsOf(family)
  const own = named(family, labels)
  let cumulated = 0
  const values = [...buckets, '+Inf'].map((le, index) => {
    cumulated += numbers[index] ?? 0
    return { metricName: `${family}_bucket`, labels: { le, ...own }, value: cumulated }
  })
  return [
    ...values,
    { metricName: `${family}_sum`, labels: own, value: numbers[buckets.length + 1] ?? 0 },
    { metricName: `${family}_count`, labels: own, value: cumulated },
  ]
}

function named(family: FamilyName, labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    families[family].labels.map((label, index) => [label, labels[index] ?? '']),
  )
}
