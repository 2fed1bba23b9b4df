/**
 * CatchUpThrottle: how many bytes a second replicas that are not in sync may fetch, all of this broker's together: what is in sync, and
 * whoever waits for it, goes before those that begin anew or come from far behind.
 *
 * Thread      main; reads no clock but the one it is handed
 * Rule        a bucket of one second: what was fetched is taken out when it is known, so it may go below nothing and is waited out then
 */
export class CatchUpThrottle {
  readonly #bytesPerSecond: number
  #left: number
  #atMs = 0

  /** 0 = no limit. */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
    this.#left = bytesPerSecond
  }

  /** 0 = fetch now. */
  delayMs(nowMs: number): number {
    if (this.#bytesPerSecond === 0) return 0
    this.#refill(nowMs)
    return this.#left > 0 ? 0 : Math.ceil((1 - this.#left) / (this.#bytesPerSecond / 1000))
  }

  spend(bytes: number, nowMs: number): void {
    if (this.#bytesPerSecond === 0) return
    this.#refill(nowMs)
    this.#left -= bytes
  }

  #refill(nowMs: number): void {
    const gained = ((nowMs - this.#atMs) / 1000) * this.#bytesPerSecond
    this.#atMs = nowMs
    this.#left = Math.min(this.#bytesPerSecond, this.#left + gained)
  }
}
