/**
 * PipelineProcess: a member of a pipeline (pipeline-member.ts) as a process of its own that is killed, stands still, ends in order and is
 * started again.
 *
 * Owns     the process; it ends with this one
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ANEW_MARK, FAULT_MARK, type PipelineMemberOptions } from './pipeline-options.ts'
import { repositoryRoot } from './repository.ts'

const TALK_CHARS_MAX = 4_000
const FAULTS_MAX = 10

export class PipelineProcess {
  readonly options: PipelineMemberOptions
  #process: ChildProcess | undefined
  #exited: Promise<unknown> = Promise.resolve()
  #lives = 0
  /** The end of what it said on stderr. */
  talk = ''
  /** What it met and may never meet. */
  readonly faults: string[] = []
  /** What it began anew for. */
  readonly retold: string[] = []

  constructor(options: PipelineMemberOptions) {
    this.options = options
    this.start()
  }

  start(): void {
    const program = this.options.mode === 'kafkajs' ? 'chaos/kafkajs-pipeline-member.js' : 'pipeline-member.js'
    const entry = join(repositoryRoot, 'dist', 'test', 'support', program)
    // A process of the history does one thing after the other: each has numbers of its own for its lives.
    const options = {
      ...this.options,
      process: this.options.process + 10_000 * this.#lives,
      seed: this.options.seed + this.#lives,
    }
    this.#lives++
    const child = spawn(process.execPath, [entry, JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'pipe'] })
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.talk = `${this.talk}${line}\n`.slice(-TALK_CHARS_MAX)
      if (line.startsWith(FAULT_MARK) && this.faults.length < FAULTS_MAX)
        this.faults.push(line.slice(FAULT_MARK.length))
      if (line.startsWith(ANEW_MARK)) this.retold.push(line.slice(ANEW_MARK.length))
    })
    this.#process = child
    const killWithUs = (): void => void child.kill('SIGKILL')
    process.once('exit', killWithUs)
    this.#exited = new Promise((resolve) => {
      child.once('exit', () => {
        process.off('exit', killWithUs)
        resolve(undefined)
      })
    })
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#exited
  }

  /** In order: what it has begun is done, and its group is told. False: it did not end within `withinMs`, and was killed. */
  async stop(withinMs: number): Promise<boolean> {
    this.#process?.kill('SIGTERM')
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.#process?.kill('SIGKILL')
    }, withinMs)
    await this.#exited
    clearTimeout(timer)
    return !isLate
  }

  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }
}
