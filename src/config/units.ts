/** Durations and sizes as people write them: `50ms`, `5s`, `14d`; `64MiB`, `1500`. Exact, never rounded. */

const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZES: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  kB: 1000,
  KB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
}

const DURATION = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/
const SIZE = /^(\d{1,15}(?:\.\d{1,6})?)([KMG]iB|[kKMG]B|B|)$/

/** The shapes, for JSON Schema. */
export const DURATION_PATTERN = `^0$|${DURATION.source}`
export const SIZE_PATTERN = SIZE.source

/** Milliseconds of `5s`; undefined for anything else. A bare 0 is a duration too. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  return parseUnits(text, DURATION, DURATIONS)
}

/** Bytes of `64MiB` or `1500`; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  return parseUnits(text, SIZE, SIZES)
}

function parseUnits(text: string, shape: RegExp, units: Readonly<Record<string, number>>): number | undefined {
  const match = shape.exec(text)
  if (match === null) return undefined
  const value = Number(match[1]) * units[match[2]!]!
  return Number.isSafeInteger(value) ? value : undefined
}

/** The shortest exact way to write it. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = DURATIONS[unit]!
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`
  }
  return `${ms}ms`
}

/** The shortest exact way to write it, in binary units. */
export function formatSize(bytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB']) {
    const size = SIZES[unit]!
    if (bytes >= size && bytes % size === 0) return `${bytes / size}${unit}`
  }
  return String(bytes)
}
