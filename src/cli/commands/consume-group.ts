/**
 * `millrace consume -g`: records to stdout as a member of a group. What is committed was printed: a batch counts as handled when the
 * terminal, or whoever reads stdout, has taken it.
 *
 * End   -n: after so many records, the rest of a batch stays uncommitted. -e: when every partition that is assigned is read up to the
 *       end that stood at the start; a member that is given none ends when the group has settled without it
 */
import type { Client, ConsumedBatch, Group, GroupOptions, Position } from '../../client/index.ts'
import type { Terminal } from '../terminal.ts'

const LOOK_MS = 100
/** A member that has had no partition for so long gets none: all are with others. */
const IDLE_MS_MAX = 3_000

export interface ConsumeGroupOptions {
  readonly groupId: string
  readonly topics: readonly string[]
  readonly from: Position
  readonly semantics?: GroupOptions['semantics']
  readonly exitAtEnd: boolean
  readonly countMax: number
  /** Writes up to `countMax` records of the batch; answers how many, and the offset of the last. */
  print(batch: ConsumedBatch, countMax: number): Promise<{ readonly count: number; readonly lastOffset: number }>
}

/** Answers how many records were printed. */
export async function consumeGroup(client: Client, terminal: Terminal, options: ConsumeGroupOptions): Promise<number> {
  const { groupId, topics, from, semantics, exitAtEnd, countMax } = options
  const ends = exitAtEnd ? await endsOf(client, topics, terminal.signal) : undefined
  const group = client.group(groupId, topics, {
    from,
    ...(semantics === undefined ? {} : { semantics }),
    signal: terminal.signal,
  })
  const watch = ends === undefined ? undefined : setInterval(endWhenRead(group, ends), LOOK_MS)
  let count = 0
  try {
    for await (const batch of group.batches()) {
      const printed = await options.print(batch, countMax - count)
      count += printed.count
      if (count < countMax) continue
      if (semantics !== 'at-most-once')
        await group.commit({ topic: batch.topic, partition: batch.partition, offset: printed.lastOffset })
      break
    }
  } finally {
    clearInterval(watch)
    await end(group)
  }
  return count
}

async function endsOf(client: Client, topics: readonly string[], signal: AbortSignal): Promise<Map<string, number>> {
  const ends = new Map<string, number>()
  for (const topic of topics)
    for (const { partition, offset } of await client.admin.topics.offsets(topic, 'end', { signal }))
      ends.set(`${topic}/${partition}`, offset)
  return ends
}

function endWhenRead(group: Group, ends: ReadonlyMap<string, number>): () => void {
  let idleMs = 0
  return () => {
    const { state, partitions } = group.stats()
    if (state !== 'member') return
    idleMs = partitions.length === 0 ? idleMs + LOOK_MS : 0
    const isRead = partitions.every(({ topic, partition, finishedOffset }) => {
      const end = ends.get(`${topic}/${partition}`)
      return end === undefined || finishedOffset >= end
    })
    if (idleMs >= IDLE_MS_MAX || (isRead && partitions.length > 0)) void end(group)
  }
}

/**
 * Partitions that had nothing to read are committed where they were begun, too: the next command, whose -o may be another, goes on
 * there instead of passing over what came in between.
 */
async function end(group: Group): Promise<void> {
  const untouched = group.stats().partitions.filter(({ committedOffset, finishedOffset }) => {
    return committedOffset < 0 && finishedOffset >= 0
  })
  const commits = untouched.map(({ topic, partition, finishedOffset }) =>
    group.commit({ topic, partition, offset: finishedOffset - 1 }),
  )
  // Whoever has lost a partition meanwhile cannot speak for it.
  await Promise.allSettled(commits)
  await group.close()
}
