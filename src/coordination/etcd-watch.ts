/**
 * EtcdWatch: one prefix watched over any number of streams, one after the other.
 *
 * Owns        the stream in use, and the revision up to which everything was told
 * Invariants  EW1 a stream begins at the revision after the last one told, and nothing up to it is told again
 *             EW2 that revision grows by events and by etcd's progress notices only: never by the revision in the head of another
 *             answer, which may be ahead of the events that are still to come (etcd issue 15220)
 *             EW3 before a stream is opened the store's revision is read from a majority: when it is below what was told, the store
 *             is another one (a backup), and when it is beyond a compaction, events are lost: onResync
 * Ordering    read the revision -> open -> create -> events; lost: leave the member, pause, from the beginning
 * Limits      silent for SILENT_ATTEMPTS_MAX times attemptMsMax, although asked PINGS_PER_ATTEMPT times in each: the stream is given up
 * Failure     the first opening rejects with BROKER_NOT_AVAILABLE; later ones are tried again until close()
 */
import type { IWatchResponse } from 'etcd3'
import { MillraceError } from '../model/errors.ts'
import type { EtcdClient, EtcdWatchStream } from './etcd-client.ts'
import { faultOf } from './etcd-faults.ts'
import type { EtcdMembers } from './etcd-members.ts'
import { EtcdRevisions, isOwnKey, prefixRange, revisionOf } from './etcd-messages.ts'
import type { StoreEvent, StoreWatch } from './metadata-store.ts'
import type { StoreTimers } from './store-timers.ts'

const REOPEN_MS_MIN = 50
const REOPEN_MS_MAX = 2_000
const PINGS_PER_ATTEMPT = 2
const SILENT_ATTEMPTS_MAX = 2

export interface EtcdWatchOptions {
  readonly members: EtcdMembers
  readonly timers: StoreTimers
  readonly prefix: string
  readonly fromRevision: number
  readonly onEvents: (events: readonly StoreEvent[]) => void
  readonly onResync: () => void
}

/** A stream and what belongs to it: nothing of an earlier stream touches a later one. */
interface Session {
  readonly client: EtcdClient
  readonly stream: EtcdWatchStream
  readonly revisions: EtcdRevisions
  heardMs: number
  cancelPing: () => void
}

export class EtcdWatch implements StoreWatch {
  readonly #options: EtcdWatchOptions
  /** Everything up to it was told. */
  #toldRevision: number
  #session: Session | undefined
  #reopenMs = REOPEN_MS_MIN
  #cancelReopen: () => void = () => {}
  #isClosed = false
  /** Settles with the first opening. */
  #opened: { readonly resolve: () => void; readonly reject: (error: unknown) => void } | undefined

  constructor(options: EtcdWatchOptions) {
    this.#options = options
    this.#toldRevision = options.fromRevision
  }

  /** Resolves when etcd has taken the watch. */
  open(): Promise<void> {
    const { members, timers } = this.#options
    return new Promise((resolve, reject) => {
      const timer = timers.startTimer(members.requestTimeoutMs, () => this.#opened?.reject(members.unreachable()))
      const settle = (finish: () => void) => {
        this.#opened = undefined
        timer.cancel()
        finish()
      }
      this.#opened = {
        resolve: () => settle(resolve),
        reject: (error) => {
          settle(() => reject(error))
          this.end()
        },
      }
      void this.#connect()
    })
  }

  async close(): Promise<void> {
    this.end()
  }

  end(): void {
    this.#isClosed = true
    this.#cancelReopen()
    this.#drop()
    const opened = this.#opened
    this.#opened = undefined
    opened?.reject(new MillraceError('CLOSED', 'the watch is closed'))
  }

  async #connect(): Promise<void> {
    const { members, prefix } = this.#options
    try {
      await this.#checkHistory()
      if (this.#isClosed) return
      const client = members.current()
      const stream = await client.openWatch()
      if (this.#isClosed) {
        stream.on('error', () => {})
        stream.cancel()
        return
      }
      this.#begin(client, stream)
      const start = { start_revision: String(this.#toldRevision + 1) }
      stream.write({ create_request: { ...prefixRange(prefix), ...start, progress_notify: true, fragment: true } })
    } catch (error) {
      const isAnswered = error instanceof MillraceError && error.code !== 'BROKER_NOT_AVAILABLE'
      if (isAnswered || members.isClosed) this.#opened?.reject(error)
      this.#reopen()
    }
  }

  /** EW3. Also brings a token that has run out up to date: a stream cannot say that it has. */
  async #checkHistory(): Promise<void> {
    const { members, prefix } = this.#options
    const { header } = await members.run((client, timeoutMs) =>
      client.range({ ...prefixRange(prefix), limit: 1, keys_only: true }, timeoutMs),
    )
    const revision = revisionOf(header.revision)
    if (revision < this.#toldRevision && !this.#isClosed) this.#resyncFrom(revision)
  }

  #begin(client: EtcdClient, stream: EtcdWatchStream): void {
    const { members, timers } = this.#options
    const session: Session = {
      client,
      stream,
      revisions: new EtcdRevisions(),
      heardMs: members.nowMs(),
      cancelPing: () => {},
    }
    this.#session = session
    stream.on('data', (response) => {
      if (this.#session === session) this.#take(session, response)
    })
    stream.on('error', (error) => this.#lose(session, faultOf(error).reason))
    stream.on('end', () => this.#lose(session, 'the watch ended'))
    const everyMs = members.attemptMsMax / PINGS_PER_ATTEMPT
    const silentMsMax = members.attemptMsMax * SILENT_ATTEMPTS_MAX
    const ping = (): void => {
      if (this.#session !== session) return
      if (members.nowMs() - session.heardMs > silentMsMax) {
        this.#lose(session, 'timeout: no answer')
        return
      }
      stream.write({ progress_request: {} })
      session.cancelPing = timers.after(everyMs, ping)
    }
    session.cancelPing = timers.after(everyMs, ping)
  }

  #take(session: Session, response: IWatchResponse): void {
    session.heardMs = this.#options.members.nowMs()
    // The answer to a ping is for no watch, and its revision proves nothing (EW2).
    if (response.watch_id === '-1' && !response.canceled) return
    if (response.canceled) {
      void this.#cancelled(session, response)
      return
    }
    if (response.created) {
      this.#reopenMs = REOPEN_MS_MIN
      this.#opened?.resolve()
      return
    }
    if (response.events.length === 0 && !response.fragment) {
      this.#toldRevision = Math.max(this.#toldRevision, revisionOf(response.header.revision))
      return
    }
    for (const events of session.revisions.take(response)) this.#tell(events)
  }

  #tell(events: readonly StoreEvent[]): void {
    const { revision } = events[0]!
    if (this.#isClosed || revision <= this.#toldRevision) return
    this.#toldRevision = revision
    const shown = events.filter((event) => !isOwnKey(event.key))
    if (shown.length > 0) this.#options.onEvents(shown)
  }

  async #cancelled(session: Session, response: IWatchResponse): Promise<void> {
    if (response.compact_revision === '0') {
      this.#lose(session, response.cancel_reason === '' ? 'the watch was cancelled' : response.cancel_reason)
      return
    }
    this.#drop()
    const { members } = this.#options
    try {
      const { header } = await members.run((client, timeoutMs) =>
        client.range({ key: Buffer.of(0), limit: 1, keys_only: true }, timeoutMs),
      )
      if (this.#isClosed) return
      this.#resyncFrom(revisionOf(header.revision))
      void this.#connect()
    } catch {
      // From the old revision again: it is as compacted as it was, and leads here again.
      this.#reopen()
    }
  }

  /** A list that is begun from now on is as of `revision` or later. */
  #resyncFrom(revision: number): void {
    this.#toldRevision = revision
    this.#options.onResync()
  }

  #lose(session: Session, reason: string): void {
    if (this.#session !== session) return
    this.#options.members.leave(session.client, reason)
    this.#drop()
    this.#reopen()
  }

  #drop(): void {
    const session = this.#session
    this.#session = undefined
    session?.cancelPing()
    session?.stream.cancel()
  }

  #reopen(): void {
    if (this.#isClosed || this.#options.members.isClosed) return
    const delayMs = this.#reopenMs
    this.#reopenMs = Math.min(REOPEN_MS_MAX, this.#reopenMs * 2)
    this.#cancelReopen = this.#options.timers.after(delayMs, () => void this.#connect())
  }
}
