/**
 * BrokerProcess: a real broker as a process of its own: started, killed, started again on the same data and port.
 * It never outlives the test: the process is killed when this one exits.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { repositoryRoot } from './repository.ts'

const MILLRACE = join(repositoryRoot, 'dist', 'src', 'cli', 'main.js')
const READY_MS_MAX = 30_000
const STOP_MS_MAX = 20_000

export interface BrokerProcessOptions {
  readonly dataDir: string
  /** Further flags of `millrace start`. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

export class BrokerProcess {
  readonly #options: BrokerProcessOptions
  #child: ChildProcess | undefined
  #exited: Promise<number | null> = Promise.resolve(null)
  #talk = ''
  #url = ''
  #port = 0

  private constructor(options: BrokerProcessOptions) {
    this.#options = options
  }

  static async start(options: BrokerProcessOptions): Promise<BrokerProcess> {
    const broker = new BrokerProcess(options)
    await broker.start()
    return broker
  }

  get url(): string {
    return this.#url
  }

  get pid(): number {
    return this.#child?.pid ?? -1
  }

  /** What the broker wrote to stderr since its last start. */
  get talk(): string {
    return this.#talk
  }

  /** Starts it (again): on the port it had before. Throws with what it said when it is not ready in time. */
  async start(): Promise<void> {
    const listen = `127.0.0.1:${this.#port}`
    const args = [MILLRACE, 'start', '--json', '--data-dir', this.#options.dataDir, '--listen', listen]
    const child = spawn(process.execPath, [...args, ...(this.#options.args ?? [])], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#options.env },
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
      this.#talk = (this.#talk + chunk.toString()).slice(-64 * 1024)
    })
    await this.#ready(child)
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
        const event = JSON.parse(line) as { event?: string; url?: string }
        if (event.event !== 'ready' || event.url === undefined) return
        clearTimeout(timer)
        this.#url = event.url
        this.#port = Number(new URL(event.url).port)
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
}
