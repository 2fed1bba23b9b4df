/**
 * Explorer: runs a program of a few threads over shared memory in every interleaving of its atomic steps.
 *
 * A thread is a generator that yields one Op for each step on shared memory and is resumed with its value. Executions are
 * replayed from the start (stateless search); a state already seen is not continued. A state is the memory, what every thread
 * has read so far (which fixes its program counter and its private variables), who sleeps, and the happens-before clocks.
 *
 * Steps are sequentially consistent. That is enough, because data races are looked for too: by vector clocks, a plain access
 * must be ordered by atomics against every conflicting access of another thread. A program without races behaves sequentially
 * consistently under the memory model of ECMAScript (DRF-SC), so no weaker execution exists that was not seen here. For the
 * same reason plain accesses are no places to switch threads at: a race is found wherever they stand.
 */

export type Op =
  | { readonly kind: 'load' | 'read'; readonly words: Int32Array; readonly index: number }
  | { readonly kind: 'store' | 'write'; readonly words: Int32Array; readonly index: number; readonly value: number }
  | {
      readonly kind: 'update'
      readonly words: Int32Array
      readonly index: number
      readonly update: (before: number) => number
      /** The thread does not look at the value before. */
      readonly isBlind?: boolean
    }
  | {
      readonly kind: 'wait'
      readonly words: Int32Array
      readonly index: number
      readonly value: number
      readonly hasTimeout: boolean
    }
  | { readonly kind: 'notify'; readonly words: Int32Array; readonly index: number }
  /** Enabled while the word differs from the value: stands for a loop that looks again and again. An atomic load. */
  | { readonly kind: 'until-not'; readonly words: Int32Array; readonly index: number; readonly value: number }
  /** Atomics.waitAsync: answers 1 when it waits, 0 when the value differs; `task` runs once notified. */
  | {
      readonly kind: 'wait-async'
      readonly words: Int32Array
      readonly index: number
      readonly value: number
      readonly task: () => void
    }
  /** Enabled once the thread's event loop has a task. */
  | { readonly kind: 'next-task'; readonly hasTask: () => boolean }

export type Steps<T = void> = Generator<Op, T, number>

export interface Scenario {
  readonly memories: readonly SharedArrayBuffer[]
  readonly threads: Readonly<Record<string, () => Steps>>
  /** After every thread has ended; throws when the outcome is wrong. */
  readonly check?: () => void
}

export interface Exploration {
  readonly states: number
  readonly executions: number
  /** The first failure: reason, then the steps that led to it. */
  readonly failure: string | undefined
}

const TIMED_OUT = 2
const STEPS_MAX = 2000

class ModelThread {
  readonly name: string
  readonly #steps: Steps
  pending: Op | undefined
  /** The key of the word it sleeps on. */
  asleepOn: string | undefined
  /** Woken, and by whose clock. */
  wokenBy: number[] | undefined
  /** Identity of the sequence of values read so far. */
  history = 0
  steps = 0
  readonly clock: number[]

  constructor(name: string, steps: Steps, threadCount: number) {
    this.name = name
    this.#steps = steps
    this.clock = new Array(threadCount).fill(0)
  }

  resume(value: number): void {
    const result = this.#steps.next(value)
    this.pending = result.done ? undefined : result.value
  }
}

/** Per word: who read and wrote it when, plainly or atomically; and what its last atomic store releases. */
interface WordClocks {
  readonly plainReads: number[]
  readonly plainWrites: number[]
  readonly atomicReads: number[]
  readonly atomicWrites: number[]
  released: number[]
}

class Execution {
  readonly threads: ModelThread[]
  readonly #scenario: Scenario
  readonly #words = new Map<string, WordClocks>()
  readonly #asyncWaiters: { readonly key: string; readonly task: () => void }[] = []
  readonly #interned: Map<string, number>
  readonly trace: string[] = []

  constructor(scenario: Scenario, interned: Map<string, number>) {
    this.#scenario = scenario
    this.#interned = interned
    const programs = Object.entries(scenario.threads)
    this.threads = programs.map(([name, program]) => new ModelThread(name, program(), programs.length))
    for (const thread of this.threads) thread.resume(0)
  }

  enabled(): number[] {
    const enabled: number[] = []
    for (const [index, thread] of this.threads.entries()) {
      const op = thread.pending
      if (op === undefined) continue
      if (thread.asleepOn !== undefined) {
        if (thread.wokenBy !== undefined || (op.kind === 'wait' && op.hasTimeout)) enabled.push(index)
      } else if (op.kind === 'until-not') {
        if (op.words[op.index] !== op.value) enabled.push(index)
      } else if (op.kind !== 'next-task' || op.hasTask()) enabled.push(index)
    }
    return enabled
  }

  isOver(): boolean {
    return this.threads.every((thread) => thread.pending === undefined)
  }

  /** One step, and the plain accesses behind it: without a race it makes no difference when others run between those. */
  step(threadIndex: number): void {
    const thread = this.threads[threadIndex]!
    do this.#stepOnce(threadIndex, thread)
    while (thread.pending !== undefined && (thread.pending.kind === 'read' || thread.pending.kind === 'write'))
  }

  #stepOnce(threadIndex: number, thread: ModelThread): void {
    const op = thread.pending!
    thread.steps++
    thread.clock[threadIndex]!++
    const value = this.#perform(threadIndex, thread, op)
    const at = 'words' in op ? `[${op.index + op.words.byteOffset / 4}]` : ''
    this.trace.push(`${thread.name}: ${op.kind}${at} -> ${value ?? 'sleeps'}`)
    if (value === undefined) return
    thread.history = this.#intern(`${thread.history}:${value}`)
    thread.resume(value)
  }

  key(): string {
    let key = ''
    for (const memory of this.#scenario.memories) key += Buffer.from(memory).toString('latin1')
    for (const thread of this.threads)
      key += `|${thread.history} ${thread.steps} ${thread.asleepOn ?? ''} ${thread.wokenBy ?? ''} ${thread.clock}`
    for (const [word, clocks] of this.#words) if (clocks.released.length > 0) key += `|${word}=${clocks.released}`
    for (const waiter of this.#asyncWaiters) key += `|${waiter.key}`
    return key
  }

  #perform(threadIndex: number, thread: ModelThread, op: Op): number | undefined {
    if (op.kind === 'next-task') return 0
    const { words, index } = op
    const key = this.#keyOf(words, index)
    if (op.kind === 'notify') return this.#notify(thread, key)
    if (thread.asleepOn !== undefined) {
      const value = thread.wokenBy === undefined ? TIMED_OUT : 0
      if (thread.wokenBy !== undefined) join(thread.clock, thread.wokenBy)
      thread.asleepOn = undefined
      thread.wokenBy = undefined
      return value
    }
    const clocks = this.#clocksOf(key)
    const before = words[index]!
    const isPlain = op.kind === 'read' || op.kind === 'write'
    const isWrite = op.kind === 'write' || op.kind === 'store' || op.kind === 'update'
    this.#checkRace(threadIndex, clocks, { isPlain, isWrite, key })
    if (!isPlain && op.kind !== 'store') join(thread.clock, clocks.released)
    const own = thread.clock[threadIndex]!
    if (isPlain) (isWrite ? clocks.plainWrites : clocks.plainReads)[threadIndex] = own
    else (isWrite ? clocks.atomicWrites : clocks.atomicReads)[threadIndex] = own
    if (op.kind === 'write' || op.kind === 'store') words[index] = op.value
    if (op.kind === 'update') words[index] = op.update(before)
    if (isWrite && !isPlain) clocks.released = [...thread.clock]
    if (op.kind === 'wait') {
      if (before !== op.value) return 1
      thread.asleepOn = key
      return undefined
    }
    if (op.kind === 'wait-async') {
      if (before !== op.value) return 0
      this.#asyncWaiters.push({ key, task: op.task })
      return 1
    }
    return op.kind === 'write' || op.kind === 'store' || (op.kind === 'update' && op.isBlind) ? 0 : before
  }

  #notify(thread: ModelThread, key: string): number {
    for (const other of this.threads) {
      if (other.asleepOn !== key || other.wokenBy !== undefined) continue
      other.wokenBy = [...thread.clock]
    }
    for (let at = this.#asyncWaiters.length - 1; at >= 0; at--) {
      if (this.#asyncWaiters[at]!.key !== key) continue
      const [waiter] = this.#asyncWaiters.splice(at, 1)
      waiter!.task()
    }
    return 0
  }

  #checkRace(
    threadIndex: number,
    clocks: WordClocks,
    access: { readonly isPlain: boolean; readonly isWrite: boolean; readonly key: string },
  ): void {
    const { clock } = this.threads[threadIndex]!
    const against: number[][] = [clocks.plainWrites]
    if (access.isWrite) against.push(clocks.plainReads)
    if (access.isPlain) against.push(clocks.atomicWrites)
    if (access.isPlain && access.isWrite) against.push(clocks.atomicReads)
    for (const times of against)
      for (const [other, time] of times.entries())
        if (other !== threadIndex && time !== undefined && time > clock[other]!)
          throw new Error(
            `data race on word ${access.key}: ${this.threads[threadIndex]!.name} against ${this.threads[other]!.name}`,
          )
  }

  #keyOf(words: Int32Array, index: number): string {
    const memory = this.#scenario.memories.indexOf(words.buffer as SharedArrayBuffer)
    if (memory < 0 || index < 0 || index >= words.length) throw new Error(`word ${index} is not in the model's memory`)
    return `${memory}.${index + words.byteOffset / 4}`
  }

  #clocksOf(key: string): WordClocks {
    let clocks = this.#words.get(key)
    if (clocks === undefined) {
      clocks = { plainReads: [], plainWrites: [], atomicReads: [], atomicWrites: [], released: [] }
      this.#words.set(key, clocks)
    }
    return clocks
  }

  #intern(key: string): number {
    let id = this.#interned.get(key)
    if (id === undefined) this.#interned.set(key, (id = this.#interned.size + 1))
    return id
  }
}

function join(into: number[], from: readonly number[]): void {
  for (let at = 0; at < from.length; at++) into[at] = Math.max(into[at]!, from[at]!)
}

interface Branch {
  readonly enabled: readonly number[]
  taken: number
}

/** Every interleaving of the scenario, up to `statesMax` states (reaching that is an error: a search that stops early proves nothing). */
export function explore(makeScenario: () => Scenario, options: { readonly statesMax?: number } = {}): Exploration {
  const { statesMax = 400_000 } = options
  const seen = new Set<string>()
  const interned = new Map<string, number>()
  const path: Branch[] = []
  let executions = 0
  for (;;) {
    const scenario = makeScenario()
    const execution = new Execution(scenario, interned)
    executions++
    try {
      for (const branch of path) execution.step(branch.enabled[branch.taken]!)
      runOn(execution, { path, seen, statesMax })
      if (execution.isOver()) scenario.check?.()
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (reason.startsWith('the model')) throw error
      return { states: seen.size, executions, failure: `${reason}\n  ${execution.trace.join('\n  ')}` }
    }
    while (path.length > 0 && path.at(-1)!.taken === path.at(-1)!.enabled.length - 1) path.pop()
    if (path.length === 0) return { states: seen.size, executions, failure: undefined }
    path.at(-1)!.taken++
  }
}

/** Continues an execution to its end or to a state already seen, noting the choices on the way. */
function runOn(
  execution: Execution,
  search: { readonly path: Branch[]; readonly seen: Set<string>; readonly statesMax: number },
): void {
  const { path, seen, statesMax } = search
  for (;;) {
    const key = execution.key()
    if (seen.has(key)) return
    seen.add(key)
    if (seen.size > statesMax) throw new Error(`the model has more than ${statesMax} states: make the program smaller`)
    if (execution.isOver()) return
    const enabled = execution.enabled()
    if (enabled.length === 0) throw new Error('everybody sleeps: a wake-up was lost')
    if (path.length >= STEPS_MAX) throw new Error('the program does not end: livelock')
    path.push({ enabled, taken: 0 })
    execution.step(enabled[0]!)
  }
}
