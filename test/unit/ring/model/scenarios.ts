/** The small programs that the explorer runs over the rewritten ring modules, and what must come out of them. */

import { createPagePool } from '../../../../src/ring/page-pool.ts'
import { createRing, HEAD_WORD, RING_DATA_AT, TAIL_WORD } from '../../../../src/ring/ring-layout.ts'
import { createSignals } from '../../../../src/ring/ring-signal.ts'
import type { FramePriority } from '../../../../src/ring/ring-writer.ts'
import type { Scenario, Steps } from './explorer.ts'
import { loadStepped, ModelLoop, type Mutant, type SteppedModule } from './stepped-source.ts'

interface SteppedWriter {
  claim(type: number, payloadBytes: number, priority: FramePriority): Steps<number>
  publish(): Steps
  readonly $head: number
}
interface SteppedReader {
  next(): Steps<boolean>
  release(): Steps<boolean>
  readonly type: number
  readonly at: number
  readonly length: number
  readonly $tail: number
}
interface SteppedSignal {
  ring(): Steps
  sequence(): Steps<number>
  wait(sequence: number, timeoutMs: number): Steps
}
interface SteppedDoorbell {
  arm(): Steps
}
interface SteppedPages {
  acquire(): Steps<number>
  retain(page: number): Steps
  release(page: number): Steps
  pagesInUse(): Steps<number>
}

const FOREVER = Number.POSITIVE_INFINITY
const DATA_WORD = RING_DATA_AT >> 2

function make<T>(module: SteppedModule, name: string, ...parameters: unknown[]): T {
  const type = module[name] as unknown as new (...given: unknown[]) => T
  return new type(...parameters)
}

export interface RingProgram {
  readonly capacityBytes: number
  readonly initialPosition: number
  /** Payload bytes of each frame, multiples of 4. */
  readonly frames: readonly number[]
  readonly priority: FramePriority
  /** Frames per publish. */
  readonly publishEvery: number
  /** Frames per release; whatever is held is also released before the reader waits. */
  readonly releaseEvery: number
  /** With signals both sides sleep and wake each other; without, they look at the other's position until it moves. */
  readonly withSignals: boolean
}

export function ringScenario(program: RingProgram, mutant?: Mutant): () => Scenario {
  const writers = loadStepped('ring-writer', mutant)
  const readers = loadStepped('ring-reader', mutant)
  const signals = loadStepped('ring-signal', mutant)
  return () => {
    const ring = createRing(program)
    const signalMemory = createSignals(2)
    const words = new Int32Array(ring)
    const writer = make<SteppedWriter>(writers, 'RingWriter', ring)
    const reader = make<SteppedReader>(readers, 'RingReader', ring)
    const toWriter = make<SteppedSignal>(signals, 'RingSignal', signalMemory, { index: 0 })
    const toReader = make<SteppedSignal>(signals, 'RingSignal', signalMemory, { index: 1 })
    const received: number[] = []
    return {
      memories: [ring, signalMemory],
      threads: {
        writer: () => writeFrames(program, { writer, words, own: toWriter, peer: toReader }),
        reader: () => readFrames(program, { reader, words, own: toReader, peer: toWriter, received }),
      },
      check: () => {
        if (received.join() !== program.frames.map((_, frame) => frame + 1).join())
          throw new Error(`received ${received.join()}`)
        if (words[HEAD_WORD] !== words[TAIL_WORD]) throw new Error('the ring is not empty at the end')
      },
    }
  }
}

interface Ends {
  readonly words: Int32Array
  readonly own: SteppedSignal
  readonly peer: SteppedSignal
}

function payloadWord(frame: number, word: number): number {
  return (frame + 1) * 1000 + word
}

function* writeFrames(program: RingProgram, ends: Ends & { readonly writer: SteppedWriter }): Steps {
  const { writer, words, own, peer } = ends
  for (const [frame, payloadBytes] of program.frames.entries()) {
    for (;;) {
      const sequence = program.withSignals ? yield* own.sequence() : 0
      const at = yield* writer.claim(frame + 1, payloadBytes, program.priority)
      if (at >= 0) {
        for (let word = 0; word < payloadBytes / 4; word++)
          yield { kind: 'write', words, index: DATA_WORD + at / 4 + word, value: payloadWord(frame, word) }
        break
      }
      yield* writer.publish()
      if (program.withSignals) {
        yield* peer.ring()
        yield* own.wait(sequence, FOREVER)
      } else yield { kind: 'until-not', words, index: HEAD_WORD, value: writer.$head }
    }
    if ((frame + 1) % program.publishEvery !== 0 && frame + 1 < program.frames.length) continue
    yield* writer.publish()
    if (program.withSignals) yield* peer.ring()
  }
}

function* readFrames(
  program: RingProgram,
  ends: Ends & { readonly reader: SteppedReader; readonly received: number[] },
): Steps {
  const { reader, words, own, peer, received } = ends
  function* release(): Steps {
    if ((yield* reader.release()) && program.withSignals) yield* peer.ring()
  }
  while (received.length < program.frames.length) {
    const sequence = program.withSignals ? yield* own.sequence() : 0
    if (yield* reader.next()) {
      const frame = received.length
      if (reader.type !== frame + 1 || reader.length !== program.frames[frame])
        throw new Error(`frame ${frame}: type ${reader.type}, ${reader.length} bytes`)
      for (let word = 0; word < reader.length / 4; word++) {
        const value = yield { kind: 'read', words, index: DATA_WORD + reader.at / 4 + word }
        if (value !== payloadWord(frame, word)) throw new Error(`frame ${frame}, word ${word}: ${value}`)
      }
      received.push(reader.type)
      if (received.length % program.releaseEvery === 0) yield* release()
      continue
    }
    yield* release()
    if (program.withSignals) yield* own.wait(sequence, FOREVER)
    else yield { kind: 'until-not', words, index: TAIL_WORD, value: reader.$tail }
  }
  yield* release()
}

export interface SignalProgram {
  readonly ringers: number
  /** How often each ringer puts something into its box and rings. */
  readonly rings: number
  readonly listener: 'signal' | 'signal-with-timeout' | 'doorbell'
}

/** Ringers count up a box each and ring; the listener must see every box at its end, whatever it slept through. */
export function signalScenario(program: SignalProgram, mutant?: Mutant): () => Scenario {
  const loop = new ModelLoop()
  const module = loadStepped('ring-signal', mutant, loop)
  return () => {
    loop.reset()
    const signalMemory = createSignals()
    const boxMemory = new SharedArrayBuffer(4 * program.ringers)
    const boxes = new Int32Array(boxMemory)
    function* ringer(box: number): Steps {
      const signal = make<SteppedSignal>(module, 'RingSignal', signalMemory)
      for (let ring = 1; ring <= program.rings; ring++) {
        yield { kind: 'store', words: boxes, index: box, value: ring }
        yield* signal.ring()
      }
    }
    function* sawAll(): Steps<boolean> {
      let isAll = true
      for (let box = 0; box < program.ringers; box++)
        if ((yield { kind: 'load', words: boxes, index: box }) !== program.rings) isAll = false
      return isAll
    }
    function* listenSleeping(): Steps {
      const signal = make<SteppedSignal>(module, 'RingSignal', signalMemory)
      let timeoutMs = program.listener === 'signal-with-timeout' ? 5 : FOREVER
      for (;;) {
        const sequence = yield* signal.sequence()
        if (yield* sawAll()) return
        yield* signal.wait(sequence, timeoutMs)
        timeoutMs = FOREVER
      }
    }
    function* listenOnLoop(): Steps {
      let isDone = false
      const doorbell: SteppedDoorbell = make(module, 'Doorbell', signalMemory, function* (): Steps {
        if (yield* sawAll()) isDone = true
        else yield* doorbell.arm()
      })
      yield* doorbell.arm()
      while (!isDone) yield* loop.turn()
    }
    const threads: Record<string, () => Steps> = {
      listener: program.listener === 'doorbell' ? listenOnLoop : listenSleeping,
    }
    for (let box = 0; box < program.ringers; box++) threads[`ringer ${box}`] = () => ringer(box)
    return { memories: [signalMemory, boxMemory], threads }
  }
}

export interface PageProgram {
  readonly pageCount: number
  /** The pages each user is lent, in order; the owner lends them all, drops its own references and takes every page again. */
  readonly loans: readonly (readonly number[])[]
}

export function pageScenario(program: PageProgram, mutant?: Mutant): () => Scenario {
  const module = loadStepped('page-pool', mutant)
  return () => {
    const pool = createPagePool({ pageBytes: 8, pageCount: program.pageCount })
    const boxMemory = new SharedArrayBuffer(4)
    const box = new Int32Array(boxMemory)
    const returnedWords = new Int32Array(pool)
    const pageWords = new Int32Array(pool, pool.byteLength - 8 * program.pageCount)
    const owner = make<SteppedPages>(module, 'PageOwner', pool)
    const held = new Set<number>()
    function* take(mark: number): Steps {
      let page = yield* owner.acquire()
      while (page < 0) {
        yield { kind: 'until-not', words: returnedWords, index: 32, value: -1 }
        page = yield* owner.acquire()
      }
      if (held.has(page)) throw new Error(`page ${page} is handed out twice`)
      held.add(page)
      yield { kind: 'write', words: pageWords, index: page * 2, value: mark + page }
    }
    function* own(): Steps {
      for (let page = 0; page < program.pageCount; page++) yield* take(100)
      for (const loans of program.loans) for (const page of loans) yield* owner.retain(page)
      yield { kind: 'store', words: box, index: 0, value: 1 }
      for (let page = 0; page < program.pageCount; page++) yield* owner.release(page)
      held.clear()
      for (let page = 0; page < program.pageCount; page++) yield* take(200)
      for (let page = 0; page < program.pageCount; page++) yield* owner.release(page)
      if ((yield* owner.pagesInUse()) !== 0) throw new Error('pages are in use at the end')
    }
    function* use(loans: readonly number[]): Steps {
      const user = make<SteppedPages>(module, 'PageUser', pool)
      yield { kind: 'until-not', words: box, index: 0, value: 0 }
      for (const page of loans) {
        const mark = yield { kind: 'read', words: pageWords, index: page * 2 }
        if (mark !== 100 + page) throw new Error(`page ${page} was overwritten while lent: ${mark}`)
        yield* user.release(page)
      }
    }
    const threads: Record<string, () => Steps> = { owner: own }
    for (const [index, loans] of program.loans.entries()) threads[`user ${index}`] = () => use(loans)
    return { memories: [pool, boxMemory], threads }
  }
}
