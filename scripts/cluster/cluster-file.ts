/** cluster.json in the data folder: where the brokers of a running cluster are and which processes, for those who want to kill one. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface ClusterFile {
  readonly etcd: { readonly url: string; readonly pid: number }
  readonly brokers: readonly {
    readonly nodeId: number
    readonly url: string
    readonly pid: number
    /** Starts it again when it has ended. */
    readonly command: string
  }[]
}

const pathIn = (dataDir: string): string => join(dataDir, 'cluster.json')

export function writeClusterFile(dataDir: string, file: ClusterFile): void {
  writeFileSync(pathIn(dataDir), `${JSON.stringify(file, null, 2)}\n`)
}

export function removeClusterFile(dataDir: string): void {
  rmSync(pathIn(dataDir), { force: true })
}

/** Throws where no cluster runs on that folder. */
export function readClusterFile(dataDir: string): ClusterFile {
  try {
    return JSON.parse(readFileSync(pathIn(dataDir), 'utf8')) as ClusterFile
  } catch (error) {
    throw new Error(`no cluster runs on ${dataDir}: npm run cluster starts one`, { cause: error })
  }
}
