/** TransactionConfig: what a broker's owner may set of transactions; the defaults are Kafka's. */
export interface TransactionConfig {
  /** The longest timeout that a producer may ask for. */
  readonly timeoutMsMax: number
  /** A transactional id without a transaction is forgotten after so long. */
  readonly idExpirationMs: number
  /** Period of the look for ids to forget. */
  readonly idSweepMs: number
  /** Markers that could not be written are tried again after so long, then twice as long and so on, up to the second. */
  readonly markerRetryMs: number
  readonly markerRetryMsMax: number
}

const MINUTE_MS = 60_000

export const DEFAULT_TRANSACTION_CONFIG: TransactionConfig = {
  timeoutMsMax: 15 * MINUTE_MS,
  idExpirationMs: 7 * 24 * 60 * MINUTE_MS,
  idSweepMs: 10 * MINUTE_MS,
  markerRetryMs: 100,
  markerRetryMsMax: 5_000,
}
