/**
 * The native parts as files: a single executable carries them inside, but the system's loader takes files only.
 *
 * Invariants  a file under its final name is whole, or is found out: written beside it and renamed, its SHA-256 compared at
 *             every start. So it needs no fsync, and any number of starts may unpack at once
 * Limits      what the executable carries; a start killed while it unpacked leaves one temporary file
 * Failure     a folder that cannot be used gives way to the next one; when none is left, the error names each with its reason
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface NativeFile {
  readonly name: string
  /** Lower-case hex. */
  readonly sha256: string
}

export interface NativePlan {
  readonly files: readonly NativeFile[]
  readonly read: (name: string) => Uint8Array
  /** In order of preference. */
  readonly folders: readonly string[]
  /** Throws when the files of `folder` cannot be loaded where they are: the file system may be mounted noexec. */
  readonly tryLoad: (folder: string) => void
}

/** Answers the first folder in which all files are, or can be put, whole and loadable. */
export function placeNatives(plan: NativePlan): string {
  const faults: string[] = []
  for (const folder of plan.folders) {
    try {
      for (const file of plan.files) if (!isIntact(folder, file)) unpack(folder, file, plan.read(file.name))
      plan.tryLoad(folder)
      return folder
    } catch (error) {
      faults.push(`  ${folder}: ${error instanceof Error ? error.message : error}`)
    }
  }
  throw new Error(
    `the native parts of this executable can be unpacked nowhere:\n${faults.join('\n')}\n` +
      'make one of these folders writable, on a file system that is not mounted noexec, or name another parent by XDG_CACHE_HOME',
  )
}

function isIntact(folder: string, file: NativeFile): boolean {
  try {
    return (
      createHash('sha256')
        .update(readFileSync(join(folder, file.name)))
        .digest('hex') === file.sha256
    )
  } catch {
    return false // Absent, or not ours to read: unpack() says why.
  }
}

function unpack(folder: string, file: NativeFile, bytes: Uint8Array): void {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, file.name)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    writeFileSync(temporary, bytes, { flag: 'wx', mode: 0o644 })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
