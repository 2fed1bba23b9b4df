/**
 * Clients that run beside each other: each with a connection of its own, and with a thread of its own when there are several.
 * All are connected before any begins; the seconds of the whole run from the start of the first to the end of the last.
 *
 * Owns     the threads: they end with the run, whatever ends it
 * Failure  the first failure of a client ends the run and is thrown, a MillraceError with its code
 */
import { once } from 'node:events'
import { type MessagePort, Worker } from 'node:worker_threads'
import { type Client, connect } from '../../client/index.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../model/errors.ts'
import { type Measured, mergeMeasured } from './bench-result.ts'
import { type ConsumeOptions, runConsume } from './consume-workload.ts'
import { type ProduceOptions, runProduce } from './produce-workload.ts'

/** What one client is to do; crosses threads, so its options hold data alone. */
export type ClientJob =
  | { readonly kind: 'produce'; readonly options: ProduceOptions }
  | { readonly kind: 'consume'; readonly options: ConsumeOptions }

export interface ClientThreadData {
  readonly url: string
  readonly token: string | undefined
  readonly job: ClientJob
}

export type ClientThreadMessage =
  | { readonly event: 'connected' }
  | { readonly event: 'done'; readonly measured: Measured }
  | { readonly event: 'failed'; readonly code: ErrorCode | undefined; readonly text: string }

const THREAD = new URL('../../../workers/bench-client.js', import.meta.url)

export function runJob(client: Client, job: ClientJob, signal?: AbortSignal): Promise<Measured> {
  const stop = signal === undefined ? {} : { signal }
  if (job.kind === 'produce') return runProduce(client, { ...job.options, ...stop })
  return runConsume(client, { ...job.options, ...stop })
}

export interface RunJobsOptions {
  /** Runs the job when there is one alone. */
  readonly client: Client
  /** Where the threads connect to. */
  readonly url: string
  readonly token?: string | undefined
  readonly signal?: AbortSignal
}

export async function runJobs(jobs: readonly ClientJob[], options: RunJobsOptions): Promise<Measured> {
  const { client, url, token, signal } = options
  signal?.throwIfAborted()
  if (jobs.length === 1) return runJob(client, jobs[0]!, signal)
  const threads = jobs.map((job) => new ClientThread({ url, token, job }))
  const stop = (): void => {
    for (const thread of threads) thread.fail(new Error('interrupted'))
  }
  signal?.addEventListener('abort', stop, { once: true })
  try {
    await Promise.all(threads.map((thread) => thread.connected))
    const startedMs = performance.now()
    for (const thread of threads) thread.start()
    const parts = await Promise.all(threads.map((thread) => thread.measured))
    return mergeMeasured(parts, (performance.now() - startedMs) / 1000)
  } finally {
    signal?.removeEventListener('abort', stop)
    await Promise.all(threads.map((thread) => thread.terminate()))
  }
}

class ClientThread {
  readonly #worker: Worker
  readonly connected: Promise<void>
  readonly measured: Promise<Measured>
  #fail: (error: Error) => void = () => {}

  constructor(data: ClientThreadData) {
    this.#worker = new Worker(THREAD, { workerData: data })
    const failed = new Promise<never>((_, reject) => {
      this.#fail = reject
    })
    this.#worker.on('error', (error) => this.#fail(error))
    this.#worker.on('exit', (code) => this.#fail(new Error(`a client's thread ended with ${code}`)))
    const [connected, done] = [withResolver<void>(), withResolver<Measured>()]
    this.#worker.on('message', (message: ClientThreadMessage) => {
      if (message.event === 'connected') connected.resolve()
      else if (message.event === 'done') done.resolve(message.measured)
      else this.#fail(errorOf(message))
    })
    this.connected = Promise.race([connected.promise, failed])
    this.measured = Promise.race([done.promise, failed])
    for (const promise of [this.connected, this.measured]) promise.catch(() => {}) // runJobs() awaits them in turn
  }

  start(): void {
    this.#worker.postMessage('start')
  }

  fail(error: Error): void {
    this.#fail(error)
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate()
  }
}

function withResolver<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

function errorOf({ code, text }: Extract<ClientThreadMessage, { event: 'failed' }>): Error {
  return code === undefined ? new Error(text) : new MillraceError(code, text)
}

/** A thread's whole life: connects, waits for the start, does its job, tells. */
export async function runClientThread(data: ClientThreadData, port: MessagePort): Promise<void> {
  const tell = (message: ClientThreadMessage): void => port.postMessage(message)
  try {
    const token = data.token === undefined ? {} : { token: data.token }
    const client = await connect(data.url, { clientName: 'millrace-bench', ...token })
    const started = once(port, 'message')
    tell({ event: 'connected' })
    await started
    const measured = await runJob(client, data.job)
    await client.close()
    tell({ event: 'done', measured })
  } catch (error) {
    const code = isMillraceError(error) ? error.code : undefined
    tell({ event: 'failed', code, text: error instanceof Error ? error.message : String(error) })
  }
}
