/** Exponential backoff with full jitter on the upper half: no two clients come back in step, none comes back at once. */
import type { Prng } from '../base/prng.ts'

export interface BackoffOptions {
  readonly delayMsMin: number
  readonly delayMsMax: number
}

/** Delay before attempt `failures` + 1, in [d/2, d] with d = delayMsMin · 2^(failures − 1), at most delayMsMax; 0 without failures. */
export function backoffMs(prng: Prng, failures: number, options: BackoffOptions): number {
  if (failures <= 0) return 0
  const full = Math.min(options.delayMsMax, options.delayMsMin * 2 ** Math.min(failures - 1, 30))
  return full / 2 + prng.unit() * (full / 2)
}
