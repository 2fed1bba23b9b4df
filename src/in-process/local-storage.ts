/**
 * LocalStorage: what a broker in one thread keeps its data on: a disk in memory, or a directory in the format of `millrace start`.
 *
 * Memory   forgets all when the process ends; before that a crash can be played on it, as a power cut or a kill would leave it.
 *          What is not synced is lost by the rules of io/memory-file-system.ts
 * Limits   memoryBytesMax: beyond it produce is refused with DISK_FULL, as on a full disk; retention and deletes make room
 */
import type { Prng } from '../base/prng.ts'
import type { StorageTasks } from '../broker/storage-tasks.ts'
import type { DurableFiles } from '../coordination/durable-files.ts'
import type { FileSystem, ParallelSync } from '../io/file-system.ts'
import { MemoryFileSystem } from '../io/memory-file-system.ts'
import { METADATA_FOLDER, type ProcessProbe } from '../log/data-dir.ts'
import { MillraceError } from '../model/errors.ts'
import type { ShardOptions } from '../worker/shard-options.ts'
import { LocalStorageTasks } from './local-storage-tasks.ts'
import { PortDurableFiles } from './port-durable-files.ts'

export interface LocalStorage {
  /** Path in `files`. */
  readonly dataDir: string
  readonly files: FileSystem
  readonly storage: StorageTasks
  readonly durableFiles: DurableFiles
  readonly parallel?: ParallelSync
  /** What this kind of storage wants otherwise than configured. */
  readonly shard: Partial<ShardOptions>
}

/** The directory `dir`, made when it is missing. */
export async function openDirectory(dir: string): Promise<LocalStorage> {
  const [node, parallelSync, durable, probe, path] = await Promise.all([
    import('../io/node-file-system.ts'),
    import('../io/node-parallel-sync.ts'),
    import('../coordination/node-durable-files.ts'),
    import('../base/node/process-probe.ts'),
    import('node:path'),
  ])
  const dataDir = path.resolve(dir)
  const files = new node.NodeFileSystem()
  const { syncAll, NodeParallelSync } = parallelSync
  return {
    ...{ dataDir, files, parallel: new NodeParallelSync(), shard: {} },
    storage: new LocalStorageTasks({ files, probe: probe.systemProcessProbe, syncAll }),
    durableFiles: new durable.NodeDurableFiles(path.join(dataDir, METADATA_FOLDER)),
  }
}

const MEMORY_DIR = '/memory'
const MIB = 1024 * 1024
const MEMORY_BYTES_DEFAULT = 1024 * MIB
const MEMORY_BYTES_MIN = 8 * MIB
const RESERVE_BYTES = MIB

/** The disk and the life of one computer, in memory. */
export class MemoryDisk {
  #files: MemoryFileSystem
  #boot = 1
  #pid = 1

  /** Throws INVALID_ARGUMENT for a size that a broker cannot live with. */
  constructor(options: { readonly nowMs: () => number; readonly memoryBytesMax: number | undefined }) {
    const { nowMs, memoryBytesMax = MEMORY_BYTES_DEFAULT } = options
    if (!Number.isSafeInteger(memoryBytesMax) || memoryBytesMax < MEMORY_BYTES_MIN)
      throw new MillraceError(
        'INVALID_ARGUMENT',
        `memoryBytesMax: expected at least ${MEMORY_BYTES_MIN} bytes, not ${String(memoryBytesMax)}`,
      )
    this.#files = new MemoryFileSystem({ clock: { nowMs }, capacityBytes: memoryBytesMax })
  }

  /** As the process sees it that runs now. */
  storage(): LocalStorage {
    const files = this.#files
    const probe = this.#probe()
    return {
      ...{ dataDir: MEMORY_DIR, files },
      storage: new LocalStorageTasks({ files, probe: () => probe, syncAll: async (_, list) => list.run(files) }),
      durableFiles: new PortDurableFiles({ files, folder: `${MEMORY_DIR}/${METADATA_FOLDER}` }),
      // A sync costs next to nothing: the journal, which makes one of many, would only be written besides.
      shard: { journalBytes: 0, spaceLowBytes: RESERVE_BYTES, spaceProbeBytes: RESERVE_BYTES / 4 },
    }
  }

  /** The process ends (`kill`), or the power goes; the disk is what is left of it. */
  crash(kind: 'kill' | 'power', prng: Prng): void {
    this.#files = this.#files.crash(prng, { kind })
    this.#pid++
    if (kind === 'power') this.#boot++
  }

  #probe(): ProcessProbe {
    const [pid, bootId] = [this.#pid, `boot-${this.#boot}`]
    return { pid, bootId, startOf: (asked) => (asked === this.#pid ? `started-${asked}` : undefined) }
  }
}
