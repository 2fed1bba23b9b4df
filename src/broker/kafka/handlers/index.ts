/** Every request of the Kafka door that has a handler. */
import type { AnyKafkaHandler } from '../kafka-handler.ts'
import { produceHandler } from './00-produce.ts'
import { fetchHandler } from './01-fetch.ts'
import { listOffsetsHandler } from './02-list-offsets.ts'
import { metadataHandler } from './03-metadata.ts'
import { findCoordinatorHandler } from './10-find-coordinator.ts'
import { apiVersionsHandler } from './18-api-versions.ts'
import { offsetForLeaderEpochHandler } from './23-offset-for-leader-epoch.ts'

export const KAFKA_HANDLERS: readonly AnyKafkaHandler[] = [
  produceHandler,
  fetchHandler,
  listOffsetsHandler,
  metadataHandler,
  findCoordinatorHandler,
  apiVersionsHandler,
  offsetForLeaderEpochHandler,
]
