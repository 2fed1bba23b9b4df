/**
 * RecoveryPlan: what the files of state/ say about every partition: from where to look, what must be there, which journal
 * entries still count. Plain data: made once, handed in pieces to the pool.
 *
 * Invariants  N1 a partition's line is the newest incarnation's; within one incarnation a shard's checkpoint beats the recovery's
 *             N2 journal entries and synced ends of an incarnation older than its line do not count for a partition
 *             N3 syncedEnd is a lower bound of what was acknowledged: never above it, whatever was lost
 * Failure     an unreadable file becomes a note, and the next older source counts: recovery reads more, deletes nothing
 */
import type { FileSystem } from '../io/file-system.ts'
import type { TopicId } from '../model/ids.ts'
import { partitionFolder } from '../model/ids.ts'
import { type Checkpoint, readCheckpoint } from './checkpoint-file.ts'
import { STATE_FOLDER } from './data-dir.ts'
import { parseStateFileName, type StateFileName } from './state-files.ts'
import { readSyncedEnds } from './synced-ends-file.ts'

/** What recovery of one partition must keep to. */
export interface PartitionBounds {
  readonly topicId: TopicId
  readonly partition: number
  /** Of the line; 0 = no checkpoint names the partition. */
  incarnation: number
  logStartOffset: number
  recoveryPoint: number
  producerSnapshotOffset: number
  /** A recovered end below this is damage. */
  syncedEnd: number
  /** Synced journal entries are lost, nobody knows whose: what looks out of order may be damage, and is not cut. */
  journalIsDamaged?: boolean
}

/** The journal of one shard of one start. */
export interface JournalToReplay {
  readonly incarnation: number
  readonly shard: number
  /** First sequence that counts; -1 = its checkpoint cannot be read: the newest run of entries counts. */
  readonly fromSequence: number
  readonly names: readonly string[]
}

export interface RecoveryPlan {
  readonly dataDir: string
  /** Of the start that recovers. */
  readonly incarnation: number
  readonly partitions: PartitionBounds[]
  /**
   * Log start of a partition that no checkpoint names: 0 when the checkpoints are whole (it was made since the last one),
   * -1 = unknown: some are missing, then nothing about it is certain, and nothing but a torn tail is cut.
   */
  readonly unnamedLogStart: 0 | -1
  /** Oldest first. */
  readonly journals: JournalToReplay[]
  readonly notes: string[]
  /** Set by replayJournals. */
  journalIsDamaged: boolean
}

/** Bounds of a partition that no file names. */
export function unknownBounds(topicId: TopicId, partition: number, logStartOffset: number): PartitionBounds {
  return {
    ...{ topicId, partition, incarnation: 0, logStartOffset, recoveryPoint: 0 },
    ...{ producerSnapshotOffset: -1, syncedEnd: 0, journalIsDamaged: false },
  }
}

/** The plan's partitions by folder name. */
export function boundsByFolder(plan: RecoveryPlan): Map<string, PartitionBounds> {
  return new Map(plan.partitions.map((bounds) => [partitionFolder(bounds.topicId, bounds.partition), bounds]))
}

/** Reads state/ of a data dir that this start, `incarnation`, holds the lock of. Changes nothing. */
export function planRecovery(
  files: FileSystem,
  options: { readonly dataDir: string; readonly incarnation: number },
): RecoveryPlan {
  const { dataDir, incarnation } = options
  const folder = `${dataDir}/${STATE_FOLDER}`
  const notes: string[] = []
  const names = listState(files, folder).filter((name) => name.incarnation < incarnation)
  const partitions = new Map<string, PartitionBounds>()
  const checkpoints = readCheckpoints(files, folder, names, notes)
  for (const { checkpoint } of checkpoints.readable) takeLines(partitions, checkpoint)
  const unnamedLogStart = checkpointsAreWhole(checkpoints, incarnation) ? 0 : -1
  const ordered = names.filter((name) => name.kind === 'synced').sort(byAge)
  for (const name of ordered) takeSyncedEnds(files, folder, name, { partitions, notes, unnamedLogStart })
  const journals = planJournals(names, checkpoints)
  return {
    dataDir,
    incarnation,
    partitions: [...partitions.values()],
    unnamedLogStart,
    journals,
    notes,
    journalIsDamaged: false,
  }
}

function listState(files: FileSystem, folder: string): StateFileName[] {
  if (files.stat(folder).kind !== 'folder') return []
  const names: StateFileName[] = []
  for (const text of files.list(folder)) {
    const name = parseStateFileName(text)
    if (name !== undefined) names.push(name)
  }
  return names
}

/** Older first; within one incarnation the recovery's before the shards'. */
function byAge(left: StateFileName, right: StateFileName): number {
  return left.incarnation - right.incarnation || left.shard - right.shard || left.half - right.half
}

interface Checkpoints {
  readonly readable: { readonly name: StateFileName; readonly checkpoint: Checkpoint }[]
  /** `<incarnation>-<shard>` of those that cannot be read. */
  readonly unreadable: Set<string>
}

function readCheckpoints(files: FileSystem, folder: string, names: StateFileName[], notes: string[]): Checkpoints {
  const result: Checkpoints = { readable: [], unreadable: new Set() }
  const wanted = names.filter((name) => name.kind === 'checkpoint' || name.kind === 'recovered')
  for (const name of wanted.sort(byAge)) {
    const answer = readCheckpoint(files, `${folder}/${name.name}`)
    if (answer.kind === 'present' && fits(answer.checkpoint, name))
      result.readable.push({ name, checkpoint: answer.checkpoint })
    else {
      const reason = answer.kind === 'unreadable' ? answer.reason : 'it is not of this incarnation and shard'
      notes.push(`checkpoint ${name.name} cannot be used: ${reason}`)
      result.unreadable.add(`${name.incarnation}-${name.shard}`)
    }
  }
  return result
}

/** The first start has none to read; later ones have that of the recovery before them. */
function checkpointsAreWhole(checkpoints: Checkpoints, incarnation: number): boolean {
  if (checkpoints.unreadable.size > 0) return false
  return incarnation === 1 || checkpoints.readable.some(({ name }) => name.kind === 'recovered')
}

function fits(checkpoint: Checkpoint, name: StateFileName): boolean {
  return checkpoint.incarnation === name.incarnation && checkpoint.shard === name.shard
}

function takeLines(partitions: Map<string, PartitionBounds>, checkpoint: Checkpoint): void {
  for (const line of checkpoint.lines)
    partitions.set(partitionFolder(line.topicId as TopicId, line.partition), {
      topicId: line.topicId as TopicId,
      partition: line.partition,
      incarnation: checkpoint.incarnation,
      logStartOffset: line.logStartOffset,
      recoveryPoint: line.recoveryPoint,
      producerSnapshotOffset: line.producerSnapshotOffset,
      syncedEnd: line.syncedEndOffset,
      journalIsDamaged: false,
    })
}

function takeSyncedEnds(
  files: FileSystem,
  folder: string,
  name: StateFileName,
  into: {
    readonly partitions: Map<string, PartitionBounds>
    readonly notes: string[]
    readonly unnamedLogStart: 0 | -1
  },
): void {
  const answer = readSyncedEnds(files, `${folder}/${name.name}`)
  if (answer.kind !== 'present') {
    if (answer.kind === 'unreadable') into.notes.push(`synced ends ${name.name} cannot be used: ${answer.reason}`)
    return
  }
  if (answer.unreadableSlots > 0) into.notes.push(`${name.name}: ${answer.unreadableSlots} slots cannot be read`)
  for (const end of answer.ends) {
    const key = partitionFolder(end.topicId, end.partition)
    let bounds = into.partitions.get(key)
    if (bounds === undefined) {
      bounds = unknownBounds(end.topicId, end.partition, into.unnamedLogStart)
      into.partitions.set(key, bounds)
    }
    if (name.incarnation >= bounds.incarnation) bounds.syncedEnd = Math.max(bounds.syncedEnd, end.syncedEnd)
  }
}

function planJournals(names: readonly StateFileName[], checkpoints: Checkpoints): JournalToReplay[] {
  const journals = new Map<string, JournalToReplay & { names: string[] }>()
  for (const name of names.filter((candidate) => candidate.kind === 'journal').sort(byAge)) {
    const key = `${name.incarnation}-${name.shard}`
    const known = journals.get(key)
    if (known !== undefined) {
      known.names.push(name.name)
      continue
    }
    const own = checkpoints.readable.find(
      (entry) => entry.name.incarnation === name.incarnation && entry.name.shard === name.shard,
    )
    const fromSequence = checkpoints.unreadable.has(key) ? -1 : (own?.checkpoint.journalSequence ?? 0)
    journals.set(key, { incarnation: name.incarnation, shard: name.shard, fromSequence, names: [name.name] })
  }
  return [...journals.values()]
}
