/** AckTimes: when acknowledgements came, for the questions a fault asks: how many in this time, what was the longest time without one. */

export interface Ack {
  readonly sentMs: number
  readonly ackedMs: number
  readonly partition: number
}

export interface Span {
  readonly fromMs: number
  readonly toMs: number
}

export class AckTimes {
  /** Of what was acknowledged, in that order. */
  readonly #acks: Ack[] = []
  readonly #nowMs: () => number

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  add(sentMs: number, partition: number): void {
    this.#acks.push({ sentMs, ackedMs: this.#nowMs(), partition })
  }

  get length(): number {
    return this.#acks.length
  }

  /** Acknowledged in that time: of all that was sent, or only of what was sent in it too. */
  count({ fromMs, toMs }: Span, isSentToo = false): number {
    return this.#within({ fromMs, toMs }).filter(({ sentMs }) => !isSentToo || sentMs >= fromMs).length
  }

  /** The longest time without an acknowledgement, of all partitions together or of one. */
  longestGapMs({ fromMs, toMs }: Span, partition?: number): number {
    let longest = 0
    let last = fromMs
    for (const ack of this.#within({ fromMs, toMs })) {
      if (partition !== undefined && ack.partition !== partition) continue
      longest = Math.max(longest, ack.ackedMs - last)
      last = ack.ackedMs
    }
    return Math.max(longest, toMs - last)
  }

  /** The first acknowledgement of a record of this partition that was sent after `afterMs`, measured from there; undefined: none yet. */
  firstAfter(afterMs: number, partition: number): number | undefined {
    const ack = this.#acks.find((each) => each.partition === partition && each.sentMs >= afterMs)
    return ack === undefined ? undefined : ack.ackedMs - afterMs
  }

  #within({ fromMs, toMs }: Span): Ack[] {
    return this.#acks.filter(({ ackedMs }) => ackedMs >= fromMs && ackedMs <= toMs)
  }
}
