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

/** An error's text. One that lists several `faults` (a configuration) is a heading and a line each. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const faults: unknown = 'faults' in error ? error.faults : undefined
  if (!Array.isArray(faults) || faults.length < 2) return error.message
  return [`${faults.length} faults`, ...faults.map((fault) => `  ${fault}`)].join('\n')
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

  /** Colours are for terminals, and for those who want them (https://no-color.org). */
  #hasColor(stream: NodeJS.WriteStream): boolean {
    if (this.#options.color === false || (this.#process.env.NO_COLOR ?? '') !== '') return false
    return stream.isTTY === true
  }

  /** A text of stdout in an ANSI colour, as it is where stdout is no terminal. */
  paint(text: string, color: number): string {
    return this.#hasColor(this.#process.stdout) ? `\u001b[${color}m${text}\u001b[39m` : text
  }

  /** Where a progress bar may be drawn: undefined with -q. It draws on a terminal only. */
  get progressStream(): NodeJS.WriteStream | undefined {
    return this.#options.quiet === true ? undefined : this.#process.stderr
  }

  /** Records are typed by hand. */
  get isStdinTyped(): boolean {
    return this.#process.stdin.isTTY === true
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

  /** A question, where the answer is typed behind it. */
  readonly prompt = (text: string): void => {
    this.#process.stderr.write(text)
  }

  /** Talk for a person who may wonder: on a terminal, unless -q. */
  hint(text: string): void {
    if (this.#process.stderr.isTTY === true) this.say(text)
  }

  /** Talk for -v alone. */
  explain(text: string): void {
    if (this.isVerbose) this.#process.stderr.write(`${text}\n`)
  }

  /** What went wrong: a line, or one for each fault there is; with cause and stack under -v. */
  fail(error: unknown): void {
    const text = textOf(error)
    const code = error instanceof MillraceError ? ` [${error.code}]` : ''
    const mark = this.#hasColor(this.#process.stderr) ? '\u001b[31merror\u001b[39m' : 'error'
    const [first = '', ...more] = text.split('\n')
    this.#process.stderr.write(`${[`${mark}: ${first}${code}`, ...more].join('\n')}\n`)
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
