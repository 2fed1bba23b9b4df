/**
 * FakeEtcd: what the store sees of etcd, without a network: ranges, transactions, leases that never expire, watch streams that a test
 * speaks on. What becomes of each call, a test says by `fate`; calls take no time unless they get lost.
 */
import type {
  ICompare,
  IKeyValue,
  ILeaseGrantResponse,
  IRangeRequest,
  IRangeResponse,
  IRequestOp,
  IResponseHeader,
  IResponseOp,
  ITxnRequest,
  ITxnResponse,
  IWatchRequest,
  IWatchResponse,
} from 'etcd3'
import type { EtcdClient, EtcdClientFactory, EtcdWatchStream } from '../../src/coordination/etcd-client.ts'
import type { StoreTimers } from '../../src/coordination/store-timers.ts'

/**
 * done: and answered. refused: never sent. lost: on its way there. unanswered: done, and the reply is lost.
 * late: done, if its conditions hold, when arrive() is called.
 */
export type Fate = 'done' | 'refused' | 'lost' | 'unanswered' | 'late'

interface Stored {
  readonly value: Buffer
  readonly modRevision: number
  readonly version: number
}

export class FakeEtcd {
  readonly values = new Map<string, Stored>()
  readonly streams: FakeWatchStream[] = []
  readonly leases = new Set<string>()
  readonly #timers: StoreTimers
  readonly #late: (() => void)[] = []
  revision = 1
  /** Of the next call; `what` is the method, `url` the member. */
  fate: (what: string, url: string) => Fate = () => 'done'
  calls = 0

  constructor(timers: StoreTimers) {
    this.#timers = timers
  }

  readonly createClient: EtcdClientFactory = (url) => new FakeEtcdClient(this, url)

  get stream(): FakeWatchStream {
    return this.streams.at(-1)!
  }

  arrive(): void {
    for (const apply of this.#late.splice(0)) apply()
  }

  call<T>(what: string, url: string, timeoutMs: number, work: () => T): Promise<T> {
    this.calls++
    const fate = this.fate(what, url)
    if (fate === 'refused')
      return Promise.reject(
        new Error('14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED x'),
      )
    if (fate === 'done') return Promise.resolve().then(work)
    if (fate === 'unanswered') work()
    if (fate === 'late') this.#late.push(work)
    return new Promise((_, reject) =>
      this.#timers.startTimer(timeoutMs, () => reject(new Error('4 DEADLINE_EXCEEDED: Deadline exceeded'))),
    )
  }

  header(): IResponseHeader {
    return { cluster_id: '1', member_id: '1', revision: String(this.revision), raft_term: '1' }
  }

  range({ key, range_end, limit, revision }: IRangeRequest): IRangeResponse {
    if (Number(revision ?? 0) > this.revision)
      throw new Error('etcdserver: mvcc: required revision is a future revision')
    const from = key!.toString()
    const to = range_end?.toString()
    const inRange = (at: string): boolean => (to === undefined ? at === from : at >= from && (to === '\0' || at < to))
    const keys = [...this.values.keys()].filter(inRange).sort()
    const page = keys.slice(0, Number(limit ?? 0) === 0 ? undefined : Number(limit))
    return {
      header: this.header(),
      kvs: page.map((at) => this.#keyValue(at)),
      more: page.length < keys.length,
      count: String(keys.length),
    }
  }

  transact({ compare = [], success = [], failure = [] }: ITxnRequest): ITxnResponse {
    const succeeded = compare.every((each) => this.#holds(each))
    const operations = succeeded ? success : failure
    const lost = operations.find((each) => {
      const lease = each.request_put?.lease
      return lease !== undefined && !this.leases.has(String(lease))
    })
    if (lost !== undefined) throw new Error('5 NOT_FOUND: etcdserver: requested lease not found')
    if (operations.some((each) => each.request_range === undefined)) this.revision++
    return { succeeded, responses: operations.map((each) => this.#apply(each)), header: this.header() }
  }

  #apply({ request_put, request_delete_range, request_range }: IRequestOp): IResponseOp {
    if (request_put !== undefined) {
      const key = request_put.key!.toString()
      const version = (this.values.get(key)?.version ?? 0) + 1
      this.values.set(key, { value: request_put.value!, modRevision: this.revision, version })
    }
    if (request_delete_range !== undefined) this.values.delete(request_delete_range.key!.toString())
    const answer = request_range === undefined ? {} : { response_range: this.range(request_range) }
    return answer as IResponseOp
  }

  #holds({ key, target, result, version, mod_revision }: ICompare): boolean {
    const stored = this.values.get(key!.toString())
    if (target === 'Mod') return (stored?.modRevision ?? 0) === Number(mod_revision)
    const now = stored?.version ?? 0
    return result === 'Greater' ? now > Number(version) : now === Number(version)
  }

  #keyValue(key: string): IKeyValue {
    const { value, modRevision, version } = this.values.get(key)!
    const [mod_revision, create_revision] = [String(modRevision), '1']
    return { key: Buffer.from(key), value, mod_revision, create_revision, version: String(version), lease: '0' }
  }
}

class FakeEtcdClient implements EtcdClient {
  readonly url: string
  readonly #etcd: FakeEtcd

  constructor(etcd: FakeEtcd, url: string) {
    this.#etcd = etcd
    this.url = url
  }

  range(request: IRangeRequest, timeoutMs: number): Promise<IRangeResponse> {
    return this.#etcd.call('range', this.url, timeoutMs, () => this.#etcd.range(request))
  }

  transact(request: ITxnRequest, timeoutMs: number): Promise<ITxnResponse> {
    return this.#etcd.call('transact', this.url, timeoutMs, () => this.#etcd.transact(request))
  }

  grantLease(ttlSeconds: number, timeoutMs: number): Promise<ILeaseGrantResponse> {
    return this.#etcd.call('grantLease', this.url, timeoutMs, () => {
      const ID = String(1_000 + this.#etcd.leases.size)
      this.#etcd.leases.add(ID)
      return { header: this.#etcd.header(), ID, TTL: String(ttlSeconds), error: '' }
    })
  }

  keepAlive(leaseId: string, timeoutMs: number): Promise<number> {
    return this.#etcd.call('keepAlive', this.url, timeoutMs, () => (this.#etcd.leases.has(leaseId) ? 1 : 0))
  }

  revokeLease(leaseId: string, timeoutMs: number): Promise<void> {
    return this.#etcd.call('revokeLease', this.url, timeoutMs, () => void this.#etcd.leases.delete(leaseId))
  }

  openWatch(): Promise<EtcdWatchStream> {
    const stream = new FakeWatchStream(this.#etcd, this.url)
    this.#etcd.streams.push(stream)
    return Promise.resolve(stream)
  }

  close(): void {}
}

/** A put of these keys, all at one revision. */
export interface FakeChange {
  readonly revision: number
  readonly keys: readonly string[]
}

export class FakeWatchStream implements EtcdWatchStream {
  readonly url: string
  readonly written: IWatchRequest[] = []
  isCancelled = false
  readonly #etcd: FakeEtcd
  readonly #onData: ((response: IWatchResponse) => void)[] = []
  readonly #onError: ((error: Error) => void)[] = []

  constructor(etcd: FakeEtcd, url: string) {
    this.#etcd = etcd
    this.url = url
  }

  /** What the last create request began with. */
  get startRevision(): number {
    return Number(this.written.findLast((request) => request.create_request)?.create_request?.start_revision)
  }

  on(event: string, listener: (value: never) => void): this {
    if (event === 'data') this.#onData.push(listener as (response: IWatchResponse) => void)
    if (event === 'error') this.#onError.push(listener as (error: Error) => void)
    return this
  }

  write(request: IWatchRequest): void {
    this.written.push(request)
  }

  cancel(): void {
    this.isCancelled = true
  }

  fail(): void {
    for (const listener of this.#onError) listener(new Error('14 UNAVAILABLE: Connection dropped'))
  }

  say(response: Partial<IWatchResponse>, headRevision = this.#etcd.revision): void {
    const header = { ...this.#etcd.header(), revision: String(headRevision) }
    const quiet = { watch_id: '0', created: false, canceled: false, compact_revision: '0', cancel_reason: '' }
    for (const listener of this.#onData) listener({ header, ...quiet, fragment: false, events: [], ...response })
  }

  tell(changes: readonly FakeChange[], fragment = false): void {
    const events = changes.flatMap(({ revision, keys }) =>
      keys.map((key) => {
        const kv = { mod_revision: String(revision), create_revision: '1', version: '1', lease: '0' }
        return { type: 'Put', kv: { key: Buffer.from(key), value: Buffer.of(), ...kv } } as never
      }),
    )
    this.say({ events, fragment })
  }
}
