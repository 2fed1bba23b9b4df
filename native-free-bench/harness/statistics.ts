/** Medians and percentiles of small samples: benchmarks quote the median of several runs with min and max. */

export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Median, least and greatest of at least one number. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((left, right) => left - right)
  const middle = Math.floor(sorted.length / 2)
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, min: sorted[0]!, max: sorted.at(-1)! }
}

/** The value below which `share` (0 to 1) of the samples lie; sorts `samples` in place. NaN without samples. */
export function percentile(samples: Float64Array, share: number): number {
  if (samples.length === 0) return Number.NaN
  samples.sort()
  return samples[Math.min(samples.length - 1, Math.floor(samples.length * share))]!
}

/** `123.4 (100.2–150.9)`. */
export function spreadText(spread: Spread, digits = 1): string {
  return `${spread.median.toFixed(digits)} (${spread.min.toFixed(digits)}–${spread.max.toFixed(digits)})`
}

/** Three or four significant digits, so that 0.012 and 123456 both read well. */
export function formatCount(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(3)))
}
