/**
 * MemberProcess: a member of a group with kafkajs (kafkajs-member.ts) as a process of its own that is killed, or told to end.
 *
 * Owns     the process; it ends with this one
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { repositoryRoot } from './repository.ts'

export interface MemberOptions {
  readonly kafka: string
  readonly groupId: string
  readonly topic: string
  /** Hands records on to this topic, by transactions of `transactionalId`. */
  readonly output?: string
  readonly transactionalId?: string
}

const TALK_CHARS_MAX = 4_000
const END_MS_MAX = 10_000

export class MemberProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<number | null>
  handled = 0
  /** The end of what it said on stderr. */
  talk = ''

  constructor(options: MemberOptions, onValue: (value: string) => void = () => {}) {
    const entry = join(repositoryRoot, 'dist', 'test', 'support', 'kafkajs-member.js')
    const env = { ...process.env, KAFKAJS_NO_PARTITIONER_WARNING: '1' }
    const child = spawn(process.execPath, [entry, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'pipe'], env })
    this.#child = child
    const killWithUs = (): void => void child.kill('SIGKILL')
    process.once('exit', killWithUs)
    this.#exited = new Promise((resolve) => {
      // What it wrote before it ended is heard, too.
      child.once('close', (code) => {
        process.off('exit', killWithUs)
        resolve(code)
      })
    })
    createInterface({ input: child.stdout }).on('line', (value) => {
      this.handled++
      onValue(value)
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.talk = (this.talk + chunk).slice(-TALK_CHARS_MAX)
    })
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Killed when it takes too long. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), END_MS_MAX)
    this.#child.kill(signal)
    const code = await this.#exited
    clearTimeout(timer)
    return code
  }
}
