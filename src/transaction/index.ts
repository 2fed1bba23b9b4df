/** Transactions in one import. */
export type { ProducerIdentity } from '../model/producer-identity.ts'
export { setOf } from './marker-delivery.ts'
export * from './requests.ts'
export { DEFAULT_TRANSACTION_CONFIG, type TransactionConfig } from './transaction-config.ts'
export { newTransactionCounters, type TransactionCounters } from './transaction-context.ts'
export {
  TransactionCoordinator,
  type TransactionCoordinatorOptions,
  type TransactionReplay,
} from './transaction-coordinator.ts'
export { decodeTransaction, encodeTransaction } from './transaction-records.ts'
export { isPreparing, outcomeOf, State, type TransactionFacts } from './transaction-state.ts'
