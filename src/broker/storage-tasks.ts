/**
 * StorageTasks: the port to what must be done with the data dir before shards run and after they ended. It blocks on the device, so
 * the real make runs in the pool; the gateway sees only plain data.
 */
import type { Incarnation, TopicId } from '../model/ids.ts'

export interface OpenedDataDir {
  readonly path: string
  readonly clusterId: string
  readonly incarnation: Incarnation
  readonly isNew: boolean
  /** How the previous run ended: none, clean, process-died, machine-died. */
  readonly previousRun: string
  /** Unlike any other data dir's; '' = it has none. */
  readonly directoryId: string
}

export interface KnownPartition {
  readonly topicId: TopicId
  readonly partition: number
}

export interface Recovery {
  /** What each partition's shard is told; no entry = no folder. Key: `<topic id>-<partition>`. */
  readonly recovered: ReadonlyMap<string, unknown>
  /** What people should know, a line each. */
  readonly notes: readonly string[]
}

export interface StorageTasks {
  /** Locks, checks identity, counts the incarnation. Rejects with an Error whose text says what to do. */
  open(options: {
    readonly path: string
    readonly nodeId: number
    readonly newClusterId: string
    /** It must be this cluster's; left out: any. */
    readonly clusterId?: string
    /** In a cluster: for a data dir that has none. */
    readonly newDirectoryId?: string
  }): Promise<OpenedDataDir>
  /** Recovers every folder; those that are not among `known` are set aside. */
  recover(dataDir: OpenedDataDir, known: readonly KnownPartition[]): Promise<Recovery>
  /** Renames a folder below the data dir into quarantine/, durably; answers where it is, null where there was none. */
  setAside(dataDir: OpenedDataDir, folder: string): Promise<string | null>
  /** Runs the task of a shard's notice 'compact'; plain data, opaque here. Rejects with why nothing was compacted. */
  compact(task: unknown): Promise<unknown>
  /** Gives the lock back; `isClean` writes the clean marker first. A compaction under way is ended before. */
  close(dataDir: OpenedDataDir, isClean: boolean): Promise<void>
  /** Ends the pool. */
  destroy(): Promise<void>
}
