/**
 * BrokerProcess: a real broker as a process of its own, as a user runs it: started, killed, started again on the same data
 * and port; its CPU time and memory are read from /proc. For tests and benches.
 *
 * Owns     the child process: it never outlives this one
 * Failure  start() throws with what the broker said; a broker that ends by itself is told by hasEnded and talk
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { repositoryRoot } from './repository.ts'

const MILLRACE = join(repositoryRoot, 'dist', 'src', 'cli', 'main.js')
const READY_MS_MAX = 60_000
const STOP_MS_MAX = 20_000
const TALK_CHARS_MAX = 64 * 1024
const TICKS_PER_SECOND = 100

export interface BrokerProcessOptions {
  readonly dataDir: string
  /** Further flags of `millrace start`. */
  readonly args?: readonly string[]
  /** Flags of node, such as --cpu-prof. */
  readonly nodeArgs?: readonly string[]
  /** Laid over this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** What runs `millrace`, instead of this node and the checkout: a path. nodeArgs are not for it. */
  readonly executable?: string
  readonly cwd?: string
  /** Where it listens; default a free port of loopback. */
  readonly listen?: { readonly host: string; readonly port: number }
  /** Listen for Kafka clients too, at a free port of loopback. Default: not. */
  readonly kafka?: boolean
  /** Words before the program, which must become it (exec), such as `ip netns exec NAME`: the pid is the broker's. */
  readonly launcher?: readonly string[]
}

export class BrokerProcess {
  readonly #options: BrokerProcessOptions
  #child: ChildProcess | undefined
  #exited: Promise<number | null> = Promise.resolve(null)
  #talk = ''
  #url = ''
  #port = 0
  #kafkaPort = 0
  #readyMs = Number.NaN
  #ownReadyMs = Number.NaN

  private constructor(options: BrokerProcessOptions) {
    this.#options = options
  }

  static async start(options: BrokerProcessOptions): Promise<BrokerProcess> {
    const broker = new BrokerProcess(options)
    // A port by number from the first start on: uSockets does not set SO_REUSEADDR on port 0, and connections of a killed
    // process would then hold the port for a minute.
    broker.#port = options.listen?.port ?? (await freePort())
    if (options.kafka === true) broker.#kafkaPort = await freePort()
    await broker.start()
    return broker
  }

  get url(): string {
    return this.#url
  }

  /** `host:port` of the listener for Kafka clients; only with the option `kafka`. */
  get kafka(): string {
    if (this.#options.kafka !== true) throw new Error('this broker does not listen for Kafka clients')
    return `127.0.0.1:${this.#kafkaPort}`
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  get dataDir(): string {
    return this.#options.dataDir
  }

  /** Milliseconds of the last start, from spawn to ready. */
  get readyMs(): number {
    return this.#readyMs
  }

  /** The same by the broker's own clock; NaN when it did not say. */
  get ownReadyMs(): number {
    return this.#ownReadyMs
  }

  /** What the broker wrote to stderr since its last start. */
  get talk(): string {
    return this.#talk
  }

  get hasEnded(): boolean {
    return this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Starts it (again): on the port it had before. Throws with what it said when it is not ready in time. */
  async start(
    changes: { readonly args?: readonly string[]; readonly env?: Record<string, string> } = {},
  ): Promise<void> {
    const { dataDir, nodeArgs = [], env, executable, cwd, launcher = [] } = this.#options
    const args = changes.args ?? this.#options.args ?? []
    const listen = `${this.#options.listen?.host ?? '127.0.0.1'}:${this.#port}`
    const kafka = this.#options.kafka === true ? this.kafka : 'off'
    const flags = ['start', '--json', '--data-dir', dataDir, '--listen', listen, '--kafka', kafka, ...args]
    const startedMs = performance.now()
    const program = executable === undefined ? [process.execPath, ...nodeArgs, MILLRACE] : [executable]
    const [first = '', ...words] = [...launcher, ...program, ...flags]
    const child = spawn(first, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env, ...changes.env },
      ...(cwd === undefined ? {} : { cwd }),
    })
    this.#child = child
    this.#talk = ''
    const killWithUs = (): void => void child.kill('SIGKILL')
    process.once('exit', killWithUs)
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code) => {
        process.off('exit', killWithUs)
        resolve(code)
      })
    })
    child.stderr.on('data', (chunk: Buffer) => {
      this.#talk = (this.#talk + chunk.toString()).slice(-TALK_CHARS_MAX)
    })
    await this.#ready(child)
    this.#readyMs = performance.now() - startedMs
  }

  #ready(child: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        clearTimeout(timer)
        child.kill('SIGKILL')
        reject(new Error(`the broker ${why}:\n${this.#talk}`))
      }
      const timer = setTimeout(() => fail(`was not ready within ${READY_MS_MAX} ms`), READY_MS_MAX)
      child.once('exit', (code, signal) => fail(`ended with ${code ?? signal} before it was ready`))
      createInterface({ input: child.stdout! }).on('line', (line) => {
        const event = JSON.parse(line) as { event?: string; url?: string; readyMs?: number }
        if (event.event !== 'ready' || event.url === undefined) return
        clearTimeout(timer)
        this.#url = event.url
        this.#ownReadyMs = event.readyMs ?? Number.NaN
        resolve()
      })
    })
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  /** SIGTERM; answers the exit code. Killed when it takes too long. */
  async stop(): Promise<number | null> {
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_MS_MAX)
    this.#child?.kill('SIGTERM')
    const code = await this.#exited
    clearTimeout(timer)
    return code
  }

  /** SIGSTOP and SIGCONT: the process stands still, its sockets stay open. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
  }
  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  /** What /readyz says. */
  async readiness(): Promise<{ readonly ready: boolean; readonly reasons: readonly string[] }> {
    const answer = await fetch(`${this.#url.replace(/^ws/, 'http')}/readyz`)
    return (await answer.json()) as { ready: boolean; reasons: string[] }
  }

  /** User and system seconds of the whole process so far; NaN where there is no /proc. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.pid)
  }

  /** Resident memory, MiB; NaN where there is no /proc. */
  rssMib(): number {
    return rssMibOf(this.pid)
  }
}

/** A new folder on a real disk: /tmp may be memory, where nothing is ever synced. */
export function makeDataDir(): string {
  const parent = process.env.MILLRACE_BENCH_DIR ?? (existsSync('/var/tmp') ? '/var/tmp' : tmpdir())
  return mkdtempSync(join(parent, 'millrace-broker-'))
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

/** A port that is free now. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
