/**
 * Builds clock-shim.c and says which environment makes a child process's wall clock movable, and how it is moved.
 *
 * Owns     a temporary folder with the library, until dispose()
 * Failure  no Linux, no compiler: { kind: 'unavailable', reason }, for a visible skip
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type ClockShim =
  | {
      readonly kind: 'ready'
      readonly library: string
      /** To be laid over the child's environment; `clock` names it for set(). */
      envFor(clock: string): Record<string, string>
      /** The wall clock of that child is so many seconds ahead of the system's, from now on. */
      set(clock: string, seconds: number): void
      dispose(): void
    }
  | { readonly kind: 'unavailable'; readonly reason: string }

const SOURCE = fileURLToPath(new URL('../../../../test/support/clock-shim/clock-shim.c', import.meta.url))
const COMPILERS = ['gcc', 'cc', 'clang']
const COMPILE_MS_MAX = 30_000

export function buildClockShim(): ClockShim {
  if (process.platform !== 'linux') return { kind: 'unavailable', reason: `no LD_PRELOAD shim on ${process.platform}` }
  const folder = mkdtempSync(join(tmpdir(), 'millrace-clock-shim-'))
  const library = join(folder, 'clock-shim.so')
  const reasons: string[] = []
  for (const compiler of COMPILERS) {
    const options = ['-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library, SOURCE]
    const run = spawnSync(compiler, options, { encoding: 'utf8', timeout: COMPILE_MS_MAX })
    if (run.status === 0) return readyShim(folder, library)
    reasons.push(`${compiler}: ${run.error?.message ?? run.stderr.slice(0, 2000)}`)
  }
  rmSync(folder, { recursive: true, force: true })
  return { kind: 'unavailable', reason: `no compiler: ${reasons.join('; ')}` }
}

function readyShim(folder: string, library: string): ClockShim {
  const fileOf = (clock: string): string => join(folder, `${clock}.shift`)
  return {
    kind: 'ready',
    library,
    envFor: (clock) => ({ LD_PRELOAD: library, MILLRACE_CLOCK_FILE: fileOf(clock) }),
    set: (clock, seconds) => {
      // Whole or not at all: a reader must not see half a number.
      writeFileSync(`${fileOf(clock)}.new`, String(seconds))
      renameSync(`${fileOf(clock)}.new`, fileOf(clock))
    },
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  }
}
