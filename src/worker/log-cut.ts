/**
 * LogCut: a follower's log is cut, or begins anew, so that no crash takes the loss for damage.
 *
 *   step       waits for
 *   settle     a sync of what is there: the journal's batches past the cut are not replayed once that is announced, even if it is given up
 *   announce   no checkpoint is under way, and none is begun until the end: its line would say that the old end was durable
 *   durable    the journal's entry and the lowered synced end: from here on recovery expects no more than what will be left
 *   cut        no sync and no read of the partition is under way
 *   after      pages, marks, group and bounds follow; the next group syncs the cut, a checkpoint names the new end
 *
 * Thread      the shard
 * Ordering    entry durable -> files cut -> whoever asked is told -> batches of the leader are appended
 * Limits      one at a time; they are rare, and each is short
 * Failure     a StorageError is the shard's end (R3). Without a journal (a shard that never was meant to replicate) the cut is not announced
 *             beyond the synced end: a power cut at the wrong moment shows as damage, and the replica is fetched anew
 * Not here    where to cut: replication/truncation.ts
 */
import { Fifo } from '../base/fifo.ts'
import type { CommitJournal } from '../log/commit-journal.ts'
import type { SyncedEndsFile } from '../log/synced-ends-file.ts'
import type { Offset } from '../model/ids.ts'
import { restartAt, truncateLogEnd } from '../partition/partition-state.ts'
import type { Checkpointer } from './checkpointer.ts'
import type { GroupCommit } from './group-commit.ts'
import type { PageCache } from './page-cache.ts'
import type { PartitionAgent } from './partition-agent.ts'
import { clearMarks } from './resident-window.ts'
import { writeBounds } from './synced-bounds.ts'

export interface LogCutOptions {
  readonly journal: CommitJournal | undefined
  readonly syncedEnds: SyncedEndsFile
  readonly group: GroupCommit
  readonly checkpointer: Checkpointer
  readonly cache: PageCache
}

export interface CutWish {
  readonly partition: PartitionAgent
  /** 'restart': empty from `offset` on, which lies past the log start. */
  readonly kind: 'truncate' | 'restart'
  readonly offset: number
  /** False: the partition has another leader by now, or is closed. */
  readonly isWanted: () => boolean
  /** `isCut` false: it was not wanted any more. */
  readonly onEnded: (isCut: boolean) => void
}

type Phase = 'settle' | 'syncing' | 'announce' | 'cut'

export class LogCut {
  readonly #options: LogCutOptions
  readonly #waiting = new Fifo<CutWish>()
  #current: CutWish | undefined
  #phase: Phase = 'settle'

  constructor(options: LogCutOptions) {
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#current === undefined && this.#waiting.size === 0
  }

  /** step() may have something to do that nothing else wakes the shard for. */
  get isPolling(): boolean {
    return !this.isIdle && this.#phase !== 'syncing'
  }

  /** Nothing is appended to the partition until it has ended. */
  begin(wish: CutWish): void {
    wish.partition.isCutting = true
    this.#waiting.push(wish)
  }

  /** Takes what can be done now; answers how many steps were. */
  step(): number {
    let steps = 0
    while (this.#stepOnce()) steps++
    return steps
  }

  #stepOnce(): boolean {
    this.#current ??= this.#waiting.shift()
    const wish = this.#current
    if (wish === undefined) return false
    switch (this.#phase) {
      case 'settle':
        if (!wish.isWanted()) {
          this.#end(wish, false)
          return true
        }
        this.#options.group.join(wish.partition)
        this.#sync('announce')
        return true
      case 'syncing':
        return false
      case 'announce':
        return this.#announce(wish)
      case 'cut':
        // One that is not wanted touches no file: what makes the partition busy may be waiting for its end.
        if (wish.isWanted() && wish.partition.isBusy) return false
        this.#cut(wish)
        return true
    }
  }

  #sync(next: Phase): void {
    this.#phase = 'syncing'
    this.#options.group.afterSync(() => {
      this.#phase = next
    })
  }

  #announce(wish: CutWish): boolean {
    const { checkpointer } = this.#options
    if (!wish.isWanted()) {
      this.#end(wish, false)
      return true
    }
    if (!checkpointer.hold()) return false
    if (!this.#write(wish)) {
      // The journal is full: a checkpoint makes room.
      checkpointer.release()
      checkpointer.ask()
      return false
    }
    this.#sync('cut')
    return true
  }

  /** False: no room. */
  #write({ partition, kind, offset }: CutWish): boolean {
    const { journal, syncedEnds } = this.#options
    const { topicId, log, state } = partition
    const change = { topicId, partition: partition.partition, offset, syncedEndOffset: 0 }
    // Where it begins anew all of it goes, also what lies below its log start and a checkpoint has named: nothing is expected to be there.
    const keptEnd = kind === 'restart' ? (0 as Offset) : offset
    if (journal !== undefined) {
      const isThere =
        journal.addTruncate({ ...change, offset: keptEnd }) && (kind === 'truncate' || journal.addLogStart(change))
      if (!isThere) {
        journal.dropStaged()
        return false
      }
      journal.writeStaged()
    }
    syncedEnds.set(partition.syncedSlot, Math.min(keptEnd, log.syncedEndOffset, state.logEndOffset))
    syncedEnds.write()
    return true
  }

  #cut(wish: CutWish): void {
    const { partition, kind, offset } = wish
    const isWanted = wish.isWanted()
    if (isWanted && kind === 'truncate') truncateLogEnd(partition.state, partition.log.truncateTo(offset))
    else if (isWanted) {
      partition.log.restartAt(offset)
      restartAt(partition.state, offset as Offset)
    }
    if (isWanted) this.#follow(partition)
    this.#options.checkpointer.release()
    // What was announced and not done is taken back by its line.
    this.#options.checkpointer.ask()
    this.#end(wish, isWanted)
  }

  /** What assumed that the log only grows. */
  #follow(partition: PartitionAgent): void {
    const { cache, group, syncedEnds } = this.#options
    partition.dropFiles(cache)
    clearMarks(partition.resident)
    group.forget(partition)
    group.join(partition)
    syncedEnds.set(partition.syncedSlot, partition.log.syncedEndOffset)
    writeBounds(syncedEnds)
  }

  #end(wish: CutWish, isCut: boolean): void {
    this.#current = undefined
    this.#phase = 'settle'
    wish.partition.isCutting = false
    wish.onEnded(isCut)
  }
}
