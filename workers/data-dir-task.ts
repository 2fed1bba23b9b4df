/**
 * Pool task: what happens to the data dir before the shards run and after they ended: open, set folders aside, close.
 * Plain data in and out; a DataDirError or StorageError rejects the task with a text that says what to do.
 */
import '../src/base/node/native-crc32c.ts'
import { readFileSync } from 'node:fs'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import {
  closeDataDirCleanly,
  type DataDir,
  listPartitionFolders,
  openDataDir,
  type ProcessProbe,
  quarantineFolder,
} from '../src/log/data-dir.ts'

export type DataDirTask =
  | { readonly kind: 'open'; readonly path: string; readonly nodeId: number; readonly newClusterId: string }
  /** Partition folders whose names are not among `known` are set aside by rename; answers their new places. */
  | { readonly kind: 'quarantine'; readonly dataDir: DataDir; readonly known: readonly string[] }
  /** The very last step of an orderly stop: every shard has answered SHUTDOWN. */
  | { readonly kind: 'close'; readonly dataDir: DataDir }

export type DataDirTaskAnswer = DataDir | readonly string[] | undefined

const files = new NodeFileSystem()

export default function runDataDirTask(task: DataDirTask): DataDirTaskAnswer {
  switch (task.kind) {
    case 'open':
      return openDataDir(files, { ...task, probe: processProbe })
    case 'quarantine': {
      const { path, identity } = task.dataDir
      const known = new Set(task.known)
      return listPartitionFolders(files, path)
        .filter((folder) => !known.has(folder.name))
        .map((folder) => quarantineFolder(files, { path, incarnation: identity.incarnation }, folder.name))
    }
    case 'close':
      closeDataDirCleanly(files, task.dataDir)
      return undefined
  }
}

/** Linux tells of processes in /proc; elsewhere nothing is known, and a lock that was left behind must be removed by hand. */
const processProbe: ProcessProbe = {
  pid: process.pid,
  bootId: readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '',
  startOf(pid) {
    const stat = readText(`/proc/${pid}/stat`)
    // Field 22; the name in parentheses before it may hold spaces.
    return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  },
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
