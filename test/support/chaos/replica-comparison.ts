/**
 * Compares the replicas of a topic's partitions on the disks of brokers that have stopped: below the high watermark they are the same
 * bytes. Segments may begin elsewhere on each, so what is compared is their contents one after the other.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TopicId } from '../../../src/model/ids.ts'
import { partitionFolder } from '../../../src/model/ids.ts'

export interface ComparedPartition {
  readonly partition: number
  readonly bytes: number
  readonly nextOffset: number
}

/** Of a batch: base offset i64 at 0, length i32 at 8 of what follows, last offset delta i32 at 23 (record/format.md). */
const LENGTH_AT = 8
const LENGTH_END = 12
const LAST_DELTA_AT = 23

interface Batches {
  readonly hash: string
  readonly bytes: number
  readonly nextOffset: number
}

/** Throws where two replicas differ below `highWatermark`, or one ends before it. */
export function compareReplicas(
  dataDirs: readonly string[],
  { topicId, partition, highWatermark }: { topicId: TopicId; partition: number; highWatermark: number },
): ComparedPartition {
  const all = dataDirs.map((dataDir) => readBelow(folderIn(dataDir, topicId, partition), highWatermark))
  const [first] = all
  for (const [index, each] of all.entries()) {
    if (each.nextOffset < highWatermark)
      throw new Error(`${dataDirs[index]}: partition ${partition} ends at ${each.nextOffset}, not ${highWatermark}`)
    if (each.hash !== first!.hash)
      throw new Error(`partition ${partition} differs below ${highWatermark}: ${dataDirs[0]} and ${dataDirs[index]}`)
  }
  return { partition, bytes: first!.bytes, nextOffset: first!.nextOffset }
}

function folderIn(dataDir: string, topicId: TopicId, partition: number): string {
  const folder = partitionFolder(topicId, partition)
  const found = [join(dataDir, folder), join(dataDir, 'partitions', folder)].find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${dataDir} has no ${folder}`)
  return found
}

function readBelow(folder: string, highWatermark: number): Batches {
  const hash = createHash('sha256')
  let bytes = 0
  let nextOffset = 0
  const segments = readdirSync(folder).filter((name) => /^\d{20}\.log$/.test(name))
  for (const name of segments.sort()) {
    const content = readFileSync(join(folder, name))
    for (let at = 0; at + LENGTH_END <= content.length; ) {
      const end = at + LENGTH_END + content.readInt32BE(at + LENGTH_AT)
      const baseOffset = Number(content.readBigInt64BE(at))
      if (end > content.length || baseOffset >= highWatermark) return { hash: hash.digest('hex'), bytes, nextOffset }
      hash.update(content.subarray(at, end))
      bytes += end - at
      nextOffset = baseOffset + content.readInt32BE(at + LAST_DELTA_AT) + 1
      at = end
    }
  }
  return { hash: hash.digest('hex'), bytes, nextOffset }
}
