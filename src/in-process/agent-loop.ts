/**
 * AgentLoop: what would be threads and sockets, done in turns of the caller's event loop: tasks (messages, turns of the gateway) and
 * agents (shards and their disks).
 *
 * Thread      the caller's; one setImmediate at a time while there is work, one timer while there is none, nothing else
 * Ordering    a turn: rounds of {up to TASKS_PER_ROUND tasks, first in first out; one step of each agent, in the order of add()}
 *             until a round found nothing to do, at most ROUNDS_PER_TURN of them; then the caller's own events get their turn
 * Invariants  AL1 everything that rings a signal from outside of a turn has queued a task before, or calls wake(): see gateway.ts, where
 *                 every write to a ring schedules the end of the turn
 *             AL2 idle costs nothing: no polling, and the one timer keeps no process alive
 * Limits      tasks are bounded by who queues them: connections by credit, the gateway by one turn at a time
 * Failure     an agent that throws has ended, and is told to its onEnded. A task that throws is an uncaught exception, as out of
 *             a socket's event; the loop goes on
 */
import type { Agent } from '../agent/agent.ts'
import { AgentStepper } from '../agent/agent-stepper.ts'
import type { Clock } from '../base/clock.ts'
import { Fifo } from '../base/fifo.ts'
import type { Timers } from '../broker/timers.ts'

const ROUNDS_PER_TURN = 8
const TASKS_PER_ROUND = 32
/** An agent that wants to look again so soon polls for something: in real time, also where the clock is a test's and stands. */
const POLL_MS = 1

/** Something the loop steps that is no agent; a bell. */
export interface Stepped {
  /** Work done; 0 = idle. */
  step(nowMs: number): number
  /** Monotonic ms of its next timer. */
  deadlineMs(): number
}

export class AgentLoop {
  readonly #clock: Clock
  readonly #timers: Pick<Timers, 'after'>
  readonly #tasks = new Fifo<() => void>()
  #stepped: readonly Stepped[] = []
  #isScheduled = false
  #isClosed = false
  #poll: NodeJS.Timeout | undefined
  #wakeAtMs = Number.POSITIVE_INFINITY
  #cancelTimer: () => void = () => {}

  constructor(options: { readonly clock: Clock; readonly timers: Pick<Timers, 'after'> }) {
    this.#clock = options.clock
    this.#timers = options.timers
  }

  /** Nothing to do but to wait for a time, or for somebody to call. */
  get isIdle(): boolean {
    return !this.#isScheduled && this.#poll === undefined
  }

  /** Runs `task` in a later turn, after those that were queued before. */
  readonly soon = (task: () => void): void => {
    if (this.#isClosed) return
    this.#tasks.push(task)
    this.#schedule()
  }

  /** Steps the agent from now on, as its thread would. Answers how to wake it where nothing rings. */
  addAgent(agent: Agent, signal: { sequence(): number }, onEnded: (error: unknown) => void): () => void {
    const stepper = new AgentStepper({ agent, signal, onEnded })
    this.add(stepper)
    return () => {
      stepper.wake()
      this.wake()
    }
  }

  add(stepped: Stepped): void {
    this.#stepped = [...this.#stepped, stepped]
    this.wake()
  }

  /** Looks at the agents soon. */
  wake(): void {
    if (!this.#isClosed) this.#schedule()
  }

  /** Steps none of those that were added any more; they are as dead as the threads of a process that was killed. */
  forgetAgents(): void {
    this.#stepped = []
    this.#stopWaiting()
  }

  /** Nothing is run or stepped any more. */
  close(): void {
    this.#isClosed = true
    this.#stepped = []
    while (this.#tasks.shift() !== undefined);
    this.#stopWaiting()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    let worked = true
    try {
      for (let round = 0; worked && round < ROUNDS_PER_TURN; round++) worked = this.#round()
    } finally {
      this.#isScheduled = false
      if (!this.#isClosed) this.#wait(worked)
    }
  }

  #round(): boolean {
    let work = 0
    for (; work < TASKS_PER_ROUND; work++) {
      const task = this.#tasks.shift()
      if (task === undefined) break
      task()
    }
    const nowMs = this.#clock.monotonicMs()
    for (const stepped of this.#stepped) work += stepped.step(nowMs)
    return work > 0
  }

  #wait(worked: boolean): void {
    if (worked) {
      this.#schedule()
      return
    }
    let atMs = Number.POSITIVE_INFINITY
    for (const stepped of this.#stepped) atMs = Math.min(atMs, stepped.deadlineMs())
    if (atMs - this.#clock.monotonicMs() <= POLL_MS) {
      this.#poll ??= setTimeout(() => {
        this.#poll = undefined
        this.wake()
      }, POLL_MS).unref()
      return
    }
    // One that fires earlier is as good: it looks, and waits for the rest.
    if (this.#wakeAtMs <= atMs) return
    this.#stopWaiting()
    this.#wakeAtMs = atMs
    this.#cancelTimer = this.#timers.after(atMs - this.#clock.monotonicMs(), () => {
      this.#wakeAtMs = Number.POSITIVE_INFINITY
      this.wake()
    })
  }

  #stopWaiting(): void {
    clearTimeout(this.#poll)
    this.#poll = undefined
    this.#cancelTimer()
    this.#cancelTimer = () => {}
    this.#wakeAtMs = Number.POSITIVE_INFINITY
  }
}
