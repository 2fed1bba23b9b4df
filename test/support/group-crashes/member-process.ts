/**
 * MemberProcess: a member of a group as a process of its own: started, killed, stopped, blocked; what it did is read from its
 * journal, whatever became of it.
 *
 * Owns   the child process: it never outlives this one
 */
import { type ChildProcess, fork } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../repository.ts'
import type { MemberCommand, MemberPlan } from './churn-member.ts'
import { type JournalEntry, JournalReader } from './member-journal.ts'

const ENTRY = join(repositoryRoot, 'dist', 'test', 'support', 'group-crashes', 'churn-member.js')
const TALK_CHARS_MAX = 16 * 1024
const living = new Set<ChildProcess>()

function killAll(): void {
  for (const child of living) child.kill('SIGKILL')
}

export class MemberProcess {
  readonly plan: MemberPlan
  /** What was done with it; a member that ends by itself stays 'running'. */
  state: 'running' | 'stopped' | 'leaving' | 'killed' = 'running'
  /** partition -> ownership, as far as the journal has been read. */
  readonly owned = new Map<number, number>()
  /** By partition: where it began, or the offset after the last record that it handled. */
  readonly reached = new Map<number, number>()
  readonly exited: Promise<void>
  readonly #child: ChildProcess
  readonly #journal: JournalReader
  #talk = ''

  constructor(plan: MemberPlan) {
    this.plan = plan
    this.#journal = new JournalReader(plan.journal)
    const child = fork(ENTRY, [JSON.stringify(plan)], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    this.#child = child
    if (living.size === 0) process.on('exit', killAll)
    living.add(child)
    this.exited = new Promise((resolve) => {
      child.once('exit', () => {
        living.delete(child)
        if (living.size === 0) process.off('exit', killAll)
        resolve()
      })
    })
    child.on('error', () => {}) // a command to one that is gone
    child.stderr!.on('data', (chunk: Buffer) => {
      this.#talk = (this.#talk + chunk.toString()).slice(-TALK_CHARS_MAX)
    })
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Why it has ended without being killed; undefined = it has not, or it left. */
  get fault(): string | undefined {
    if (this.state === 'killed' || !this.hasExited) return undefined
    if (this.state === 'leaving' && this.#child.exitCode === 0) return undefined
    const ended = this.#child.exitCode ?? this.#child.signalCode
    return `member ${this.plan.member} (${this.state}) ended by itself with ${ended}:\n${this.#talk}`
  }

  kill(): void {
    this.state = 'killed'
    this.#child.kill('SIGKILL')
  }

  stop(): void {
    this.state = 'stopped'
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    if (this.state === 'stopped') this.state = 'running'
    this.#child.kill('SIGCONT')
  }

  leave(): void {
    this.state = 'leaving'
    this.#tell({ leave: true })
  }

  block(blockMs: number): void {
    this.#tell({ blockMs })
  }

  #tell(command: MemberCommand): void {
    if (this.#child.connected) this.#child.send(command, () => {})
  }

  /** What it has done since this was last asked. */
  readNew(): JournalEntry[] {
    const entries = [...this.#journal.readNew()]
    for (const entry of entries) this.#follow(entry)
    return entries
  }

  #follow(entry: JournalEntry): void {
    if (entry.kind === 'history') {
      const { operation } = entry
      if (operation.f === 'poll')
        for (const { partition, offset } of operation.records)
          this.reached.set(partition, Math.max(offset! + 1, this.reached.get(partition) ?? 0))
      if (operation.f !== 'assign') return
      for (const { partition, offset } of operation.positions) {
        this.owned.set(partition, operation.process)
        this.reached.set(partition, offset)
      }
    } else if (entry.note.note === 'revoked' || entry.note.note === 'lost') {
      const { partition, process: ownership } = entry.note
      if (this.owned.get(partition) === ownership) this.owned.delete(partition)
    }
  }

  /** To be called when it has exited and all has been read. */
  forget(): void {
    this.#journal.close()
    rmSync(this.plan.journal, { force: true })
  }
}
