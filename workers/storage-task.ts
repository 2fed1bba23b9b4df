/**
 * Pool entry for what blocks on the device around a start and a stop: the data dir's lock and identity, recovery, the clean marker.
 * Each function is one task: plain data in, plain data out.
 */
import '../src/base/node/native-crc32c.ts'
import { systemProcessProbe } from '../src/base/node/process-probe.ts'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import { syncAll } from '../src/io/node-parallel-sync.ts'
import * as dataDirModule from '../src/log/data-dir.ts'
import * as recovery from '../src/log/data-dir-recovery.ts'
import { replayJournals } from '../src/log/journal-replay.ts'
import type { PartitionRecovery } from '../src/log/log-recovery.ts'
import { planRecovery } from '../src/log/recovery-plan.ts'
import { giveUpReserve, keepReserve } from '../src/log/space-reserve.ts'
import { SyncList } from '../src/log/sync-list.ts'

const files = new NodeFileSystem()

type DataDir = dataDirModule.DataDir

export function openDataDir(options: { path: string; nodeId: number; newClusterId: string }): DataDir {
  const probe = systemProcessProbe()
  if (dataDirModule.lockHolder(files, options.path, probe) === undefined) giveUpReserve(files, options.path)
  return dataDirModule.openDataDir(files, { ...options, probe })
}

/** Up to the partitions: sets unknown folders aside, replays journals. Answers what a clean stop left known, and what is to be recovered. */
export async function prepareRecovery(task: { dataDir: DataDir; knownFolders: ReadonlySet<string> }) {
  const { dataDir, knownFolders } = task
  const { path, identity } = dataDir
  const notes: string[] = []
  for (const folder of dataDirModule.listPartitionFolders(files, path)) {
    if (knownFolders.has(folder.name)) continue
    const target = dataDirModule.quarantineFolder(files, { path, incarnation: identity.incarnation }, folder.name)
    notes.push(`the folder ${folder.name} belongs to no topic: set aside as ${target}`)
  }
  const plan = planRecovery(files, { dataDir: path, incarnation: identity.incarnation })
  const syncs = new SyncList()
  const journals = replayJournals(files, plan, syncs)
  await syncAll(files, syncs)
  for (const name of dataDirModule.listDeletedFolders(files, path)) dataDirModule.removeDeletedFolder(files, path, name)
  const partitions = recovery
    .partitionsToRecover(files, plan)
    .filter(({ topicId, partition }) => knownFolders.has(`${topicId}-${partition}`))
  const { previousRun } = dataDir
  const { adopted, rest } = recovery.adoptCatalogued(files, {
    ...{ dataDir: path, incarnation: identity.incarnation, previousRun, plan, partitions, replayed: journals.folders },
  })
  return { adopted, partitions: rest, notes: [...notes, ...plan.notes] }
}

export async function recoverPartitions(task: recovery.RecoverPartitionsTask): Promise<PartitionRecovery[]> {
  const syncs = new SyncList()
  const results = recovery.recoverPartitions(files, task, syncs)
  await syncAll(files, syncs)
  return results
}

export function finishRecovery(task: { dataDir: DataDir; results: PartitionRecovery[] }): void {
  const { dataDir, results } = task
  const { incarnation } = dataDir.identity
  recovery.finishRecovery(files, { dataDir: dataDir.path, incarnation, results })
  keepReserve(files, dataDir.path)
}

export function closeDataDir(task: { dataDir: DataDir; isClean: boolean }): void {
  keepReserve(files, task.dataDir.path)
  if (task.isClean) dataDirModule.closeDataDirCleanly(files, task.dataDir)
  // Without a marker the next start scans; only the lock goes, so that it may be a start of this very process.
  else files.remove(`${task.dataDir.path}/${dataDirModule.LOCK_FILE}`)
}
