/** Whether a result can be true: all fixed fields, each of its kind, and figures that agree with one another. Never its speed. */
import type { BenchResult } from '../../src/cli/bench/bench-result.ts'

const NUMBERS = [
  'records',
  'bytes',
  'seconds',
  'recordsPerSec',
  'mibPerSec',
  'p50Ms',
  'p99Ms',
  'p999Ms',
  'maxMs',
  'checksum',
] as const
const TEXTS = { profile: ['balanced', 'throughput', 'latency'], fsync: ['group', 'interval'], acks: ['all'] } as const
/** Rates are quotients of the fields beside them. */
const RELATIVE_ERROR_MAX = 1e-6

/** Throws an Error that names the field. */
export function checkResult(result: BenchResult): void {
  for (const name of NUMBERS)
    if (!Number.isFinite(result[name]) || result[name] < 0) throw new Error(`${name}: ${result[name]} is no figure`)
  for (const name of ['records', 'bytes', 'seconds', 'checksum'] as const)
    if (result[name] === 0) throw new Error(`${name} is 0: nothing was measured`)
  for (const [name, choices] of Object.entries(TEXTS))
    if (!(choices as readonly unknown[]).includes(result[name as keyof typeof TEXTS]))
      throw new Error(`${name}: '${result[name as keyof typeof TEXTS]}' is none of ${choices.join(', ')}`)
  const { records, bytes, seconds, p50Ms, p99Ms, p999Ms, maxMs } = result
  checkNear('recordsPerSec', result.recordsPerSec, records / seconds)
  checkNear('mibPerSec', result.mibPerSec, bytes / seconds / 2 ** 20)
  if (p50Ms > p99Ms || p99Ms > p999Ms || p999Ms > maxMs)
    throw new Error(`percentiles must not fall: ${p50Ms}, ${p99Ms}, ${p999Ms}, ${maxMs}`)
}

function checkNear(name: string, value: number, expected: number): void {
  if (Math.abs(value - expected) > expected * RELATIVE_ERROR_MAX)
    throw new Error(`${name}: ${value} is not ${expected}`)
}
