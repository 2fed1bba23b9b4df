/**
 * LatencyHistogram: how long requests took, by their name, as a metric of prom-client's registry. Its own histogram makes objects and a
 * hash of the labels for each observation, which costs more than relaying a heartbeat; this one adds to a number.
 *
 * Limits  as many rows as names; those are the broker's own
 */
import type { Metric, MetricObjectWithValues, MetricValueWithName, Registry } from 'prom-client'

interface Row {
  /** Observations by the first bucket that holds them; the last is of those beyond all bounds. */
  readonly counts: Float64Array
  sum: number
}

export class LatencyHistogram {
  readonly name: string
  readonly help: string
  readonly type = 'histogram'
  readonly aggregator = 'sum'
  /** Upper bounds in seconds, ascending. */
  readonly #bounds: readonly number[]
  readonly #rows = new Map<string, Row>()

  constructor(options: { readonly name: string; readonly help: string; readonly bounds: readonly number[] }) {
    this.name = options.name
    this.help = options.help
    this.#bounds = options.bounds
  }

  register(registry: Registry): void {
    // The registry asks a metric for its name, its type and get(), and for nothing else when it writes them out.
    registry.registerMetric(this as unknown as Metric)
  }

  observe(request: string, seconds: number): void {
    const row = this.#rows.get(request) ?? this.#addRow(request)
    const bounds = this.#bounds
    let bucket = 0
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++
    row.counts[bucket]! += 1
    row.sum += seconds
  }

  #addRow(request: string): Row {
    const row = { counts: new Float64Array(this.#bounds.length + 1), sum: 0 }
    this.#rows.set(request, row)
    return row
  }

  async get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    const values: MetricValueWithName<string>[] = []
    for (const [request, { counts, sum }] of this.#rows) {
      let count = 0
      for (const [index, observed] of counts.entries()) {
        count += observed
        const le = this.#bounds[index] ?? '+Inf'
        values.push({ labels: { le, request }, value: count, metricName: `${this.name}_bucket` })
      }
      values.push({ labels: { request }, value: sum, metricName: `${this.name}_sum` })
      values.push({ labels: { request }, value: count, metricName: `${this.name}_count` })
    }
    const { name, help, type, aggregator } = this
    return { name, help, type, aggregator, values } as unknown as MetricObjectWithValues<MetricValueWithName<string>>
  }
}
