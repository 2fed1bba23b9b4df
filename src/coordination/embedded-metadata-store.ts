/**
 * EmbeddedMetadataStore: the MetadataStore of one node: StoreState behind an append-only file in the data dir.
 *
 * Owns        the folder: one file `<generation>.store` in use
 * Thread      main; files are asynchronous, nothing here waits for the device on the event loop
 * Invariants  ES1 a transaction resolves, and is seen by get, list and watches, only after it is synced
 *             ES2 one group is under way at a time: while it syncs, transactions gather in the next one
 *             ES3 conditions are checked against everything that is queued before them, so outcomes are those of the queue's order
 *             ES4 what open() found is durable before anything follows from it: folders are set aside, records taken, by what it says
 * Ordering    write group -> fdatasync -> apply -> resolve -> watches
 * Compaction  a file over COMPACT_BYTES_MIN and four times its snapshot is replaced by a new generation that begins with a
 *             snapshot; it appears whole by rename, then the old one goes
 * Failure     a full disk: DISK_FULL for the group, the file is cut back, later transactions are tried. Any other failed write or sync ends
 *             the store: this and every later call rejects with BROKER_NOT_AVAILABLE (R3: a sync that
 *             failed once is never believed again). A damaged file refuses to open and says where.
 * Format      store-log.ts
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../model/errors.ts'
import type { DurableFile, DurableFiles } from './durable-files.ts'
import type {
  MetadataStore,
  StoreCondition,
  StoredValue,
  StoreEvent,
  StoreLease,
  StoreOperation,
  StoreResult,
  StoreWatch,
} from './metadata-store.ts'
import { encodeStoreFrame, type OperationRow, readStoreLog, type StoredRow, type StoreFrame } from './store-log.ts'
import { StoreState } from './store-state.ts'

const FILE_NAME = /^(\d{10})\.store$/
const COMPACT_BYTES_MIN = 4 * 1024 * 1024
const COMPACT_FACTOR = 4
/** Operations made durable together at most; more wait for the next group. */
const GROUP_OPERATIONS_MAX = 10_000

interface Queued {
  readonly conditions: readonly StoreCondition[]
  readonly operations: readonly StoreOperation[]
  readonly resolve: (result: StoreResult) => void
  readonly reject: (error: unknown) => void
}

export class EmbeddedMetadataStore implements MetadataStore {
  readonly #files: DurableFiles
  readonly #state: StoreState
  #file: DurableFile
  #generation: number
  #fileBytes: number
  #snapshotBytes: number
  #queue: Queued[] = []
  #isWriting = false
  /** The last writing of queued groups; never rejects. */
  #writing: Promise<void> = Promise.resolve()
  #failure: MillraceError | undefined

  private constructor(files: DurableFiles, state: StoreState, opened: OpenedFile) {
    this.#files = files
    this.#state = state
    this.#file = opened.file
    this.#generation = opened.generation
    this.#fileBytes = opened.bytes
    this.#snapshotBytes = opened.snapshotBytes
  }

  /** Rejects with MillraceError KAFKA_STORAGE_ERROR naming file and byte when the file is damaged. */
  static async open(files: DurableFiles, clock: Clock): Promise<EmbeddedMetadataStore> {
    const state = new StoreState(clock)
    const opened = await openNewest(files, state)
    return new EmbeddedMetadataStore(files, state, opened)
  }

  async get(key: string): Promise<StoredValue | undefined> {
    this.#checkUsable()
    return this.#state.get(key)
  }

  async list(prefix: string): Promise<{ revision: number; values: StoredValue[] }> {
    this.#checkUsable()
    return this.#state.list(prefix)
  }

  async transact(conditions: readonly StoreCondition[], operations: readonly StoreOperation[]): Promise<StoreResult> {
    this.#checkUsable()
    this.#state.check(conditions, operations)
    return new Promise((resolve, reject) => {
      this.#queue.push({ conditions, operations, resolve, reject })
      if (!this.#isWriting) this.#writing = this.#writeGroups()
    })
  }

  async watch(
    prefix: string,
    fromRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
    onResync: () => void,
  ): Promise<StoreWatch> {
    this.#checkUsable()
    return this.#state.watch(prefix, fromRevision, onEvents, onResync)
  }

  async lease(ttlMs: number): Promise<StoreLease> {
    this.#checkUsable()
    return this.#state.lease(ttlMs)
  }

  async revokeLease(leaseId: string): Promise<void> {
    this.#checkUsable()
    this.#state.revokeLease(leaseId)
  }

  async close(): Promise<void> {
    await this.#writing
    if (this.#failure === undefined) this.#failure = new MillraceError('CLOSED', 'the metadata store is closed')
    this.#state.close()
    await this.#file.close().catch(() => {})
  }

  #checkUsable(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  async #writeGroups(): Promise<void> {
    this.#isWriting = true
    // Let the callers of this turn gather: a topic's many transactions become one sync.
    await Promise.resolve()
    while (this.#queue.length > 0 && this.#failure === undefined) {
      const group = this.#takeGroup()
      try {
        await this.#writeGroup(group)
        if (this.#fileBytes > Math.max(COMPACT_BYTES_MIN, COMPACT_FACTOR * this.#snapshotBytes)) await this.#compact()
      } catch (cause) {
        const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
        this.#failure = new MillraceError('BROKER_NOT_AVAILABLE', `the metadata store failed to write: ${code}`, {
          cause,
        })
        for (const queued of [...group, ...this.#queue]) queued.reject(this.#failure)
        this.#queue = []
      }
    }
    // In the same step as the last look at the queue: whoever comes now starts the next writing.
    this.#isWriting = false
  }

  /**
   * Transactions from the queue whose outcomes do not depend on each other's: one that has a condition on a key that an
   * earlier one of the group writes waits for the next group.
   */
  #takeGroup(): Queued[] {
    const written = new Set<string>()
    let operations = 0
    let count = 0
    for (const queued of this.#queue) {
      if (operations > 0 && operations + queued.operations.length > GROUP_OPERATIONS_MAX) break
      if (queued.conditions.some((condition) => written.has(condition.key))) break
      for (const operation of queued.operations) written.add(operation.key)
      operations += queued.operations.length
      count++
    }
    const group = this.#queue.slice(0, count)
    this.#queue = this.#queue.slice(count)
    return group
  }

  async #writeGroup(group: readonly Queued[]): Promise<void> {
    const holding = group.filter((queued) => this.#state.holds(queued.conditions))
    const transactions = holding.filter((queued) => queued.operations.length > 0).map(rowsOf)
    if (transactions.length > 0) {
      const bytes = encodeStoreFrame({ transactions })
      try {
        await this.#file.append(this.#fileBytes, bytes)
      } catch (cause) {
        if (!isSpace(cause)) throw cause
        await this.#cutBack()
        const full = new MillraceError('DISK_FULL', 'the disk is full: the metadata store takes no changes now', {
          cause,
        })
        for (const queued of group) queued.reject(full)
        return
      }
      this.#fileBytes += bytes.length
    }
    const applied = new Set(holding)
    for (const queued of group) {
      if (applied.has(queued)) this.#state.apply(queued.operations)
      queued.resolve({ applied: applied.has(queued), revision: this.#state.revision })
    }
  }

  /** A write found no room: the file ends where it did before it, durably, and takes the next group there. */
  async #cutBack(): Promise<void> {
    await this.#file.close()
    this.#file = await this.#files.open(fileName(this.#generation), this.#fileBytes)
  }

  async #compact(): Promise<void> {
    const bytes = encodeStoreFrame(snapshotOf(this.#state))
    const generation = this.#generation + 1
    await this.#files.writeWhole(fileName(generation), bytes)
    const file = await this.#files.open(fileName(generation), bytes.length)
    await this.#file.close()
    await this.#files.remove(fileName(this.#generation))
    this.#file = file
    this.#generation = generation
    this.#fileBytes = bytes.length
    this.#snapshotBytes = bytes.length
  }
}

interface OpenedFile {
  readonly file: DurableFile
  readonly generation: number
  readonly bytes: number
  readonly snapshotBytes: number
}

async function openNewest(files: DurableFiles, state: StoreState): Promise<OpenedFile> {
  const generations = (await files.list()).flatMap((name) => FILE_NAME.exec(name)?.[1] ?? []).map(Number)
  const generation = Math.max(0, ...generations)
  if (generation === 0) await files.writeWhole(fileName(1), encodeStoreFrame(snapshotOf(state)))
  const newest = Math.max(1, generation)
  const bytes = await files.read(fileName(newest))
  const content = readStoreLog(bytes)
  if (content.kind === 'damaged')
    throw new MillraceError(
      'KAFKA_STORAGE_ERROR',
      `the metadata store's file ${fileName(newest)} is damaged at byte ${content.at}: ${content.reason}`,
    )
  for (const frame of content.frames) replay(state, frame)
  const opened = await openWhole(files, state, { generation: newest, bytes: content.bytes, frames: content.frames })
  // Whole since its rename, and durable since open(): an older one was about to be removed.
  for (const older of generations) if (older < opened.generation) await files.remove(fileName(older))
  return opened
}

/**
 * Opens what was read for appending. Frames behind the snapshot may be in the page cache alone, and a sync that failed in the last
 * process may have left them so for good, whatever a sync says now (R3): they are written anew, as the snapshot of a new file.
 */
async function openWhole(
  files: DurableFiles,
  state: StoreState,
  read: { readonly generation: number; readonly bytes: number; readonly frames: readonly StoreFrame[] },
): Promise<OpenedFile> {
  if (read.frames.length <= 1) {
    const file = await files.open(fileName(read.generation), read.bytes)
    return { file, generation: read.generation, bytes: read.bytes, snapshotBytes: read.bytes }
  }
  const snapshot = encodeStoreFrame(snapshotOf(state))
  const generation = read.generation + 1
  await files.writeWhole(fileName(generation), snapshot)
  const file = await files.open(fileName(generation), snapshot.length)
  return { file, generation, bytes: snapshot.length, snapshotBytes: snapshot.length }
}

function replay(state: StoreState, frame: StoreFrame): void {
  if ('snapshot' in frame) {
    state.revision = frame.snapshot.revision
    for (const [key, value, modRevision, version] of frame.snapshot.rows)
      state.restore({ key, value: fromBase64(value), modRevision, version })
    return
  }
  for (const rows of frame.transactions)
    state.apply(
      rows.map(([key, value]) =>
        value === null ? { kind: 'delete', key } : { kind: 'put', key, value: fromBase64(value) },
      ),
    )
}

function snapshotOf(state: StoreState): StoreFrame {
  const rows: StoredRow[] = []
  for (const { key, value, modRevision, version } of state.lastingValues())
    rows.push([key, toBase64(value), modRevision, version])
  return { snapshot: { revision: state.revision, rows } }
}

/** A key of a lease is as good as deleted for the next process: the lease ended with this one. */
function rowsOf(queued: Queued): OperationRow[] {
  return queued.operations.map((operation) => [
    operation.key,
    operation.kind === 'put' && operation.leaseId === undefined ? toBase64(operation.value) : null,
  ])
}

/** DurableFile says so only of a write that found no room, never of a sync. */
function isSpace(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOSPC' || code === 'EDQUOT'
}

function fileName(generation: number): string {
  return `${String(generation).padStart(10, '0')}.store`
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'base64'))
}
