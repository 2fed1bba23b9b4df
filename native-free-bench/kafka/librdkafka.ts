/**
 * The C client of this folder: compiled against Debian's librdkafka-dev when a bench begins, into a folder that goes with the process; and
 * runs of it, each a process of its own.
 *
 * Absent   without a C compiler or the headers there is none, with a reason that the bench tells
 * Failure  a run that ends otherwise than with its line of JSON is an Error with what it said
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repositoryRoot } from '../../test/support/repository.ts'

export type FoundLibrdkafka =
  | { readonly kind: 'found'; readonly program: string; readonly version: string }
  | { readonly kind: 'absent'; readonly reason: string }

/** What its line of JSON says; the percentiles are the latency mode's. */
export interface LibrdkafkaResult {
  readonly records: number
  readonly seconds: number
  readonly recordsPerSec: number
  /** User and system, of the client. */
  readonly cpuSeconds: number
  readonly checksum: number
  readonly ackP50Ms: number
  readonly ackP99Ms: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface LibrdkafkaRun {
  readonly mode: 'produce' | 'consume' | 'latency'
  readonly address: string
  readonly topic: string
  readonly partitions: number
  readonly records: number
  readonly recordBytes: number
  readonly ratePerSec?: number
  /** NAME=VALUE of librdkafka's configuration. */
  readonly settings?: readonly string[]
}

const SOURCE = join(repositoryRoot, 'native-free-bench', 'kafka', 'librdkafka-client.c')
const SAID_CHARS_MAX = 4096

export function compileLibrdkafkaClient(): FoundLibrdkafka {
  const compiler = process.env.CC ?? 'cc'
  if (spawnSync(compiler, ['--version'], { stdio: 'ignore' }).status !== 0)
    return { kind: 'absent', reason: `no C compiler '${compiler}' here (apt-get install gcc, or set CC)` }
  const folder = mkdtempSync(join(tmpdir(), 'millrace-librdkafka-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const program = join(folder, 'librdkafka-client')
  const built = spawnSync(compiler, ['-O2', '-o', program, SOURCE, '-lrdkafka', '-lpthread'], { encoding: 'utf8' })
  if (built.status !== 0) {
    const isMissing = /librdkafka\/rdkafka\.h|-lrdkafka/.test(built.stderr)
    const reason = isMissing ? 'no librdkafka here (apt-get install librdkafka-dev)' : built.stderr.slice(0, 300)
    return { kind: 'absent', reason }
  }
  return { kind: 'found', program, version: execFileSync(program, ['version'], { encoding: 'utf8' }).trim() }
}

/** Starts one; what it prints is read by runLibrdkafka. The caller ends it. */
export function startLibrdkafka(program: string, run: LibrdkafkaRun): ChildProcess {
  const { mode, address, topic, partitions, records, recordBytes, ratePerSec, settings = [] } = run
  const words = [
    mode,
    address,
    topic,
    partitions,
    records,
    recordBytes,
    ...(ratePerSec ? [ratePerSec] : []),
    ...settings,
  ]
  const child = spawn(program, words.map(String), { stdio: ['ignore', 'pipe', 'pipe'] })
  const killWithUs = (): void => void child.kill('SIGKILL')
  process.once('exit', killWithUs)
  child.once('exit', () => process.off('exit', killWithUs))
  return child
}

export function runLibrdkafka(program: string, run: LibrdkafkaRun): Promise<LibrdkafkaResult> {
  const child = startLibrdkafka(program, run)
  let [printed, said] = ['', '']
  child.stdout!.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-SAID_CHARS_MAX)))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve(JSON.parse(printed) as LibrdkafkaResult)
      else reject(new Error(`the librdkafka client ended with ${code ?? signal}: ${said}`))
    })
  })
}
