/**
 * Terminal: what a command sees of the process: stdout for data, stderr for talk, the interrupt as an AbortSignal.
 *
 * Limits    what stdout has not taken: WRITE_BYTES_MAX, then write() is to be awaited
 * Failure   a closed pipe (EPIPE) aborts the command and is no failure
 */
import { MillraceError } from '../model/errors.ts'

const WRITE_BYTES_MAX = 1024 * 1024

export interface GlobalOptions {
  server?: string
  token?: string
  json?: boolean
  quiet?: boolean
  verbose?: boolean
  color?: boolean
}

export class Terminal {
  readonly #process: NodeJS.Process
  readonly #abort = new AbortController()
  readonly #onSignal = (signal: NodeJS.Signals): void => this.#interrupt(signal)
  #options: GlobalOptions = {}
  interruptedBy: NodeJS.Signals | undefined
  isPipeBroken = false

  constructor(process: NodeJS.Process) {
    this.#process = process
    process.on('SIGINT', this.#onSignal)
    process.on('SIGTERM', this.#onSignal)
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      this.isPipeBroken = true
      this.#abort.abort(error)
    })
    process.stderr.on('error', () => {})
  }

  /** Takes the global options of the command that runs. */
  configure(options: GlobalOptions): void {
    this.#options = options
  }

  /** Fires at SIGINT, SIGTERM, and when nobody reads stdout any more. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get isJson(): boolean {
    return this.#options.json === true
  }

  get server(): string {
    return this.#options.server ?? this.#process.env.MILLRACE_SERVER ?? 'ws://127.0.0.1:7171'
  }

  get token(): string | undefined {
    return this.#options.token ?? this.#process.env.MILLRACE_TOKEN
  }

  get isVerbose(): boolean {
    return this.#options.verbose === true
  }

  get hasColor(): boolean {
    if (this.#options.color === false || (this.#process.env.NO_COLOR ?? '') !== '') return false
    return this.#process.stderr.isTTY === true
  }

  /** Data. Await it when it answers a promise: stdout is slower than the command. */
  write(data: string | Uint8Array): Promise<void> | undefined {
    const { stdout } = this.#process
    stdout.write(data)
    if (stdout.writableLength < WRITE_BYTES_MAX || this.isPipeBroken) return undefined
    return new Promise((resolve) => {
      const done = (): void => {
        this.#abort.signal.removeEventListener('abort', done)
        stdout.off('drain', done)
        resolve()
      }
      stdout.once('drain', done)
      this.#abort.signal.addEventListener('abort', done, { once: true })
    })
  }

  writeLine(text: string): void {
    this.write(`${text}\n`)
  }

  writeJson(value: unknown): void {
    this.write(`${JSON.stringify(value)}\n`)
  }

  /** Talk, unless -q. */
  say(text: string): void {
    if (this.#options.quiet !== true) this.#process.stderr.write(`${text}\n`)
  }

  /** Talk for -v alone. */
  explain(text: string): void {
    if (this.isVerbose) this.#process.stderr.write(`${text}\n`)
  }

  /** What went wrong: one line, with its cause and stack under -v. */
  fail(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error)
    const code = error instanceof MillraceError ? ` [${error.code}]` : ''
    const mark = this.hasColor ? '\u001b[31merror\u001b[39m' : 'error'
    this.#process.stderr.write(`${mark}: ${text}${code}\n`)
    if (this.isVerbose && error instanceof Error) this.#process.stderr.write(`${error.stack}\n`)
  }

  #interrupt(signal: NodeJS.Signals): void {
    if (this.interruptedBy !== undefined) this.#process.exit(130) // the second time at once
    this.interruptedBy = signal
    this.#abort.abort(new Error(`interrupted by ${signal}`))
  }

  /** Resolves when stdout has taken everything. */
  finish(): Promise<void> {
    const { stdout } = this.#process
    if (stdout.writableLength === 0 || this.isPipeBroken) return Promise.resolve()
    return new Promise((resolve) => stdout.write('', () => resolve()))
  }

  release(): void {
    this.#process.off('SIGINT', this.#onSignal)
    this.#process.off('SIGTERM', this.#onSignal)
  }
}
