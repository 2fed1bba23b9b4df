/**
 * BatchLedger: every record batch that somebody has read, by its place: the same place must hold the same bytes for ever, for every
 * later reader and on the disk at the end (invariant I3, and I10 on the final log).
 */
import { crc32c } from '../../../src/base/crc32c.ts'
import type { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { producerSnapshotName } from '../../../src/log/producer-snapshot-file.ts'
import { type ProducerDescription, ProducerState } from '../../../src/log/producer-state.ts'
import type { RecoveredPartition } from '../../../src/log/recovered-partition.ts'
import { BATCH_HEADER_BYTES } from '../../../src/record/batch-layout.ts'
import { BatchView } from '../../../src/record/batch-view.ts'

interface KnownPartition {
  readonly hashes: Map<number, number>
  /** Offset after the last record that was read or acknowledged. */
  safeEnd: number
}

/** What the log files of a partition hold. */
export interface LogContent {
  readonly segments: number
  readonly startOffset: number
  readonly endOffset: number
  readonly hashes: ReadonlyMap<number, number>
  /** [epoch, its first offset], as the batches say. */
  readonly leaderEpochs: readonly (readonly [number, number])[]
  /** By producer id: its last batch. */
  readonly producers: ReadonlyMap<
    number,
    { readonly epoch: number; readonly lastSequence: number; readonly lastOffset: number }
  >
}

const LOG_NAME = /^(\d{20})\.log$/

export class BatchLedger {
  readonly #partitions = new Map<string, KnownPartition>()
  readonly #view = new BatchView()

  of(topic: string, partition: number): KnownPartition {
    const key = `${topic}/${partition}`
    let known = this.#partitions.get(key)
    if (known === undefined) {
      known = { hashes: new Map(), safeEnd: 0 }
      this.#partitions.set(key, known)
    }
    return known
  }

  /** Whole batches as a fetch brought them. Throws when one is not what was read there before. */
  read(topic: string, partition: number, bytes: Uint8Array): void {
    const known = this.of(topic, partition)
    const view = this.#view
    let at = 0
    while (at + BATCH_HEADER_BYTES <= bytes.length) {
      view.reset(bytes, at)
      const { end, baseOffset, nextOffset } = view
      if (end > bytes.length) break
      const hash = crc32c(bytes.subarray(at, end))
      const before = known.hashes.get(baseOffset)
      if (before !== undefined && before !== hash)
        throw new Error(
          `${topic}-${partition}: the batch at offset ${baseOffset} is not the one that was read there before`,
        )
      known.hashes.set(baseOffset, hash)
      known.safeEnd = Math.max(known.safeEnd, nextOffset)
      at = end
    }
  }

  acknowledged(topic: string, partition: number, offset: number): void {
    const known = this.of(topic, partition)
    known.safeEnd = Math.max(known.safeEnd, offset + 1)
  }

  /** What was read must be in the log as it lies on the disk; the log start may have passed it, even with all segments gone. */
  compare(
    topic: string,
    partition: number,
    content: LogContent,
    recovered: { readonly logStartOffset: number; readonly logEndOffset: number } | null | undefined,
  ): void {
    const known = this.of(topic, partition)
    const { logStartOffset = 0, logEndOffset = 0 } = recovered ?? {}
    if (content.segments > 0 && content.endOffset !== logEndOffset)
      throw new Error(
        `${topic}-${partition}: recovery says that the log ends at ${logEndOffset}, it does at ${content.endOffset}`,
      )
    if (logEndOffset < known.safeEnd)
      throw new Error(
        `${topic}-${partition}: the log ends at ${logEndOffset}, records up to ${known.safeEnd} were acknowledged or read`,
      )
    for (const [baseOffset, hash] of known.hashes) {
      if (baseOffset < Math.max(logStartOffset, content.startOffset)) continue
      if (content.hashes.get(baseOffset) !== hash)
        throw new Error(`${topic}-${partition}: the log holds at offset ${baseOffset} not what was read there`)
    }
  }
}

/** Reads a partition's segment files with plain code of its own. Throws on whatever a log must not be. */
export function readLog(disk: MemoryFileSystem, folder: string): LogContent {
  const hashes = new Map<number, number>()
  const sequences = new Set<string>()
  const leaderEpochs: [number, number][] = []
  const producers = new Map<number, { epoch: number; lastSequence: number; lastOffset: number }>()
  const names = disk.stat(folder).kind === 'folder' ? disk.list(folder).filter((name) => LOG_NAME.test(name)) : []
  const view = new BatchView()
  let startOffset = -1
  let nextOffset = -1
  let leaderEpoch = -1
  for (const name of names) {
    const bytes = disk.contentOf(`${folder}/${name}`)
    const baseOffset = Number(LOG_NAME.exec(name)![1])
    const where = () => `${folder}/${name}`
    if (nextOffset !== -1 && baseOffset !== nextOffset)
      throw new Error(`${where()} does not begin where the segment before it ends, ${nextOffset}`)
    if (startOffset === -1) startOffset = baseOffset
    nextOffset = baseOffset
    let at = 0
    while (at < bytes.length) {
      view.reset(bytes, at)
      if (at + BATCH_HEADER_BYTES > bytes.length || view.end > bytes.length)
        throw new Error(`${where()}: a torn batch at byte ${at}`)
      if (view.baseOffset !== nextOffset)
        throw new Error(`${where()}: offset ${view.baseOffset} at byte ${at}, expected ${nextOffset}`)
      if (view.crc !== view.computeCrc()) throw new Error(`${where()}: the batch at ${nextOffset} fails its checksum`)
      if (view.leaderEpoch < leaderEpoch) throw new Error(`${where()}: the leader epoch falls at offset ${nextOffset}`)
      if (view.leaderEpoch > leaderEpoch) leaderEpochs.push([view.leaderEpoch, nextOffset])
      leaderEpoch = view.leaderEpoch
      // Markers have no sequence.
      if (view.producerId >= 0 && !view.isControl) {
        const sequence = `${view.producerId}/${view.producerEpoch}/${view.baseSequence}`
        if (sequences.has(sequence))
          throw new Error(
            `${where()}: producer/epoch/sequence ${sequence} stands in the log twice, again at ${nextOffset}`,
          )
        sequences.add(sequence)
        const { producerEpoch: epoch, lastSequence, lastOffset } = view
        producers.set(view.producerId, { epoch, lastSequence, lastOffset })
      }
      hashes.set(nextOffset, crc32c(bytes.subarray(at, view.end)))
      nextOffset = view.nextOffset
      at = view.end
    }
  }
  const [start, end] = [Math.max(0, startOffset), Math.max(0, nextOffset)]
  return { segments: names.length, startOffset: start, endOffset: end, hashes, leaderEpochs, producers }
}

/** Invariant I14: what recovery says of a partition is what its batches say. Throws on a difference. */
export function compareRecovered(
  disk: MemoryFileSystem,
  folder: string,
  content: LogContent,
  recovered: Pick<RecoveredPartition, 'leaderEpochs' | 'producerSnapshotOffset' | 'logStartOffset' | 'logEndOffset'>,
): void {
  if (content.segments === 0) return
  // An epoch that began before the log's start is said to begin there, or where its segment begins: what counts is what comes later.
  const startOffset = Math.max(content.startOffset, recovered.logStartOffset)
  const later = (entries: readonly (readonly [number, number])[]) =>
    JSON.stringify(entries.filter(([, firstOffset]) => firstOffset > startOffset))
  if (later(recovered.leaderEpochs) !== later(content.leaderEpochs))
    throw new Error(
      `${folder}: recovery says leader epochs ${JSON.stringify(recovered.leaderEpochs)}, the log ${JSON.stringify(content.leaderEpochs)}`,
    )
  const known = new Map<number, ProducerDescription>()
  if (recovered.producerSnapshotOffset >= 0) {
    const bytes = disk.contentOf(`${folder}/${producerSnapshotName(recovered.producerSnapshotOffset)}`)
    const decoded = ProducerState.decode(bytes)
    if (decoded.kind !== 'present') throw new Error(`${folder}: the producer snapshot cannot be read: ${decoded.kind}`)
    for (const producer of decoded.value.state.describe()) known.set(producer.producerId, producer)
  }
  for (const [producerId, { epoch, lastSequence, lastOffset }] of content.producers) {
    const producer = known.get(producerId)
    const last = producer?.batches.at(-1)
    if (producer?.epoch !== epoch || last?.lastSequence !== lastSequence || last.lastOffset !== lastOffset)
      throw new Error(
        `${folder}: producer ${producerId} is at epoch ${epoch}, sequence ${lastSequence}, offset ${lastOffset} in the log; recovery says ${JSON.stringify(producer)}`,
      )
  }
  for (const producerId of known.keys())
    if (content.startOffset === 0 && !content.producers.has(producerId))
      throw new Error(`${folder}: recovery knows producer ${producerId}, the log has no batch of it`)
}
