/**
 * What of the data dir's disk a broker depends on: who holds it, what a sync costs, how much is free.
 *
 * Invariants  nothing is made but one folder of its own with one file, both removed again, whatever happens
 * Limits      SYNCS_MAX syncs, SYNC_MS_MAX altogether; a sync that hangs is given up after SYNC_WAIT_MS
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statfsSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { systemProcessProbe } from '../../base/node/process-probe.ts'
import { formatSize } from '../../config/index.ts'
import { NodeFileSystem } from '../../io/node-file-system.ts'
import { listPartitionFolders, lockHolder, readIdentity } from '../../log/data-dir.ts'
import { plainReason } from '../files.ts'
import { counted } from '../words.ts'
import type { Diagnosis, Patient } from './diagnosis.ts'

const SYNCS_MAX = 200
const SYNC_MS_MAX = 2_000
const SYNC_WAIT_MS = 30_000
const SYNC_BYTES = 4096
/** A device that keeps what it was told answers in 0.05 to 10 ms; above it is a busy disk, or one that turns. */
const SLOW_P99_MS = 50
/** statfs(2): file systems that are memory. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x01021994, 0x858458f6]

/** What was found of the data dir, for other checks. */
export interface DataDirFacts {
  readonly diagnosis: Diagnosis
  readonly partitions: number
  /** The latest change of a file at its top; undefined when there is none. */
  readonly newestMs: number | undefined
  /** A broker runs on it. */
  readonly isHeld: boolean
}

/** Who it belongs to, without touching it. */
export function checkDataDir({ dataDir, config }: Patient): DataDirFacts {
  const nothing = { partitions: 0, newestMs: undefined, isHeld: false }
  const said = (status: Diagnosis['status'], text: string, fix?: string): Diagnosis => ({
    ...{ check: 'data-dir', status, text, facts: { path: dataDir } },
    ...(fix === undefined ? {} : { fix }),
  })
  if (!existsSync(dataDir))
    return { ...nothing, diagnosis: said('ok', `${dataDir} is not there yet; the first start makes it`) }
  try {
    if (!statSync(dataDir).isDirectory())
      return { ...nothing, diagnosis: said('fail', `${dataDir} is a file`, 'name a folder with --data-dir') }
    const files = new NodeFileSystem()
    const identity = readIdentity(files, dataDir)
    const holder = lockHolder(files, dataDir, systemProcessProbe())
    const partitions = listPartitionFolders(files, dataDir).length
    const newestMs = Math.max(...readdirSync(dataDir).map((name) => statSync(join(dataDir, name)).mtimeMs))
    const found = {
      partitions,
      newestMs: Number.isFinite(newestMs) ? newestMs : undefined,
      isHeld: holder !== undefined,
    }
    if (identity !== undefined && identity.nodeId !== config.nodeId) {
      const text = `${dataDir} belongs to node ${identity.nodeId}, not ${config.nodeId}`
      return { ...found, diagnosis: said('fail', text, `--node-id ${identity.nodeId}, or another --data-dir`) }
    }
    const state = holder === undefined ? 'no broker runs on it' : `process ${holder} runs on it`
    return { ...found, diagnosis: said('ok', `${dataDir}: ${counted(partitions, 'partition')}, ${state}`) }
  } catch (error) {
    const fix = 'millrace verify DATA-DIR, or give the folder to the user who runs the broker'
    return { ...nothing, diagnosis: said('fail', `${dataDir}: ${plainReason(error)}`, fix) }
  }
}

export function checkFreeSpace(
  { dataDir, config, threads }: Patient,
  freeBytes = freeBytesOf(existingFolder(dataDir)),
): Diagnosis {
  const { reserveBytes, journalBytes } = config.storage
  const leastBytes = reserveBytes + threads.shards * journalBytes
  const facts = { freeBytes, leastBytes }
  const text = `${gibOf(freeBytes)} free; below ${formatSize(reserveBytes)} produce is refused`
  const fix =
    'free some space, or take another disk with --data-dir; retention.ms and retention.bytes bound what is kept'
  if (freeBytes < leastBytes) return { check: 'space', status: 'fail', text, fix, facts }
  if (freeBytes < 4 * leastBytes) return { check: 'space', status: 'warn', text, fix, facts }
  return { check: 'space', status: 'ok', text, facts }
}

function freeBytesOf(folder: string): number {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

/** What fdatasync costs after a small write: the floor of an acknowledgement's latency. */
export async function checkSync({ dataDir, signal }: Patient): Promise<Diagnosis> {
  const parent = existingFolder(dataDir)
  let folder: string
  try {
    folder = mkdtempSync(join(parent, '.millrace-doctor-'))
  } catch (error) {
    const fix = 'give the folder to the user who runs the broker, or name another with --data-dir'
    return { check: 'fdatasync', status: 'fail', text: `${parent} cannot be written to: ${plainReason(error)}`, fix }
  }
  try {
    const tooksMs = await measureSyncs(join(folder, 'sync'), signal)
    const isMemory = MEMORY_FILE_SYSTEMS.includes(statfsSync(parent).type)
    return judgeSyncs(tooksMs, { parent, isMemory })
  } catch (error) {
    return {
      check: 'fdatasync',
      status: 'fail',
      text: `${parent}: ${plainReason(error)}`,
      fix: 'look at the disk (dmesg)',
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Milliseconds of each sync, sorted; at least one. Throws when one fails or hangs. */
async function measureSyncs(path: string, signal: AbortSignal): Promise<number[]> {
  const file = await open(path, 'w')
  const tooksMs: number[] = []
  const giveUp = new AbortController()
  const hung = delay(SYNC_WAIT_MS + SYNC_MS_MAX, 'hung', { signal: giveUp.signal }).catch(() => 'hung')
  try {
    const bytes = new Uint8Array(SYNC_BYTES)
    const startedMs = performance.now()
    while (tooksMs.length < SYNCS_MAX && !(tooksMs.length > 0 && performance.now() - startedMs > SYNC_MS_MAX)) {
      await file.write(bytes, 0, SYNC_BYTES, tooksMs.length * SYNC_BYTES)
      const beganMs = performance.now()
      if ((await Promise.race([file.datasync(), hung])) === 'hung') throw new Error('a sync did not end in time')
      tooksMs.push(performance.now() - beganMs)
      signal.throwIfAborted()
    }
  } finally {
    giveUp.abort()
    // Not awaited: behind a sync that hangs it would hang too.
    void file.close().catch(() => {})
  }
  return tooksMs.sort((left, right) => left - right)
}

export function judgeSyncs(
  sortedMs: readonly number[],
  place: { readonly parent: string; readonly isMemory: boolean },
): Diagnosis {
  const at = (share: number): number => sortedMs[Math.min(sortedMs.length - 1, Math.floor(share * sortedMs.length))]!
  const [p50Ms, p99Ms] = [at(0.5), at(0.99)]
  const facts = { p50Ms: round(p50Ms), p99Ms: round(p99Ms), syncs: sortedMs.length, folder: place.parent }
  const text = `p50 ${round(p50Ms)} ms, p99 ${round(p99Ms)} ms over ${sortedMs.length} syncs in ${place.parent}`
  if (place.isMemory) {
    const fix = 'take a folder on a disk with --data-dir: memory keeps nothing over a power cut'
    return { check: 'fdatasync', status: 'warn', text: `${text}, which is memory`, fix, facts }
  }
  if (p99Ms <= SLOW_P99_MS) return { check: 'fdatasync', status: 'ok', text, facts }
  const fix =
    'a disk of its own, best one with power-loss protection; or storage.fsync: interval, which acknowledges before the sync'
  return { check: 'fdatasync', status: 'warn', text: `${text}: every acknowledgement waits for one`, fix, facts }
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

/** The folder, or the nearest one above it that is there. */
function existingFolder(path: string): string {
  let folder = path
  while (!(existsSync(folder) && statSync(folder).isDirectory()) && dirname(folder) !== folder) folder = dirname(folder)
  return folder
}

function gibOf(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(1)} GiB`
}
