/** Clock: the port through which everything that decides learns the time. Real, in base/node; virtual, in tests. */

export interface Clock {
  /** Wall time, milliseconds since the epoch, integer. May jump; for timestamps in records and files only. */
  nowMs(): number
  /** Time since an arbitrary start, milliseconds with fraction, never falls. For every timer and deadline. */
  monotonicMs(): number
}
