/**
 * Who lives on this machine: pid, start time and boot, as the lock of a data dir wants to know it (log/data-dir.ts).
 * On Linux from /proc; elsewhere a signal 0 tells whether a pid lives, and boot and start stay unknown.
 */
import { readFileSync } from 'node:fs'

export interface SystemProcessProbe {
  readonly pid: number
  /** '' = unknown. */
  readonly bootId: string
  startOf(pid: number): string | undefined
}

/** Field 22 of /proc/<pid>/stat, counted behind the command's closing parenthesis: a command may hold spaces. */
const START_FIELD = 19

export function systemProcessProbe(): SystemProcessProbe {
  return { pid: process.pid, bootId: readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '', startOf }
}

function startOf(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`)
  if (stat !== undefined) return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_FIELD] ?? ''
  return readText('/proc/self/stat') === undefined && answersSignal(pid) ? '' : undefined
}

function answersSignal(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}
