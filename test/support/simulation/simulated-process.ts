/**
 * SimulatedProcess: what an operating system is to a simulated program: its timers, its threads, what the network hands it; it can be
 * stopped for a while (SIGSTOP) and it can be gone.
 *
 * Invariants  nothing of it runs while it is stopped, nor ever again once it is over
 *             what came to it while it was stopped comes in that order when it goes on, and before whatever comes later
 */
import type { Timers } from '../../../src/broker/timers.ts'
import type { SteppedAgent, VirtualTime, VirtualTimer } from './virtual-time.ts'

/** Between two things that were waiting for a stopped process: each is an event of its own. */
const CATCH_UP_MS = 0.001

export class SimulatedProcess {
  readonly name: string
  readonly #time: VirtualTime
  readonly #timers = new Set<VirtualTimer>()
  readonly #agents: SteppedAgent[] = []
  #state: 'runs' | 'stopped' | 'over' = 'runs'
  /** What came while it was stopped, oldest first. */
  #waiting: (() => void)[] = []

  constructor(time: VirtualTime, name: string) {
    this.#time = time
    this.name = name
  }

  get isAlive(): boolean {
    return this.#state !== 'over'
  }

  get isStopped(): boolean {
    return this.#state === 'stopped'
  }

  stop(): void {
    if (this.#state === 'runs') this.#state = 'stopped'
  }

  continue(): void {
    if (this.#state !== 'stopped') return
    this.#state = 'runs'
    if (this.#waiting.length > 0) this.#catchUp()
  }

  /** It is gone at once. */
  end(): void {
    this.#state = 'over'
    for (const agent of this.#agents) this.#time.removeAgent(agent)
    for (const timer of this.#timers) this.#time.cancel(timer)
    this.#timers.clear()
    this.#waiting = []
  }

  /** Something comes to it: now, or when it goes on. */
  deliver(run: () => void): void {
    if (this.#state === 'over') return
    if (this.#state === 'stopped' || this.#waiting.length > 0) this.#waiting.push(run)
    else run()
  }

  /** Resolves when something that came by now would be seen; never, once it is over. */
  awake(): Promise<void> {
    return new Promise((resolve) => this.deliver(resolve))
  }

  /** Answers how to cancel it. */
  after(delayMs: number, label: string, run: () => void): () => void {
    if (this.#state === 'over') return () => {}
    let isCancelled = false
    const timer = this.#time.after(delayMs, label, () => {
      this.#timers.delete(timer)
      this.deliver(() => {
        if (!isCancelled) run()
      })
    })
    this.#timers.add(timer)
    return () => {
      isCancelled = true
      this.#timers.delete(timer)
      this.#time.cancel(timer)
    }
  }

  addAgent(agent: SteppedAgent): void {
    const own: SteppedAgent = {
      name: `${this.name}${agent.name}`,
      settlesPromises: agent.settlesPromises !== false,
      step: () => (this.#state === 'runs' ? agent.step() : 0),
      deadlineMs: () => (this.#state === 'runs' ? agent.deadlineMs() : Number.POSITIVE_INFINITY),
    }
    this.#agents.push(own)
    this.#time.addAgent(own)
  }

  timers(): Timers {
    return {
      every: (periodMs, task) => {
        let cancel: () => void
        const again = (): void => {
          cancel = this.after(periodMs, 'every', () => {
            again()
            task()
          })
        }
        again()
        return () => cancel()
      },
      after: (delayMs, task) => this.after(delayMs, 'after', task),
      soon: (task) => void this.after(0, 'soon', task),
    }
  }

  #catchUp(): void {
    this.#time.after(CATCH_UP_MS, `${this.name}catches up`, () => {
      if (this.#state !== 'runs') return
      this.#waiting.shift()?.()
      if (this.#waiting.length > 0) this.#catchUp()
    })
  }
}
