/**
 * ReplicaImages: what the brokers' disks hold of each partition, and what must be true of that together.
 *
 * Invariants checked   I1  acknowledged or read: on the synced image of min.insync.replicas replicas, with the same bytes, at any moment
 *                      I2  two batches with one leader epoch at one offset are one batch: nobody else appends under an epoch
 *                      I3  at rest all replicas hold the same
 *                      I10 producer, epoch and sequence once in a log; offsets without gaps, checksums, epochs that do not fall (readLog)
 */
import type { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { openDataDir } from '../../../src/log/data-dir.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { partitionFolder, type TopicId } from '../../../src/model/ids.ts'
import { type BatchLedger, type LogContent, readLog } from '../simulation/batch-ledger.ts'
import { DATA_DIR } from '../simulation/simulated-broker.ts'

export interface CheckedPartition {
  readonly topic: string
  readonly topicId: TopicId
  readonly partition: number
}

interface Image {
  readonly nodeId: number
  /** By folder; undefined: damaged, or not there. */
  readonly logs: ReadonlyMap<string, LogContent | undefined>
}

const EMPTY: LogContent = {
  ...{ segments: 0, startOffset: 0, endOffset: 0 },
  ...{ hashes: new Map(), leaderEpochs: [], producers: new Map() },
}

export class ReplicaImages {
  readonly #ledger: BatchLedger
  /** folder/epoch/offset -> hash of the batch that some leader appended there. */
  readonly #appended = new Map<string, number>()

  constructor(ledger: BatchLedger) {
    this.#ledger = ledger
  }

  /** What a start on this disk would find. The disk is changed by it. */
  imageOf(nodeId: number, disk: MemoryFileSystem, partitions: readonly CheckedPartition[]): Image {
    const logs = new Map<string, LogContent | undefined>()
    if (disk.stat(`${DATA_DIR}/data-dir.json`).kind === 'absent') return { nodeId, logs }
    const probe = { pid: 999_999, bootId: 'image', startOf: () => undefined }
    const dataDir = openDataDir(disk, { path: DATA_DIR, nodeId, newClusterId: 'image', probe })
    const { incarnation } = dataDir.identity
    const recovery = recoverDataDir(disk, { dataDir: DATA_DIR, incarnation, previousRun: dataDir.previousRun })
    const byFolder = new Map(recovery.results.map((result) => [result.folder, result.recovered]))
    for (const { topicId, partition } of partitions) {
      const folder = partitionFolder(topicId, partition)
      const recovered = byFolder.get(folder)
      if (recovered == null || recovered.damaged != null) continue
      const content = readLog(disk, `${DATA_DIR}/${folder}`)
      logs.set(folder, content)
      this.#checkAppended(nodeId, folder, content)
    }
    return { nodeId, logs }
  }

  /** I1: each of these partitions on so many of the images. */
  checkSafe(images: readonly Image[], partitions: readonly CheckedPartition[], minInsyncReplicas: number): void {
    for (const checked of partitions) {
      const faults = images.map((image) => `node ${image.nodeId} ${this.#lackOf(image, checked) ?? 'has it all'}`)
      const whole = faults.filter((fault) => fault.endsWith('has it all')).length
      if (whole >= minInsyncReplicas) continue
      const { topic, partition } = checked
      throw new Error(
        `${topic}-${partition}: ${whole} replicas have on their disks what was acknowledged or read, fewer than min.insync.replicas: ${faults.join('; ')}`,
      )
    }
  }

  /** I3: what these nodes hold of the partition is the same, and all that was acknowledged or read. */
  checkEqual(images: readonly Image[], checked: CheckedPartition, replicas: readonly number[]): void {
    const { topic, topicId, partition } = checked
    const folder = partitionFolder(topicId, partition)
    let first: { readonly nodeId: number; readonly content: LogContent } | undefined
    for (const image of images.filter(({ nodeId }) => replicas.includes(nodeId))) {
      const lack = this.#lackOf(image, checked)
      if (lack !== undefined) throw new Error(`${topic}-${partition}: at rest node ${image.nodeId} ${lack}`)
      const content = image.logs.get(folder) ?? EMPTY
      first ??= { nodeId: image.nodeId, content }
      const difference = differenceOf(first.content, content)
      if (difference !== undefined)
        throw new Error(
          `${topic}-${partition}: at rest nodes ${first.nodeId} and ${image.nodeId} differ: ${difference}`,
        )
    }
    if (first === undefined) throw new Error(`${topic}-${partition} lies nowhere`)
  }

  /** What of the acknowledged or read it does not hold. */
  #lackOf({ logs }: Image, { topic, topicId, partition }: CheckedPartition): string | undefined {
    const known = this.#ledger.of(topic, partition)
    if (known.safeEnd === 0) return undefined
    const content = logs.get(partitionFolder(topicId, partition))
    if (content === undefined) return 'has no sound log'
    if (content.endOffset < known.safeEnd) return `ends at ${content.endOffset}, before ${known.safeEnd}`
    for (const [baseOffset, hash] of known.hashes)
      if (baseOffset >= content.startOffset && content.hashes.get(baseOffset) !== hash)
        return `holds at offset ${baseOffset} not what was read there`
    return undefined
  }

  /** I2 */
  #checkAppended(nodeId: number, folder: string, content: LogContent): void {
    for (const [epoch, baseOffset, hash] of batchesOf(content)) {
      const key = `${folder}/${epoch}/${baseOffset}`
      const before = this.#appended.get(key)
      if (before !== undefined && before !== hash)
        throw new Error(`${folder}: two batches at offset ${baseOffset} under leader epoch ${epoch}; node ${nodeId}`)
      this.#appended.set(key, hash)
    }
  }
}

/** [leader epoch, base offset, hash] of each batch. */
function* batchesOf({ hashes, leaderEpochs }: LogContent): Iterable<readonly [number, number, number]> {
  let at = 0
  for (const [baseOffset, hash] of hashes) {
    while (at + 1 < leaderEpochs.length && leaderEpochs[at + 1]![1] <= baseOffset) at++
    yield [leaderEpochs[at]![0], baseOffset, hash]
  }
}

function differenceOf(left: LogContent, right: LogContent): string | undefined {
  if (left.endOffset !== right.endOffset) return `one ends at ${left.endOffset}, the other at ${right.endOffset}`
  const from = Math.max(left.startOffset, right.startOffset)
  for (const [baseOffset, hash] of left.hashes)
    if (baseOffset >= from && right.hashes.get(baseOffset) !== hash) return `at offset ${baseOffset}`
  return undefined
}
