/**
 * GroupIterators: `for await` and batches() over a group.
 *
 * Invariants  I1 a record counts as handled when the next one is asked for, a batch likewise: never before
 *             I2 asking for the next one is what lets a partition that is being revoked go
 * Hot path    records of an open batch: a settled promise each, nothing else
 */
import { FetchedBatch } from '../fetched-batch.ts'
import type { DecodeRecord } from '../record-decoder.ts'
import type { ConsumedBatch, ConsumedRecord } from '../record-types.ts'
import type { AssignedPartition } from './assigned-partition.ts'
import type { GroupReader } from './group-reader.ts'

/** What iterating needs of the group. */
export interface IteratedGroup<Handed> {
  readonly reader: GroupReader
  readonly decode: DecodeRecord<Handed>
  /** Waits for something to read. False at the end; throws what ended the group. */
  wait(): Promise<boolean>
  /** What has been thrown at the caller ends the group. */
  fail(error: unknown): void
  close(): Promise<void>
}

export class GroupIterators<Handed> {
  /** Nothing is handed out: the group is closed, or its session is in doubt. */
  isHalted = false
  readonly #group: IteratedGroup<Handed>
  #partition: AssignedPartition | undefined
  #isBatch = false
  #isBusy = false
  /** Records or batches that were handed out. */
  #count = 0

  constructor(group: IteratedGroup<Handed>) {
    this.#group = group
  }

  /** What shows that the handler goes on; undefined = it has nothing. */
  get progress(): number | undefined {
    return this.#isBusy ? this.#count : undefined
  }

  get count(): number {
    return this.#count
  }

  records(): AsyncIterableIterator<Handed> {
    const group = this.#group
    const advance = async (): Promise<IteratorResult<Handed>> => {
      while (await group.wait()) {
        const record = this.#nextRecord()
        if (record !== undefined) return { done: false, value: record }
      }
      return { done: true, value: undefined }
    }
    // What was finished before it is committed when the caller sees the error.
    const failed = async (error: unknown): Promise<never> => {
      group.fail(error)
      await group.close()
      throw error
    }
    return {
      next: () => {
        this.finish()
        try {
          const record = this.#nextRecord()
          if (record !== undefined) return Promise.resolve({ done: false as const, value: record })
          return advance().catch(failed)
        } catch (error) {
          return failed(error)
        }
      },
      return: () => this.#end(),
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  batches(): AsyncIterableIterator<ConsumedBatch> {
    const reader = this.#group.reader.newBatchReader()
    return {
      next: async () => {
        this.finish()
        while (await this.#group.wait()) {
          const partition = this.isHalted ? undefined : this.#group.reader.pullBatch()
          if (partition === undefined) continue
          const fetched = partition.opened!
          const from = { ...fetched, fromOffset: Math.max(fetched.fromOffset, partition.position) }
          partition.position = fetched.nextOffset
          this.#hand(partition, from.fromOffset)
          this.#isBatch = true
          return { done: false, value: new FetchedBatch(from, reader) }
        }
        return { done: true, value: undefined }
      },
      return: () => this.#end(),
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  /** What was handed out last has been handled. */
  finish(): void {
    if (!this.#isBusy) return
    const partition = this.#partition!
    this.#isBusy = false
    const isCurrent = partition.inHandOffset >= 0 // after a seek() it counts no more
    partition.inHandOffset = -1
    if (this.#isBatch) {
      if (isCurrent) partition.closeBatch()
      this.#group.reader.gate(partition)
    }
    partition.leave()
  }

  /** Whoever leaves the loop has not said that the last record was handled: it comes again. */
  async #end(): Promise<{ done: true; value: undefined }> {
    if (this.#isBusy) {
      this.#isBusy = false
      this.#partition!.leave()
    }
    await this.#group.close()
    return { done: true, value: undefined }
  }

  #nextRecord(): Handed | undefined {
    const { reader } = this.#group
    if (this.isHalted) return undefined
    for (;;) {
      let record: ConsumedRecord | undefined
      if (this.#partition !== undefined) record = reader.next(this.#partition)
      if (record === undefined) {
        const pulled = reader.pull(acceptAny)
        if (pulled === undefined) return undefined
        this.#partition = pulled.partition
        record = pulled.record
      }
      const partition = this.#partition!
      const handed = this.#decode(partition, record)
      if (handed === undefined) continue // passed over: handled
      this.#hand(partition, record.offset)
      return handed
    }
  }

  #decode(partition: AssignedPartition, record: ConsumedRecord): Handed | undefined {
    try {
      return this.#group.decode(record)
    } catch (error) {
      partition.position = record.offset // what cannot be decoded is not passed over: nor is it committed
      throw error
    }
  }

  #hand(partition: AssignedPartition, offset: number): void {
    this.finish() // calls of next() that overlap: this one was asked for
    this.#partition = partition
    partition.inHandOffset = offset
    this.#isBusy = true
    this.#count++
    partition.enter()
  }
}

function acceptAny(): boolean {
  return true
}
