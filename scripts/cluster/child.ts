/**
 * Child: one process of the cluster: what it says, line by line; its end; how it is ended.
 *
 * Invariants  no signal goes to a process whose end has been seen: its id may be somebody else's
 * Limits      stop() takes at most `stopMsMax` and then kills; LAST_LINES_MAX lines are kept
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Warden } from './warden.ts'

const LAST_LINES_MAX = 12

export interface ChildOptions {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly stopMsMax: number
  readonly warden: Warden
  readonly onLine: (line: string) => void
}

export class Child {
  readonly name: string
  /** 'signal SIGKILL', 'exit code 1', or why it could not be started. */
  readonly ended: Promise<string>
  readonly #process: ChildProcess
  readonly #stopMsMax: number
  readonly #lastLines: string[] = []
  #isUp = true

  constructor({ name, program, args, stopMsMax, warden, onLine }: ChildOptions) {
    this.name = name
    this.#stopMsMax = stopMsMax
    // A group of its own: a terminal's Ctrl-C is for this program, which then ends all in order.
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    this.#process = child
    if (child.pid !== undefined) warden.onUp(child.pid)
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        this.#lastLines.push(line)
        if (this.#lastLines.length > LAST_LINES_MAX) this.#lastLines.shift()
        onLine(line)
      })
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        if (this.#isUp && child.pid !== undefined) warden.onDown(child.pid)
        this.#isUp = false
        resolve(how)
      }
      child.once('error', (error) => end(error.message))
      child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : `signal ${signal}`))
    })
  }

  get pid(): number {
    return this.#process.pid ?? -1
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** What it said last. */
  get lastLines(): readonly string[] {
    return this.#lastLines
  }

  /** SIGTERM, and SIGKILL when that does not help in time. */
  async stop(): Promise<void> {
    if (!this.#isUp) return
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.kill(), this.#stopMsMax)
    await this.ended
    clearTimeout(timer)
  }

  kill(): void {
    if (this.#isUp) this.#process.kill('SIGKILL')
  }
}
