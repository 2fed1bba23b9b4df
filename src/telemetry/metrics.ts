/**
 * Metrics: what /metrics says, in Prometheus' text format. Few series: labels are request names, error codes and shards,
 * never topics, partitions or clients.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { LatencyHistogram } from './latency-histogram.ts'
import { mainBusyMicroseconds } from './main-busy.ts'

/** What a shard tells of itself, and the gateway of its rings to it. */
export interface ShardGauges {
  readonly partitions: number
  readonly offlinePartitions: number
  readonly appendedRecords: number
  readonly appendedBytes: number
  readonly duplicateBatches: number
  readonly fetchedBytes: number
  readonly syncs: number
  readonly syncMicroseconds: number
  readonly journalBytes: number
  readonly waitingFetches: number
  readonly waitingProduces: number
  readonly pagesInUse: number
  readonly pages: number
  readonly turns: number
  readonly busyMicroseconds: number
  readonly heapBytes: number
  readonly scrubbedBytes: number
  readonly scrubFindings: number
  readonly compactions: number
  readonly compactionsRunning: number
  readonly compactionFailures: number
  readonly compactionReclaimedBytes: number
  readonly compactionMicroseconds: number
  readonly transactionalIds: number
  readonly coordinatedOpen: number
  readonly coordinatedEnding: number
  readonly coordinatedCommits: number
  readonly coordinatedAborts: number
  readonly transactionTimeouts: number
  readonly openTransactions: number
  readonly oldestTransactionMicroseconds: number
  readonly abortedTransactions: number
  readonly requestRingBytes: number
  readonly requestRingStalls: number
  readonly stagedBytes: number
  readonly openRequests: number
}

const SHARD_GAUGES: Readonly<Record<keyof ShardGauges, readonly [name: string, help: string, scale?: number]>> = {
  partitions: ['millrace_shard_partitions', 'partitions the shard owns'],
  offlinePartitions: ['millrace_shard_partitions_offline', 'partitions that do not serve'],
  appendedRecords: ['millrace_shard_appended_records_total', 'records appended since the start'],
  duplicateBatches: ['millrace_shard_duplicate_batches_total', 'batches sent again that were stored already'],
  appendedBytes: ['millrace_shard_appended_bytes_total', 'bytes appended since the start'],
  fetchedBytes: ['millrace_shard_fetched_bytes_total', 'bytes handed out to fetches since the start'],
  syncs: ['millrace_shard_syncs_total', 'device flushes since the start'],
  syncMicroseconds: ['millrace_shard_sync_seconds_total', 'time spent in device flushes', 1e-6],
  journalBytes: ['millrace_shard_journal_bytes', 'bytes in the commit journal'],
  waitingFetches: ['millrace_shard_waiting_fetches', 'fetches that wait for records'],
  waitingProduces: ['millrace_shard_waiting_produces', 'produces that wait for their acknowledgement'],
  pagesInUse: ['millrace_shard_pages_in_use', 'pages of the shared pool that hold something'],
  pages: ['millrace_shard_pages', 'pages of the shared pool'],
  turns: ['millrace_shard_turns_total', 'turns of the loop since the start'],
  busyMicroseconds: ['millrace_shard_busy_seconds_total', 'time the loop worked', 1e-6],
  heapBytes: ['millrace_shard_heap_bytes', 'heap of the shard thread'],
  scrubbedBytes: ['millrace_shard_scrubbed_bytes_total', 'bytes of closed segments checked in the background'],
  scrubFindings: ['millrace_shard_scrub_findings_total', 'closed segments that were found damaged by that'],
  compactions: ['millrace_shard_compactions_total', 'compactions of a partition that ended well'],
  compactionsRunning: ['millrace_shard_compactions_running', 'compactions of a partition that the pool works at'],
  compactionFailures: ['millrace_shard_compaction_failures_total', 'compactions of a partition that failed'],
  compactionReclaimedBytes: ['millrace_shard_compaction_reclaimed_bytes_total', 'bytes that compactions freed'],
  compactionMicroseconds: [
    'millrace_shard_compaction_seconds_total',
    'time from asking for a compaction to its end',
    1e-6,
  ],
  transactionalIds: ['millrace_shard_coordinator_transactional_ids', 'transactional ids that are known'],
  coordinatedOpen: ['millrace_shard_coordinator_transactions_open', 'transactions that have begun and are not decided'],
  coordinatedEnding: [
    'millrace_shard_coordinator_transactions_ending',
    'decided transactions without all of their markers',
  ],
  coordinatedCommits: ['millrace_shard_coordinator_commits_total', 'transactions committed since the start'],
  coordinatedAborts: ['millrace_shard_coordinator_aborts_total', 'transactions aborted since the start'],
  transactionTimeouts: ['millrace_shard_coordinator_timeouts_total', 'of these those whose time was over'],
  openTransactions: ['millrace_shard_transactions_open', 'transactions that are open in a partition, once for each'],
  oldestTransactionMicroseconds: [
    'millrace_shard_transaction_oldest_seconds',
    'the longest that an open transaction has held its partition back for read_committed',
    1e-6,
  ],
  abortedTransactions: [
    'millrace_shard_transactions_aborted_total',
    'transactions aborted in a partition since the start',
  ],
  requestRingBytes: ['millrace_shard_request_ring_bytes', 'bytes in the request ring'],
  requestRingStalls: ['millrace_shard_request_ring_stalls_total', 'requests that found the ring full'],
  stagedBytes: ['millrace_shard_staged_bytes', 'bytes that wait for room in the request ring'],
  openRequests: ['millrace_shard_open_requests', 'requests without a reply yet'],
}

export interface GatewayGauges {
  readonly connections: number
  readonly unauthenticatedConnections: number
  readonly receiveBytes: number
  readonly sendBytes: number
  readonly topics: number
  readonly partitions: number
}

const GATEWAY_GAUGES: Readonly<Record<keyof GatewayGauges, readonly [name: string, help: string]>> = {
  connections: ['millrace_connections', 'open connections'],
  unauthenticatedConnections: ['millrace_connections_unauthenticated', 'connections that have not said hello'],
  receiveBytes: ['millrace_receive_bytes', 'bytes received that no shard has taken yet'],
  sendBytes: ['millrace_send_bytes', 'bytes sent that clients have not read yet'],
  topics: ['millrace_topics', 'topics'],
  partitions: ['millrace_partitions', 'partitions'],
}

const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/** What the gateway tells; a broker that nobody asks for /metrics need not count. */
export type MetricsPort = Pick<Metrics, keyof Metrics>

export class Metrics {
  readonly #registry = new Registry()
  readonly #latency: LatencyHistogram
  readonly #errors: Counter<'code'>
  readonly #fetchedBytes: Counter
  readonly #shardGauges = new Map<keyof ShardGauges, Gauge<'shard'>>()
  readonly #gatewayGauges = new Map<keyof GatewayGauges, Gauge>()
  readonly #loopDelay = monitorEventLoopDelay({ resolution: 20 })

  constructor() {
    const registers = [this.#registry]
    this.#latency = new LatencyHistogram({
      name: 'millrace_request_seconds',
      help: 'time from a request frame to its reply, waits included',
      bounds: LATENCY_BUCKETS,
    })
    this.#latency.register(this.#registry)
    this.#errors = new Counter({
      name: 'millrace_errors_total',
      help: 'error replies to whole requests, and produces without acks refused',
      labelNames: ['code'],
      registers,
    })
    this.#fetchedBytes = new Counter({ name: 'millrace_fetch_reply_bytes_total', help: 'record bytes sent', registers })
    for (const [field, [name, help]] of Object.entries(SHARD_GAUGES))
      this.#shardGauges.set(field as keyof ShardGauges, new Gauge({ name, help, labelNames: ['shard'], registers }))
    for (const [field, [name, help]] of Object.entries(GATEWAY_GAUGES))
      this.#gatewayGauges.set(field as keyof GatewayGauges, new Gauge({ name, help, registers }))
    const loopDelay = this.#loopDelay
    new Gauge({
      name: 'millrace_event_loop_delay_seconds',
      help: 'delay of the main event loop since the last look, p99',
      registers,
      collect() {
        this.set(loopDelay.percentile(99) / 1e9)
        loopDelay.reset()
      },
    })
    new Gauge({
      name: 'millrace_main_busy_seconds_total',
      help: 'time the main event loop was not waiting for events',
      registers,
      collect() {
        this.set(mainBusyMicroseconds() / 1e6)
      },
    })
    collectDefaultMetrics({ register: this.#registry })
    loopDelay.enable()
  }

  observeRequest(request: string, milliseconds: number): void {
    this.#latency.observe(request, milliseconds / 1000)
  }

  observeFetchedBytes(bytes: number): void {
    this.#fetchedBytes.inc(bytes)
  }

  countError(code: string): void {
    this.#errors.inc({ code })
  }

  setShard(shard: number, gauges: Partial<ShardGauges>): void {
    for (const [field, value] of Object.entries(gauges)) {
      const [, , scale = 1] = SHARD_GAUGES[field as keyof ShardGauges] ?? []
      this.#shardGauges.get(field as keyof ShardGauges)?.set({ shard: String(shard) }, Number(value) * scale)
    }
  }

  setGateway(gauges: GatewayGauges): void {
    for (const [field, value] of Object.entries(gauges))
      this.#gatewayGauges.get(field as keyof GatewayGauges)?.set(value)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  close(): void {
    this.#loopDelay.disable()
    this.#registry.clear()
  }
}
