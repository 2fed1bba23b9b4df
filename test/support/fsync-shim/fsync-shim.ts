/**
 * Builds fsync-shim.c and says which environment makes a child process's storage calls fail, or its disk slow.
 *
 * Owns     a temporary folder with the library, until dispose()
 * Failure  no Linux, no compiler: { kind: 'unavailable', reason }, for a visible skip
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface ShimFault {
  /** Only files whose path contains this text. */
  readonly path: string
  /** Default: fdatasync and fsync. Node's writeSync is pwrite, writevSync is pwritev. */
  readonly calls?: readonly ('fdatasync' | 'fsync' | 'pwrite' | 'pwritev' | 'ftruncate')[]
  readonly errno?: 'EIO' | 'ENOSPC' | 'EDQUOT'
  /** Matching calls that go through first; default 0. */
  readonly after?: number
  /** Calls that fail then; default all. */
  readonly times?: number
  /** Counts and fails only while this file exists; when it is not empty, only paths that contain one of its lines. */
  readonly trigger?: string
  /** Syncs made while the trigger exists, and calls that failed, are appended here: `call ok|failed path`. */
  readonly log?: string
}

/** A device that takes so many bytes a second. */
export interface ShimThrottle {
  readonly path: string
  readonly bytesPerSecond: number
  /** Bytes that may wait for the device before writes wait too; default 16 MiB. */
  readonly dirtyBytesMax?: number
  /** Slow only while this file exists. */
  readonly trigger?: string
}

export type FsyncShim =
  | {
      readonly kind: 'ready'
      /** To be laid over the child's environment. */
      envFor(fault: ShimFault): Record<string, string>
      slowEnvFor(throttle: ShimThrottle): Record<string, string>
      dispose(): void
    }
  | { readonly kind: 'unavailable'; readonly reason: string }

const SOURCE = fileURLToPath(new URL('../../../../test/support/fsync-shim/fsync-shim.c', import.meta.url))
const COMPILERS = ['gcc', 'cc', 'clang']
const COMPILE_MS_MAX = 30_000

export function buildFsyncShim(): FsyncShim {
  if (process.platform !== 'linux') return { kind: 'unavailable', reason: `no LD_PRELOAD shim on ${process.platform}` }
  const folder = mkdtempSync(join(tmpdir(), 'millrace-fsync-shim-'))
  const library = join(folder, 'fsync-shim.so')
  const reasons: string[] = []
  for (const compiler of COMPILERS) {
    const options = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library, SOURCE, '-ldl', '-pthread']
    const run = spawnSync(compiler, options, { encoding: 'utf8', timeout: COMPILE_MS_MAX })
    if (run.status === 0)
      return {
        kind: 'ready',
        envFor: (fault) => envOf(library, fault),
        slowEnvFor: (throttle) => slowEnvOf(library, throttle),
        dispose: () => rmSync(folder, { recursive: true, force: true }),
      }
    reasons.push(`${compiler}: ${run.error?.message ?? run.stderr.slice(0, 2000)}`)
  }
  rmSync(folder, { recursive: true, force: true })
  return { kind: 'unavailable', reason: `no compiler: ${reasons.join('; ')}` }
}

function envOf(library: string, fault: ShimFault): Record<string, string> {
  const env: Record<string, string> = { LD_PRELOAD: library, MILLRACE_SHIM_PATH: fault.path }
  if (fault.calls !== undefined) env.MILLRACE_SHIM_CALLS = fault.calls.join(',')
  if (fault.errno !== undefined) env.MILLRACE_SHIM_ERRNO = fault.errno
  if (fault.after !== undefined) env.MILLRACE_SHIM_AFTER = String(fault.after)
  if (fault.times !== undefined) env.MILLRACE_SHIM_TIMES = String(fault.times)
  if (fault.trigger !== undefined) env.MILLRACE_SHIM_TRIGGER = fault.trigger
  if (fault.log !== undefined) env.MILLRACE_SHIM_LOG = fault.log
  return env
}

function slowEnvOf(library: string, throttle: ShimThrottle): Record<string, string> {
  const env: Record<string, string> = { LD_PRELOAD: library, MILLRACE_SHIM_PATH: throttle.path }
  env.MILLRACE_SHIM_RATE = String(throttle.bytesPerSecond)
  if (throttle.trigger !== undefined) env.MILLRACE_SHIM_TRIGGER = throttle.trigger
  if (throttle.dirtyBytesMax !== undefined) env.MILLRACE_SHIM_DIRTY = String(throttle.dirtyBytesMax)
  return env
}
