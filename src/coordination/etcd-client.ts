/**
 * EtcdClient: the port to one member of etcd: single calls, nothing repeated, nothing remembered. The real make is etcd3's, loaded
 * by loadEtcdClients() and not before: a broker alone never pays for it.
 *
 * Invariants  EC1 a call is sent once, and again only when etcd refused its token: etcd3's policies, which send a transaction
 *             again after a lost reply, are off
 *             EC2 every call ends within its timeout, one that must sign in first within that and authenticateMsMax; a stream lasts
 *             until it fails or is cancelled
 * Failure     rejects with the errors of etcd3 and gRPC; etcd-faults.ts says what they mean
 */
import type {
  Etcd3,
  ILeaseGrantResponse,
  ILeaseKeepAliveResponse,
  IOptions,
  IRangeRequest,
  IRangeResponse,
  ITxnRequest,
  ITxnResponse,
  IWatchRequest,
  IWatchResponse,
} from 'etcd3'
import type { Clock } from '../base/clock.ts'

/** PEM texts. `cert` and `key` go together: this client's own, for an etcd that asks for one. */
export interface EtcdTls {
  /** Who signed etcd's certificate; without it, the authorities of the system. */
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

export interface EtcdAccess {
  readonly user?: string
  readonly password?: string
  readonly tls?: EtcdTls
  readonly authenticateMsMax: number
}

export interface EtcdStream<Request, Response> {
  write(request: Request): void
  cancel(): void
  on(event: 'data', listener: (response: Response) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
}

export type EtcdWatchStream = EtcdStream<IWatchRequest, IWatchResponse>

export interface EtcdClient {
  readonly url: string
  range(request: IRangeRequest, timeoutMs: number): Promise<IRangeResponse>
  transact(request: ITxnRequest, timeoutMs: number): Promise<ITxnResponse>
  grantLease(ttlSeconds: number, timeoutMs: number): Promise<ILeaseGrantResponse>
  /** Answers the seconds that the lease has again, 0 = there is no such lease. */
  keepAlive(leaseId: string, timeoutMs: number): Promise<number>
  revokeLease(leaseId: string, timeoutMs: number): Promise<void>
  /** A stream that fails by itself when its member loses the rest of the cluster. */
  openWatch(): Promise<EtcdWatchStream>
  close(): void
}

export type EtcdClientFactory = (url: string, access: EtcdAccess, clock: Clock) => EtcdClient

const PASS_THROUGH = { execute: async (call: (context: object) => unknown) => call({}) }
const CHANNEL_OPTIONS = {
  // A member that comes back is used again soon: gRPC's own answer is up to two minutes.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // etcd refuses pings that come more often than every 5 s.
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  // A page of a list may be larger than gRPC's 4 MiB.
  'grpc.max_receive_message_length': 256 * 1024 * 1024,
  'grpc.max_send_message_length': 4 * 1024 * 1024,
} as const

/** Loads etcd3. */
export async function loadEtcdClients(): Promise<EtcdClientFactory> {
  const { Etcd3: Base } = await import('etcd3')

  /** Streams with metadata of our own, which etcd3 has no way to ask for. */
  class Streams extends Base {
    open<Request, Response>(
      service: 'Watch' | 'Lease',
      method: 'watch' | 'leaseKeepAlive',
      options: object,
    ): Promise<EtcdStream<Request, Response>> {
      return this.pool.withConnection(service, ({ client, metadata }) => {
        const own = metadata.clone()
        // Without it a member that is cut off from the others keeps the stream and says nothing (etcd's WithRequireLeader).
        own.set('hasleader', 'true')
        const methods = client as unknown as Record<string, (...words: object[]) => EtcdStream<Request, Response>>
        return methods[method]!(own, options)
      })
    }
  }
  return (url, access, clock) => new Etcd3Client(url, new Streams(optionsOf(url, access, clock)), clock)
}

interface StreamOpener extends Etcd3 {
  open<Request, Response>(
    service: 'Watch' | 'Lease',
    method: 'watch' | 'leaseKeepAlive',
    options: object,
  ): Promise<EtcdStream<Request, Response>>
}

class Etcd3Client implements EtcdClient {
  readonly url: string
  readonly #etcd: StreamOpener
  readonly #clock: Clock

  constructor(url: string, etcd: StreamOpener, clock: Clock) {
    this.url = url
    this.#etcd = etcd
    this.#clock = clock
  }

  range(request: IRangeRequest, timeoutMs: number): Promise<IRangeResponse> {
    return this.#etcd.kv.range(request, this.#within(timeoutMs))
  }

  transact(request: ITxnRequest, timeoutMs: number): Promise<ITxnResponse> {
    return this.#etcd.kv.txn(request, this.#within(timeoutMs))
  }

  grantLease(ttlSeconds: number, timeoutMs: number): Promise<ILeaseGrantResponse> {
    return this.#etcd.leaseClient.leaseGrant({ TTL: ttlSeconds }, this.#within(timeoutMs))
  }

  async revokeLease(leaseId: string, timeoutMs: number): Promise<void> {
    await this.#etcd.leaseClient.leaseRevoke({ ID: leaseId }, this.#within(timeoutMs))
  }

  async keepAlive(leaseId: string, timeoutMs: number): Promise<number> {
    const stream = await this.#etcd.open<{ ID: string }, ILeaseKeepAliveResponse>(
      'Lease',
      'leaseKeepAlive',
      this.#within(timeoutMs),
    )
    try {
      return await new Promise((resolve, reject) => {
        stream.on('data', ({ TTL }) => resolve(Number(TTL)))
        stream.on('error', reject)
        stream.on('end', () => reject(new Error('the stream ended before its answer')))
        stream.write({ ID: leaseId })
      })
    } finally {
      stream.cancel()
    }
  }

  openWatch(): Promise<EtcdWatchStream> {
    return this.#etcd.open<IWatchRequest, IWatchResponse>('Watch', 'watch', {})
  }

  close(): void {
    this.#etcd.close()
  }

  /** gRPC wants wall time; it turns it into a delay at once, so a clock that jumps later does no harm. */
  #within(timeoutMs: number): { deadline: number } {
    return { deadline: this.#clock.nowMs() + timeoutMs }
  }
}

function optionsOf(url: string, { user, password, tls, authenticateMsMax }: EtcdAccess, clock: Clock): IOptions {
  const policy = PASS_THROUGH as unknown as NonNullable<NonNullable<IOptions['faultHandling']>['global']>
  return {
    hosts: [url],
    faultHandling: { global: policy, host: () => policy },
    grpcOptions: CHANNEL_OPTIONS,
    ...(user === undefined || password === undefined
      ? {}
      : {
          auth: {
            username: user,
            password,
            callOptions: () => ({ deadline: clock.nowMs() + authenticateMsMax }),
          },
        }),
    ...(tls === undefined ? {} : { credentials: credentialsOf(tls) }),
  }
}

function credentialsOf({ ca, cert, key }: EtcdTls): NonNullable<IOptions['credentials']> {
  return {
    // Null is gRPC's word for the system's authorities; etcd3's types do not know it.
    rootCertificate: (ca === undefined ? null : Buffer.from(ca)) as Buffer,
    ...(cert === undefined || key === undefined ? {} : { certChain: Buffer.from(cert), privateKey: Buffer.from(key) }),
  }
}
