/**
 * `millrace/testing`: a broker in memory whose time stands still until a test moves it, and which can crash and come back.
 *
 *   await using broker = await createTestBroker()
 *   const mq = broker.client()
 *   …                                   // calls end by themselves, as long as they wait for nothing but the broker
 *   await broker.advance(500)           // long polls, lingering batches, fsync intervals, retention: all that waits for a time
 *   broker.crash()                      // power cut: what was not synced is gone
 *   await broker.restart()              // recovery
 *   await broker.run(reading)           // moves the time as far as `reading` needs: clients back off before they connect again
 *
 * Determinism  clock, chance and order are the test's: the same calls and the same seed give the same offsets, times and losses
 * Limits       SETTLE_TURNS_MAX: clients and broker that talk without end while the time stands are told as an error
 */
import { SeededPrng } from '../base/prng.ts'
import { throwIfAborted } from '../client/abort.ts'
import type { Client } from '../client/client.ts'
import type { ClientOptions } from '../client/client-options.ts'
import { MillraceError } from '../model/errors.ts'
import type { Logger } from '../telemetry/logger.ts'
import { type InProcessConfig, inProcessConfig } from './in-process-config.ts'
import { InThreadBroker } from './in-thread-broker.ts'
import { LocalClients } from './local-clients.ts'
import { MemoryDisk } from './local-storage.ts'
import { SILENT } from './silent-logger.ts'
import { TestClock } from './test-clock.ts'

export interface CreateTestBrokerOptions {
  /** Default 1. */
  readonly shards?: number
  /** As for createBroker(). */
  readonly config?: InProcessConfig
  /** Wall time at the beginning, ms since the epoch. Default 2026-01-01T00:00:00Z. */
  readonly startMs?: number
  /** Of all chance: what a crash leaves, jitter, ids. Default 1. */
  readonly seed?: number
  /** Bytes its disk may hold. Default 1 GiB. */
  readonly memoryBytesMax?: number
  readonly logger?: Logger
}

export interface CrashOptions {
  /** `power`: what was not synced may be lost, in part or in whole. `kill`: the process alone dies, what it wrote is there. Default `power`. */
  readonly kind?: 'power' | 'kill'
}

const START_MS = Date.UTC(2026, 0, 1)
const SETTLE_TURNS_MAX = 100_000
/** A step when something is waited for that needs time, and no timer says how much. */
const RUN_MS = 10
const RUN_STEPS_MAX = 100_000

/** Starts a broker with a clock of its own; resolves when it serves. */
export async function createTestBroker(options: CreateTestBrokerOptions = {}): Promise<TestBroker> {
  const { shards = 1, startMs = START_MS, seed = 1, memoryBytesMax, logger = SILENT } = options
  const config = await inProcessConfig(options.config)
  const clock = new TestClock(startMs)
  const prng = new SeededPrng(seed)
  const disk = new MemoryDisk({ nowMs: () => clock.nowMs(), memoryBytesMax })
  const newId = () => Array.from({ length: 4 }, () => prng.uint32().toString(16).padStart(8, '0')).join('')
  const storage = async () => disk.storage()
  const machine = new InThreadBroker({ config, shards, time: clock, prng, logger, newId, storage })
  await machine.start()
  const [token] = config.auth.tokens
  const clients = new LocalClients({ time: clock, prng, engine: machine.engine, token })
  return new TestBroker({ machine, clock, disk, prng, clients })
}

interface TestBrokerParts {
  readonly machine: InThreadBroker
  readonly clock: TestClock
  readonly disk: MemoryDisk
  readonly prng: SeededPrng
  readonly clients: LocalClients
}

export class TestBroker {
  readonly #parts: TestBrokerParts
  #closing: Promise<void> | undefined

  /** Made by createTestBroker(). */
  constructor(parts: TestBrokerParts) {
    this.#parts = parts
  }

  /** A client of this broker, on its clock. Survives crash() and restart(). */
  client(options: ClientOptions = {}): Client {
    this.#checkOpen()
    return this.#parts.clients.create(options)
  }

  /** Wall time now, ms since the epoch: the clock of broker and clients. */
  nowMs(): number {
    return this.#parts.clock.nowMs()
  }

  /** Moves the time by `ms`, one timer after the other; resolves when all that follows is done. */
  async advance(ms: number): Promise<void> {
    this.#checkOpen()
    if (!(ms >= 0 && ms <= Number.MAX_SAFE_INTEGER))
      throw new MillraceError('INVALID_ARGUMENT', `advance: expected milliseconds, 0 or more, not ${ms}`)
    await this.#parts.clock.advance(ms, this.#settle)
  }

  /**
   * Moves the time, from timer to timer, until `work` has ended, and answers what it did: for calls that have to wait for something,
   * such as a backoff after a restart, when it does not matter how long. The signal gives that up: ABORTED, and `work` goes on.
   */
  async run<T>(work: Promise<T>, options: { readonly signal?: AbortSignal } = {}): Promise<T> {
    const { clock } = this.#parts
    let isDone = false
    const done = work.finally(() => {
      isDone = true
    })
    done.catch(() => {})
    await this.#settle()
    for (let steps = 0; !isDone; steps++) {
      if (steps > RUN_STEPS_MAX) throw new Error(`not done after ${RUN_STEPS_MAX} timers: it waits for something else`)
      throwIfAborted(options.signal)
      await clock.advance(clock.nextInMs ?? RUN_MS, this.#settle)
    }
    return done
  }

  /** Resolves when broker and clients wait for nothing but time or the caller. */
  settle(): Promise<void> {
    return this.#settle()
  }

  /** The broker dies now, within whatever it was doing. Clients see broken connections. */
  crash(options: CrashOptions = {}): void {
    this.#checkOpen()
    const { machine, disk, prng } = this.#parts
    if (!machine.isRunning) throw new MillraceError('INVALID_ARGUMENT', 'the broker has crashed already: restart() it')
    machine.die()
    disk.crash(options.kind ?? 'power', prng)
  }

  /** Starts it again on what its disk holds: after a crash, or else after an orderly stop. */
  async restart(): Promise<void> {
    this.#checkOpen()
    const { machine } = this.#parts
    if (machine.isRunning) await this.run(machine.stop())
    await this.run(machine.start())
  }

  /** Breaks every connection, both ends; clients connect again when their backoff has passed. */
  cutConnections(): void {
    this.#checkOpen()
    this.#parts.machine.engine.cutConnections()
  }

  /** Closes its clients and stops; moves the time where that needs some. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    const { machine, clients } = this.#parts
    const stop = async () => {
      if (machine.isRunning) await machine.stop()
    }
    try {
      await this.run(clients.closeBefore(stop))
    } finally {
      machine.loop.close()
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MillraceError('CLOSED', 'the broker is closed')
  }

  readonly #settle = async (): Promise<void> => {
    const { loop } = this.#parts.machine
    // A turn of the real event loop lets all promise callbacks run; what they began is seen in the next.
    for (let turns = 0, idle = 0; idle < 2; turns++) {
      if (turns > SETTLE_TURNS_MAX)
        throw new Error(`no rest after ${SETTLE_TURNS_MAX} turns: something sends or polls without end`)
      await new Promise((resolve) => setImmediate(resolve))
      idle = loop.isIdle ? idle + 1 : 0
    }
  }
}
