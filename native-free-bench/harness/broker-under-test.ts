/** A broker in a process of its own, as a user runs it, with its CPU time and memory read from /proc. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const distRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const START_TIMEOUT_MS = 60_000
const TICKS_PER_SECOND = 100

export interface BrokerUnderTest {
  readonly url: string
  readonly dataDir: string
  readonly pid: number
  /** Milliseconds from spawn to `ready`. */
  readonly readyMs: number
  /** What it printed so far. */
  output(): string
  /** User and system seconds of the whole process so far; NaN where there is no /proc. */
  cpuSeconds(): number
  /** Resident memory, MiB; NaN where there is no /proc. */
  rssMib(): number
  /** Ends it; answers when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface BrokerOptions {
  /** Made and removed by the caller; a fresh temporary one when missing. */
  readonly dataDir?: string
  /** Flags of `millrace start`. */
  readonly flags?: readonly string[]
  /** Flags of node, such as --cpu-prof. */
  readonly nodeFlags?: readonly string[]
}

export function makeDataDir(): string {
  // A folder on a real disk: /tmp may be memory, where nothing is ever synced.
  const parent = process.env.MILLRACE_BENCH_DIR ?? (existsSync('/var/tmp') ? '/var/tmp' : tmpdir())
  return mkdtempSync(join(parent, 'millrace-bench-'))
}

export async function startBrokerUnderTest(options: BrokerOptions = {}): Promise<BrokerUnderTest> {
  const dataDir = options.dataDir ?? makeDataDir()
  const startedMs = performance.now()
  const child = spawn(
    process.execPath,
    [
      ...(options.nodeFlags ?? []),
      join(distRoot, 'src/cli/main.js'),
      'start',
      '--data-dir',
      dataDir,
      '--listen',
      '127.0.0.1:0',
      '--kafka',
      'off',
      ...(options.flags ?? []),
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let output = ''
  const { url, readyMs } = await new Promise<{ url: string; readyMs: number }>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the broker was not ready within ${START_TIMEOUT_MS} ms:\n${output}`)),
      START_TIMEOUT_MS,
    )
    const onData = (chunk: Buffer) => {
      output += chunk.toString()
      const found = /ws:\/\/[0-9.]+:\d+/.exec(output)
      if (found === null || !/ready in/.test(output)) return
      clearTimeout(timer)
      resolve({ url: found[0], readyMs: performance.now() - startedMs })
    }
    child.stdout.on('data', onData)
    child.stderr.on('data', onData)
    child.once('exit', (code) => reject(new Error(`the broker ended with ${code}:\n${output}`)))
  })
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const pid = child.pid as number
  return {
    url,
    dataDir,
    pid,
    readyMs,
    output: () => output,
    cpuSeconds: () => cpuSecondsOf(pid),
    rssMib: () => rssMibOf(pid),
    stop: (signal = 'SIGTERM') => stop(child, gone, signal),
  }
}

async function stop(child: ChildProcess, gone: Promise<void>, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  await gone
}

export function removeDataDir(dataDir: string): void {
  rmSync(dataDir, { recursive: true, force: true })
}

/** User plus system seconds of a process; NaN where there is no /proc. */
export function cpuSecondsOf(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  } catch {
    return Number.NaN
  }
}

/** Resident memory of a process, MiB; NaN where there is no /proc. */
export function rssMibOf(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  } catch {
    return Number.NaN
  }
}
