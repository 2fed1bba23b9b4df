/** Files that a command line names: what is wrong with one is said as people say it, never as ENOENT. */
import { statSync } from 'node:fs'
import { MillraceError } from '../model/errors.ts'
import { UsageError } from './errors.ts'

/** Throws unless `path` is a file: not there (exit code 3), or something else (2). Answers its size in bytes. */
export function checkedFile(what: string, path: string): number {
  const stat = statOf(what, path)
  if (stat.isDirectory()) throw new UsageError(`${what}: '${path}' is a folder, a file is expected`)
  return stat.isFile() ? stat.size : 0
}

/** Throws unless `path` is a folder. */
export function checkedFolder(what: string, path: string): void {
  if (!statOf(what, path).isDirectory()) throw new UsageError(`${what}: '${path}' is a file, a folder is expected`)
}

function statOf(what: string, path: string) {
  try {
    return statSync(path)
  } catch (error) {
    throw fileError(what, path, error)
  }
}

/** What an error of the file system means. */
export function fileError(what: string, path: string, error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return new MillraceError('RESOURCE_NOT_FOUND', `${what}: there is no '${path}'`, { cause: error })
  return new Error(`${what}: '${path}' cannot be read: ${plainReason(error)}`, { cause: error })
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this user may not',
  EPERM: 'this user may not',
  EROFS: 'the file system is mounted read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: "this user's quota of the disk is used up",
  ENOTDIR: 'a part of the path is a file',
  ENOENT: 'there is no such path',
  EMFILE: 'too many files are open (ulimit -n)',
}

/** Why a file system refused, in words; its own text where there are none. Of errors that came from another thread only the text is left. */
export function plainReason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return REASONS[(error as NodeJS.ErrnoException).code ?? ''] ?? REASONS[/\b(E[A-Z]+): /.exec(text)?.[1] ?? ''] ?? text
}
