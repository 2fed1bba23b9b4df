/**
 * DataDir: identity, lock, layout and quarantine of the folder that all logs of a broker live in.
 *
 * Owns        data-dir.json, lock, clean, the folders state/ and quarantine/
 * Thread      main, at start and stop only
 * Invariants  D1 one living process holds the lock                       checked in: takeLock()
 *             D2 no two starts of a node have the same incarnation       checked in: openDataDir(), test/unit/log/data-dir.test.ts
 *             D3 the clean marker is gone, durably, before anything is appended, and names the incarnation that wrote it
 * Ordering    lock -> read identity -> write incarnation + 1 (durable) -> read and remove the clean marker (durable) -> recovery
 * Failure     DataDirError: says what is wrong and what to do; nothing was changed then (but the lock of a dead process)
 * Limits      the lock sees processes of this machine and pid namespace only: two containers must not share a data dir
 * Format      format.md §data-dir.json, DATA_DIR_FORMAT_VERSION
 * Not here    what is in a partition's folder (partition-log), journals and checkpoints (state-files.ts), recovery
 */
import { utf8DecodeStrict, utf8Encode } from '../base/bytes.ts'
import { crc32c } from '../base/crc32c.ts'
import type { FileSystem } from '../io/file-system.ts'
import { StorageError } from '../io/file-system.ts'
import type { Incarnation, TopicId } from '../model/ids.ts'
import { parsePartitionFolder } from '../model/ids.ts'
import { folderOf, readWholeFile, removeIfPresent, replaceFile, writeFully } from './durable-file.ts'
import { recoveredName } from './state-files.ts'

export const DATA_DIR_FORMAT_VERSION = 1
export const IDENTITY_FILE = 'data-dir.json'
export const LOCK_FILE = 'lock'
export const LOCK_GUARD_FILE = 'lock.takeover'
export const CLEAN_FILE = 'clean'
export const STATE_FOLDER = 'state'
export const METADATA_FOLDER = 'metadata'
export const QUARANTINE_FOLDER = 'quarantine'
/** A partition folder that is being deleted: nothing looks into it, the next start finishes the delete. */
export const DELETED_SUFFIX = '.deleted'

const SMALL_FILE_BYTES_MAX = 64 * 1024
const INCARNATION_MAX = 2 ** 40

export type DataDirErrorCode = 'LOCKED' | 'MISMATCH' | 'UNKNOWN_VERSION' | 'UNREADABLE' | 'NOT_A_DATA_DIR'

/** The data dir cannot be used; the text names the path, what is wrong and what helps. */
export class DataDirError extends Error {
  override readonly name = 'DataDirError'
  readonly code: DataDirErrorCode

  constructor(code: DataDirErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** What the lock needs to know of processes; the real make reads /proc (composition root). */
export interface ProcessProbe {
  readonly pid: number
  /** Changes with each boot of the machine: tells a power cut from a killed process. '' = unknown. */
  readonly bootId: string
  /** Something that tells a living process from a later one with the same pid (its start time); undefined = no such process. */
  startOf(pid: number): string | undefined
}

export interface DataDirIdentity {
  readonly formatVersion: number
  readonly clusterId: string
  readonly nodeId: number
  /** Of the newest start. */
  readonly incarnation: Incarnation
  /** Boot of the machine that start ran under; '' = unknown. */
  readonly bootId: string
  /** Unlike any other data dir's, from the first start in a cluster on; '' = it has none yet. */
  readonly directoryId: string
}

/** How the previous run ended. */
export type PreviousRun =
  /** There was none. */
  | 'none'
  /** Stopped in order: the clean marker of the previous incarnation was there. */
  | 'clean'
  /** The process died, the machine did not: what it wrote is in the files, synced or not. */
  | 'process-died'
  /** The machine went down, or it is not known: what was not synced may be missing, in any order. */
  | 'machine-died'

export interface OpenDataDirOptions {
  readonly path: string
  readonly nodeId: number
  /** The cluster this node belongs to; undefined takes the one on disk, or `newClusterId` for a new data dir. */
  readonly clusterId?: string | undefined
  readonly newClusterId: string
  /** For a data dir that has none; left out: it gets none. */
  readonly newDirectoryId?: string | undefined
  readonly probe: ProcessProbe
}

export interface DataDir {
  readonly path: string
  readonly identity: DataDirIdentity
  readonly created: boolean
  readonly previousRun: PreviousRun
}

/** Opens or makes the data dir at `path`: see Ordering above. Throws DataDirError or StorageError. */
export function openDataDir(files: FileSystem, options: OpenDataDirOptions): DataDir {
  const { path, probe } = options
  makeFolderDurably(files, path)
  takeLock(files, path, probe)
  try {
    const found = readIdentity(files, path)
    if (found === undefined) refuseForeignFolder(files, path)
    else checkIdentity(path, found, options)
    for (const folder of [STATE_FOLDER, METADATA_FOLDER, QUARANTINE_FOLDER]) files.makeFolder(`${path}/${folder}`)
    const identity: DataDirIdentity = {
      formatVersion: DATA_DIR_FORMAT_VERSION,
      clusterId: found?.clusterId ?? options.clusterId ?? options.newClusterId,
      nodeId: options.nodeId,
      incarnation: ((found?.incarnation ?? 0) + 1) as Incarnation,
      bootId: probe.bootId,
      directoryId: found?.directoryId || (options.newDirectoryId ?? ''),
    }
    replaceFile(files, `${path}/${IDENTITY_FILE}`, [encodeIdentity(identity)])
    const clean = found !== undefined && takeCleanMarker(files, path, found.incarnation)
    // A recovery that did not finish may have had a power cut before it: the doubt stays until one does.
    const isSettled =
      found !== undefined && files.stat(`${path}/${STATE_FOLDER}/${recoveredName(found.incarnation)}`).kind === 'file'
    const isSameBoot = found !== undefined && found.bootId !== '' && found.bootId === probe.bootId
    const died = isSameBoot && isSettled ? 'process-died' : 'machine-died'
    const previousRun = found === undefined ? 'none' : clean ? 'clean' : died
    return { path, identity, created: found === undefined, previousRun }
  } catch (error) {
    releaseLock(files, path)
    throw error
  }
}

function makeFolderDurably(files: FileSystem, path: string): void {
  const kind = files.stat(path).kind
  if (kind === 'file') throw new DataDirError('NOT_A_DATA_DIR', `the data dir '${path}' is a file`)
  if (kind === 'folder') return
  files.makeFolder(path)
  files.syncFolder(folderOf(path))
}

// --- identity

function encodeIdentity(identity: DataDirIdentity): Uint8Array {
  const { formatVersion, clusterId, nodeId, incarnation, bootId, directoryId } = identity
  const fields = {
    formatVersion,
    clusterId,
    nodeId,
    incarnation,
    bootId,
    ...(directoryId === '' ? {} : { directoryId }),
  }
  return utf8Encode(`${JSON.stringify(fields, undefined, 2)}\n`)
}

/** The identity on disk; undefined when there is none. Throws DataDirError when it cannot be read. */
export function readIdentity(files: FileSystem, path: string): DataDirIdentity | undefined {
  const name = `${path}/${IDENTITY_FILE}`
  const file = readWholeFile(files, name, SMALL_FILE_BYTES_MAX)
  if (file.kind === 'absent') return undefined
  const fail = (reason: string, code: DataDirErrorCode = 'UNREADABLE'): never => {
    throw new DataDirError(code, `'${name}' ${reason}`)
  }
  if (file.kind === 'unreadable') return fail(`cannot be read: ${file.reason}`)
  const fields = parseObject(file.bytes)
  if (fields === undefined) return fail('is not JSON: restore it from a backup; nothing was changed')
  const { formatVersion, clusterId, nodeId, incarnation, bootId, directoryId } = fields
  if (formatVersion !== DATA_DIR_FORMAT_VERSION)
    return fail(
      `has format version ${String(formatVersion)}; this program knows version ${DATA_DIR_FORMAT_VERSION} only`,
      'UNKNOWN_VERSION',
    )
  if (typeof clusterId !== 'string' || clusterId === '' || clusterId.length > 256) return fail('has no valid clusterId')
  if (!isIntegerWithin(nodeId, 0, 2 ** 31 - 1)) return fail('has no valid nodeId')
  if (!isIntegerWithin(incarnation, 1, INCARNATION_MAX)) return fail('has no valid incarnation')
  return {
    ...{ formatVersion, clusterId, nodeId, incarnation: incarnation as Incarnation },
    bootId: typeof bootId === 'string' ? bootId : '',
    directoryId: typeof directoryId === 'string' ? directoryId : '',
  }
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  const text = utf8DecodeStrict(bytes)
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function isIntegerWithin(value: unknown, min: number, max: number): value is number {
  return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
}

function checkIdentity(path: string, found: DataDirIdentity, options: OpenDataDirOptions): void {
  if (found.nodeId !== options.nodeId)
    throw new DataDirError(
      'MISMATCH',
      `the data dir '${path}' belongs to node ${found.nodeId}, this is node ${options.nodeId}`,
    )
  if (options.clusterId !== undefined && found.clusterId !== options.clusterId)
    throw new DataDirError(
      'MISMATCH',
      `the data dir '${path}' belongs to cluster '${found.clusterId}', this broker to '${options.clusterId}'`,
    )
}

/** Without an identity the folder must hold nothing of ours: a lost data-dir.json is not a licence to begin anew. */
function refuseForeignFolder(files: FileSystem, path: string): void {
  for (const name of files.list(path)) {
    const ours =
      parsePartitionFolder(name) !== undefined ||
      ((name === STATE_FOLDER || name === METADATA_FOLDER || name === QUARANTINE_FOLDER) &&
        files.list(`${path}/${name}`).length > 0)
    if (ours)
      throw new DataDirError(
        'NOT_A_DATA_DIR',
        `'${path}' holds '${name}' but no ${IDENTITY_FILE}: restore that file, or name an empty folder; nothing was changed`,
      )
  }
}

// --- lock

interface LockHolder {
  readonly pid: number
  readonly start: string
  readonly bootId: string
}

function takeLock(files: FileSystem, path: string, probe: ProcessProbe): void {
  const self: LockHolder = { pid: probe.pid, start: probe.startOf(probe.pid) ?? '', bootId: probe.bootId }
  const name = `${path}/${LOCK_FILE}`
  if (createExclusively(files, name, self)) return
  const guard = `${path}/${LOCK_GUARD_FILE}`
  if (!createExclusively(files, guard, self)) {
    const holder = readHolder(files, guard)
    if (holder !== undefined && isAlive(holder, probe)) throw lockedBy(path, holder)
    removeIfPresent(files, guard)
    if (!createExclusively(files, guard, self)) throw lockedBy(path, readHolder(files, guard))
  }
  try {
    const holder = readHolder(files, name)
    if (holder !== undefined && isAlive(holder, probe)) throw lockedBy(path, holder)
    replaceFile(files, name, [encodeHolder(self)])
  } finally {
    removeIfPresent(files, guard)
  }
}

/** The data dir of a stopped broker, held by a tool: no broker can start on it until release(), and no incarnation begins. */
export interface HeldDataDir {
  readonly identity: DataDirIdentity
  /** Makes it one that is told from any other; nothing where it is one. Answers its id. */
  giveDirectoryId(newDirectoryId: string): string
  release(): void
}

/** Throws DataDirError: there is none, or a process holds it. */
export function holdDataDir(files: FileSystem, path: string, probe: ProcessProbe): HeldDataDir {
  const identity = readIdentity(files, path)
  if (identity === undefined)
    throw new DataDirError('NOT_A_DATA_DIR', `'${path}' is no data dir: it has no ${IDENTITY_FILE}`)
  takeLock(files, path, probe)
  return {
    identity,
    giveDirectoryId(newDirectoryId) {
      if (identity.directoryId !== '') return identity.directoryId
      const given = { ...identity, directoryId: newDirectoryId }
      replaceFile(files, `${path}/${IDENTITY_FILE}`, [encodeIdentity(given)])
      return newDirectoryId
    },
    release: () => releaseLock(files, path),
  }
}

/** Pid of the living process that holds the data dir, for tools that only look; undefined when nobody does. */
export function lockHolder(files: FileSystem, path: string, probe: ProcessProbe): number | undefined {
  const holder = readHolder(files, `${path}/${LOCK_FILE}`)
  return holder !== undefined && isAlive(holder, probe) ? holder.pid : undefined
}

function createExclusively(files: FileSystem, name: string, holder: LockHolder): boolean {
  try {
    const fd = files.open(name, 'create-new')
    try {
      writeFully(files, fd, [encodeHolder(holder)], 0)
    } finally {
      files.close(fd)
    }
    return true
  } catch (error) {
    if (error instanceof StorageError && error.code === 'EEXIST') return false
    throw error
  }
}

function encodeHolder(holder: LockHolder): Uint8Array {
  return utf8Encode(`${JSON.stringify(holder)}\n`)
}

/** Undefined for a file that names nobody: cut short by a crash, or not ours; such a lock is held by nobody alive. */
function readHolder(files: FileSystem, name: string): LockHolder | undefined {
  const file = readWholeFile(files, name, SMALL_FILE_BYTES_MAX)
  if (file.kind !== 'present') return undefined
  const fields = parseObject(file.bytes)
  if (fields === undefined) return undefined
  const { pid, start, bootId } = fields
  if (!isIntegerWithin(pid, 1, 2 ** 31 - 1) || typeof start !== 'string' || typeof bootId !== 'string') return undefined
  return { pid, start, bootId }
}

function isAlive(holder: LockHolder, probe: ProcessProbe): boolean {
  if (holder.bootId !== '' && probe.bootId !== '' && holder.bootId !== probe.bootId) return false
  const start = probe.startOf(holder.pid)
  return start !== undefined && (holder.start === '' || start === holder.start)
}

function lockedBy(path: string, holder: LockHolder | undefined): DataDirError {
  const who = holder === undefined ? 'another process' : `process ${holder.pid}`
  return new DataDirError('LOCKED', `the data dir '${path}' is in use by ${who}: stop it, or name another data dir`)
}

function releaseLock(files: FileSystem, path: string): void {
  try {
    removeIfPresent(files, `${path}/${LOCK_FILE}`)
  } catch {
    // The first error is the one to tell; the lock of a dead process is taken over.
  }
}

// --- clean marker, stop

const CLEAN_TEXT = /^clean ([0-9]{1,13}) ([0-9a-f]{8})\n$/

function cleanText(incarnation: number): Uint8Array {
  const crc = crc32c(utf8Encode(`clean ${incarnation}`))
  return utf8Encode(`clean ${incarnation} ${crc.toString(16).padStart(8, '0')}\n`)
}

/** True when the marker was written by the newest incarnation; removes it in any case, durably. */
function takeCleanMarker(files: FileSystem, path: string, incarnation: Incarnation): boolean {
  const name = `${path}/${CLEAN_FILE}`
  const file = readWholeFile(files, name, SMALL_FILE_BYTES_MAX)
  if (file.kind === 'absent') return false
  files.remove(name)
  files.syncFolder(path)
  if (file.kind === 'unreadable') return false
  const text = utf8DecodeStrict(file.bytes)
  const match = text === undefined ? null : CLEAN_TEXT.exec(text)
  if (match === null || Number(match[1]) !== incarnation) return false
  return text === utf8DecodeStrict(cleanText(incarnation))
}

/**
 * The last step of an orderly stop: every shard has synced its segments and written its last checkpoint. Writes the clean
 * marker durably, then gives the lock back.
 */
export function closeDataDirCleanly(files: FileSystem, dataDir: DataDir): void {
  replaceFile(files, `${dataDir.path}/${CLEAN_FILE}`, [cleanText(dataDir.identity.incarnation)])
  files.remove(`${dataDir.path}/${LOCK_FILE}`)
  files.syncFolder(dataDir.path)
}

// --- folders

export interface PartitionFolder {
  readonly name: string
  readonly topicId: TopicId
  readonly partition: number
}

/** Partition folders of a data dir, sorted by name; everything else is left alone. */
export function listPartitionFolders(files: FileSystem, path: string): PartitionFolder[] {
  const folders: PartitionFolder[] = []
  for (const name of files.list(path)) {
    const parsed = parsePartitionFolder(name)
    if (parsed !== undefined) folders.push({ name, ...parsed })
  }
  return folders
}

/**
 * Sets a partition folder that the metadata does not know aside, by rename, never by removal (R7).
 * Returns its new path below the data dir.
 */
export function quarantineFolder(
  files: FileSystem,
  dataDir: { readonly path: string; readonly incarnation: Incarnation },
  name: string,
): string {
  const { path, incarnation } = dataDir
  for (let attempt = 0; attempt < 1000; attempt++) {
    const target = `${QUARANTINE_FOLDER}/${name}.${incarnation}${attempt === 0 ? '' : `.${attempt}`}`
    if (files.stat(`${path}/${target}`).kind !== 'absent') continue
    files.makeFolder(`${path}/${QUARANTINE_FOLDER}`)
    files.rename(`${path}/${name}`, `${path}/${target}`)
    files.syncFolder(`${path}/${QUARANTINE_FOLDER}`)
    files.syncFolder(path)
    return target
  }
  throw new DataDirError('UNREADABLE', `'${path}/${QUARANTINE_FOLDER}' holds 1000 folders of the name ${name}`)
}

/** First half of an explicit delete: from here on the partition is gone, durably. Returns the name of what is left to remove. */
export function markFolderDeleted(files: FileSystem, path: string, name: string): string {
  const target = `${name}${DELETED_SUFFIX}`
  files.rename(`${path}/${name}`, `${path}/${target}`)
  files.syncFolder(path)
  return target
}

/** Second half: removes the files. Also called at start for what a crash left; safe at every step. */
export function removeDeletedFolder(files: FileSystem, path: string, deletedName: string): void {
  const folder = `${path}/${deletedName}`
  for (const name of files.list(folder)) files.remove(`${folder}/${name}`)
  files.removeFolder(folder)
}

/** Names of folders whose delete a crash interrupted. */
export function listDeletedFolders(files: FileSystem, path: string): string[] {
  return files
    .list(path)
    .filter(
      (name) =>
        name.endsWith(DELETED_SUFFIX) && parsePartitionFolder(name.slice(0, -DELETED_SUFFIX.length)) !== undefined,
    )
}
