/**
 * RingSignal: wakes a thread that sleeps until there is something in its rings. Doorbell: the same for a thread that must not sleep:
 * the main thread, or a disk thread whose event loop has work. Both lie over the same two words, so whoever rings need not know
 * which of them is listening.
 *
 * Owns        the sequence word (how often it was rung, modulo 2^32) and the waiting word (1 = the listener sleeps or is about to)
 * Thread      any may ring; one listens
 * Invariants  SG1 a ring after sequence() was read is never missed by wait(thatSequence, …): wait returns at once, or is woken
 *             SG2 the listener alone writes the waiting word. Would a ringer clear it ("one notify is enough"), a ringer that
 *                 comes late from the last sleep could clear the flag of the next one just before that sleep begins, and
 *                 the ring after that would wake nobody (the model test has this as a mutant)
 * Ordering    listener: waiting = 1, then the futex compares the sequence. Ringer: sequence + 1, then looks at waiting.
 *             In every order of these four, either the compare sees the new sequence or the ringer sees the flag.
 * Limits      the sequence may not come round between sequence() and wait(): 2^32 rings
 * Not here    what the rings contain; budgets per turn
 */
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'

// A signal: one line of 128 bytes, so that two signals in one memory do not share a cache line.
// | at | size | field
// |  0 |    4 | sequence, i32
// |  4 |    4 | waiting, i32
// |  8 |  120 | unused
const SEQUENCE_WORD = 0
const WAITING_WORD = SEQUENCE_WORD + 1
export const SIGNAL_BYTES = 128
const SIGNAL_WORDS = SIGNAL_BYTES >> 2

/** How often the spin looks at the sequence between two looks at the clock. */
const SPIN_LOOKS = 32

/** Memory for `count` signals or doorbells. */
export function createSignals(count = 1): SharedArrayBuffer {
  return new SharedArrayBuffer(count * SIGNAL_BYTES)
}

export interface RingSignalOptions {
  /** Which signal of the memory; default 0. */
  readonly index?: number
  /**
   * How long wait() looks at the sequence before it sleeps; default 0. Only where there are fewer threads than cores:
   * otherwise the spinning thread keeps the ringer itself from running.
   */
  readonly spinMicroseconds?: number
  /** Needed for spinMicroseconds. */
  readonly clock?: Clock
}

export class RingSignal {
  readonly #words: Int32Array
  readonly #spinMs: number
  readonly #clock: Clock | undefined
  /** How often wait() went to sleep. A gauge. */
  sleeps = 0

  constructor(memory: SharedArrayBuffer, options: RingSignalOptions = {}) {
    const { index = 0, spinMicroseconds = 0, clock } = options
    this.#words = signalWords(memory, index)
    assert(spinMicroseconds === 0 || clock !== undefined, 'a signal that spins needs a clock')
    this.#spinMs = spinMicroseconds / 1000
    this.#clock = clock
  }

  /** Wakes the listener, or keeps it from falling asleep. One add and one load when it is awake. */
  ring(): void {
    Atomics.add(this.#words, SEQUENCE_WORD, 1)
    if (Atomics.load(this.#words, WAITING_WORD) !== 0) Atomics.notify(this.#words, SEQUENCE_WORD)
  }

  /** The listener reads this before its last look at its rings, and gives it to wait(). */
  sequence(): number {
    return Atomics.load(this.#words, SEQUENCE_WORD)
  }

  /** Sleeps until the signal is rung, unless it was since `sequence` was read, or until `timeoutMs` (may be Infinity). */
  wait(sequence: number, timeoutMs: number): void {
    if (timeoutMs <= 0 || this.sequence() !== sequence) return
    if (this.#spinMs > 0 && this.#spin(sequence)) return
    Atomics.store(this.#words, WAITING_WORD, 1)
    // Compares under the futex's lock: this is the look again after the flag is up.
    Atomics.wait(this.#words, SEQUENCE_WORD, sequence, timeoutMs)
    Atomics.store(this.#words, WAITING_WORD, 0)
    this.sleeps++
  }

  #spin(sequence: number): boolean {
    const clock = this.#clock!
    const untilMs = clock.monotonicMs() + this.#spinMs
    do {
      for (let look = 0; look < SPIN_LOOKS; look++) if (this.sequence() !== sequence) return true
    } while (clock.monotonicMs() < untilMs)
    return false
  }
}

/**
 * The listening end on a thread with an event loop. Threads ring it with a RingSignal over the same memory.
 *
 *   const doorbell = new Doorbell(memory, () => {
 *     if (drainReplyRings() === 'more') setImmediate(again)     // budget spent: the caller comes back by itself …
 *     else doorbell.arm()                                       // … and arms only after it has seen its rings empty
 *   })
 *   doorbell.arm()
 *
 * A thread that sleeps in RingSignal.wait() at other times listens with both, never at once: disarm() before the next wait().
 * One onRing for each arm(). While it is not armed, ringing costs nobody a wake-up. It never keeps the event loop alive.
 */
export class Doorbell {
  readonly #words: Int32Array
  readonly #onRing: () => void
  readonly #wakeTask = (): void => this.#wake()
  /** The sequence before the rings were last looked at. */
  #seen: number
  #state: 'idle' | 'armed' | 'closed' = 'idle'
  /** How often onRing was called. A gauge. */
  rings = 0

  constructor(memory: SharedArrayBuffer, onRing: () => void, options: { readonly index?: number } = {}) {
    this.#words = signalWords(memory, options.index ?? 0)
    this.#onRing = onRing
    this.#seen = Atomics.load(this.#words, SEQUENCE_WORD)
  }

  /**
   * Asks for one onRing after the next ring, or soon (in a later turn of the loop) when it was rung since the last onRing began.
   * Without effect when armed or closed.
   */
  arm(): void {
    if (this.#state !== 'idle') return
    this.#state = 'armed'
    Atomics.store(this.#words, WAITING_WORD, 1)
    // No timeout: with one V8 keeps waiter and timer until it fires, however soon the ring comes.
    // Compares under the futex's lock: this is the look again after the flag is up.
    const outcome = Atomics.waitAsync(this.#words, SEQUENCE_WORD, this.#seen)
    if (outcome.async) void outcome.value.then(this.#wakeTask)
    // Not unref'd: the loop would sleep in epoll with an unref'd immediate in its queue. It holds the process for one turn.
    else setImmediate(this.#wakeTask)
  }

  /** Takes arm() back: the thread may sleep in RingSignal.wait() again. A wake-up that is on its way may still come after the next arm(). */
  disarm(): void {
    if (this.#state !== 'armed') return
    this.#state = 'idle'
    Atomics.store(this.#words, WAITING_WORD, 0)
    // Settles the promise of a waitAsync, so that V8 lets go of its waiter.
    Atomics.notify(this.#words, SEQUENCE_WORD)
  }

  /** No onRing after this. */
  close(): void {
    this.disarm()
    this.#state = 'closed'
  }

  #wake(): void {
    if (this.#state !== 'armed') return
    this.#state = 'idle'
    Atomics.store(this.#words, WAITING_WORD, 0)
    // Before the look: a ring from here on is found by arm().
    this.#seen = Atomics.load(this.#words, SEQUENCE_WORD)
    this.rings++
    this.#onRing()
  }
}

function signalWords(memory: SharedArrayBuffer, index: number): Int32Array {
  assert(
    Number.isInteger(index) && index >= 0 && (index + 1) * SIGNAL_BYTES <= memory.byteLength,
    `signal ${index} is not in a memory of ${memory.byteLength} bytes`,
  )
  return new Int32Array(memory, index * SIGNAL_BYTES, SIGNAL_WORDS)
}
