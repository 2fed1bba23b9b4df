/**
 * ThreadKeepAlive: a SessionExtender in a thread of its own (workers/keep-alive.ts), told by messages. One a client, started with
 * the first member that joins, ended with the client; it does not keep the process alive.
 *
 * Why messages suffice  a blocked event loop sends none; each names a time ahead, and past that the thread stops by itself
 * Failure  a thread that cannot be started (its file is not beside the package, as in an application's own bundle) or that ends is done
 *          without: then a handler must leave the event loop free within the session timeout
 */
import { Worker } from 'node:worker_threads'
import type { KeepAlive, KeepAliveTarget, KeptMember } from './group/keep-alive.ts'

/** What the thread is told. */
export type KeepAliveMessage =
  | { readonly kind: 'heard'; readonly member: KeptMember }
  | { readonly kind: 'forget'; readonly groupId: string; readonly memberId: string }

/** From dist/src/client, or from dist/bundle: both lie beside dist/workers. */
const FOLDER = /\/src\/client\/[^/]*$/.test(import.meta.url) ? '../../workers/' : '../workers/'

export class ThreadKeepAlive implements KeepAlive {
  readonly #target: KeepAliveTarget
  #worker: Worker | undefined
  #isEnded = false

  constructor(target: KeepAliveTarget) {
    this.#target = target
  }

  heard(member: KeptMember): void {
    this.#start()?.postMessage({ kind: 'heard', member } satisfies KeepAliveMessage)
  }

  forget(groupId: string, memberId: string): void {
    this.#worker?.postMessage({ kind: 'forget', groupId, memberId } satisfies KeepAliveMessage)
  }

  #start(): Worker | undefined {
    if (this.#worker !== undefined || this.#isEnded) return this.#worker
    try {
      const entry = new URL(`${FOLDER}keep-alive.js`, import.meta.url)
      this.#worker = new Worker(entry, { workerData: this.#target, execArgv: [] })
      this.#worker.unref()
      this.#worker.on('error', () => this.#ended())
      this.#worker.on('exit', () => this.#ended())
    } catch {
      this.#ended()
    }
    return this.#worker
  }

  #ended(): void {
    this.#isEnded = true
    this.#worker = undefined
  }

  close(): void {
    void this.#worker?.terminate()
    this.#ended()
  }
}
