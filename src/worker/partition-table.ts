/** PartitionTable: the shard's partitions by the gateway's dense handle. */
import type { PartitionRef } from '../model/ids.ts'
import type { PartitionAgent } from './partition-agent.ts'

export class PartitionTable {
  readonly #byRef: (PartitionAgent | undefined)[] = []
  #count = 0

  get count(): number {
    return this.#count
  }

  get(ref: number): PartitionAgent | undefined {
    return this.#byRef[ref]
  }

  /** False when the handle is taken. */
  add(partition: PartitionAgent): boolean {
    const ref = partition.state.partitionRef
    if (this.#byRef[ref] !== undefined) return false
    while (this.#byRef.length <= ref) this.#byRef.push(undefined)
    this.#byRef[ref] = partition
    this.#count++
    return true
  }

  remove(ref: PartitionRef): void {
    if (this.#byRef[ref] === undefined) return
    this.#byRef[ref] = undefined
    this.#count--
  }

  *[Symbol.iterator](): Iterator<PartitionAgent> {
    for (const partition of this.#byRef) if (partition !== undefined) yield partition
  }
}
