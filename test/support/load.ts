/** Load: a producer that sends until it is stopped, each record once, told to a ledger. */

import type { SeededPrng } from '../../src/base/prng.ts'
import type { Producer } from '../../src/client/index.ts'
import { isMillraceError } from '../../src/client/index.ts'
import type { Ledger } from './ledger.ts'

export interface LoadOptions {
  readonly producer: Producer
  readonly ledger: Ledger
  /** The sender's number in the history. */
  readonly process: number
  readonly prng: SeededPrng
  readonly partitions: readonly number[]
  readonly inFlightMax?: number
  readonly fillerBytesMax?: number
  readonly firstSerial?: number
}

export class Load {
  readonly #options: Required<LoadOptions>
  readonly #filler: string
  #serial: number
  #open = 0
  #isStopped = false
  #wake: () => void = () => {}
  /** Codes of what was given up, with how often. */
  readonly failures = new Map<string, number>()
  /** The first failure of each code. */
  readonly firstFailures = new Map<string, Error>()

  constructor(options: LoadOptions) {
    this.#options = { inFlightMax: 40, fillerBytesMax: 2_000, firstSerial: 0, ...options }
    this.#filler = 'x'.repeat(this.#options.fillerBytesMax)
    this.#serial = this.#options.firstSerial
  }

  /** Of the next record. */
  get serial(): number {
    return this.#serial
  }

  stop(): void {
    this.#isStopped = true
    this.#wake()
  }

  /** Resolves when it was stopped and every record sent has been answered or given up. */
  async run(): Promise<void> {
    const { inFlightMax, prng } = this.#options
    while (!this.#isStopped) {
      if (this.#open >= inFlightMax) await this.#woken()
      else {
        this.#sendOne()
        if (prng.below(8) === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    }
    while (this.#open > 0) await this.#woken()
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  #sendOne(): void {
    const { prng, partitions, ledger, process, producer, fillerBytesMax } = this.#options
    const partition = partitions[prng.below(partitions.length)]!
    const serial = this.#serial++
    const value = `${process}:${serial}:${this.#filler.slice(0, prng.below(fillerBytesMax))}`
    ledger.invoke(process, partition, serial)
    this.#open++
    producer.send({ value, partition }).then(
      ({ offset }) => {
        ledger.acknowledge(process, { partition, offset, serial })
        this.#settled()
      },
      (error: Error) => {
        ledger.giveUp(process, partition, serial)
        const code = isMillraceError(error) ? error.code : error.name
        this.failures.set(code, (this.failures.get(code) ?? 0) + 1)
        if (!this.firstFailures.has(code)) this.firstFailures.set(code, error)
        this.#settled()
      },
    )
  }

  #settled(): void {
    this.#open--
    this.#wake()
  }
}
