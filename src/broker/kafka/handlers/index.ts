/** Every request of the Kafka door that has a handler. */
import type { AnyKafkaHandler } from '../kafka-handler.ts'
import { produceHandler } from './00-produce.ts'
import { fetchHandler } from './01-fetch.ts'
import { listOffsetsHandler } from './02-list-offsets.ts'
import { metadataHandler } from './03-metadata.ts'
import { findCoordinatorHandler } from './10-find-coordinator.ts'
import { apiVersionsHandler } from './18-api-versions.ts'
import { offsetForLeaderEpochHandler } from './23-offset-for-leader-epoch.ts'
import { heartbeatHandler, joinGroupHandler, leaveGroupHandler, syncGroupHandler } from './classic-groups.ts'
import { describeClusterHandler, describeTopicPartitionsHandler } from './cluster.ts'
import { alterConfigsHandler, describeConfigsHandler, incrementalAlterConfigsHandler } from './configs.ts'
import { consumerGroupDescribeHandler, consumerGroupHeartbeatHandler } from './consumer-groups.ts'
import { deleteGroupsHandler, describeGroupsHandler, listGroupsHandler } from './group-admin.ts'
import {
  describeLogDirsHandler,
  describeProducersHandler,
  describeTransactionsHandler,
  listTransactionsHandler,
} from './inspect.ts'
import { offsetCommitHandler, offsetDeleteHandler, offsetFetchHandler } from './offsets.ts'
import {
  alterPartitionReassignmentsHandler,
  electLeadersHandler,
  listPartitionReassignmentsHandler,
} from './replicas.ts'
import { saslAuthenticateHandler, saslHandshakeHandler } from './sasl.ts'
import { alterUserScramCredentialsHandler, describeUserScramCredentialsHandler } from './scram-credentials.ts'
import {
  alterClientQuotasHandler,
  createAclsHandler,
  deleteAclsHandler,
  describeAclsHandler,
  describeClientQuotasHandler,
} from './security.ts'
import { createPartitionsHandler, createTopicsHandler, deleteRecordsHandler, deleteTopicsHandler } from './topics.ts'
import {
  addOffsetsToTxnHandler,
  addPartitionsToTxnHandler,
  endTxnHandler,
  initProducerIdHandler,
  txnOffsetCommitHandler,
} from './transactions.ts'

export const KAFKA_HANDLERS: readonly AnyKafkaHandler[] = [
  produceHandler,
  fetchHandler,
  listOffsetsHandler,
  metadataHandler,
  findCoordinatorHandler,
  apiVersionsHandler,
  offsetForLeaderEpochHandler,
  joinGroupHandler,
  syncGroupHandler,
  heartbeatHandler,
  leaveGroupHandler,
  describeClusterHandler,
  describeTopicPartitionsHandler,
  describeConfigsHandler,
  incrementalAlterConfigsHandler,
  alterConfigsHandler,
  consumerGroupHeartbeatHandler,
  consumerGroupDescribeHandler,
  describeGroupsHandler,
  listGroupsHandler,
  deleteGroupsHandler,
  describeLogDirsHandler,
  describeProducersHandler,
  describeTransactionsHandler,
  listTransactionsHandler,
  offsetCommitHandler,
  offsetFetchHandler,
  offsetDeleteHandler,
  electLeadersHandler,
  alterPartitionReassignmentsHandler,
  listPartitionReassignmentsHandler,
  saslHandshakeHandler,
  saslAuthenticateHandler,
  describeUserScramCredentialsHandler,
  alterUserScramCredentialsHandler,
  describeAclsHandler,
  createAclsHandler,
  deleteAclsHandler,
  describeClientQuotasHandler,
  alterClientQuotasHandler,
  createTopicsHandler,
  deleteTopicsHandler,
  createPartitionsHandler,
  deleteRecordsHandler,
  initProducerIdHandler,
  addPartitionsToTxnHandler,
  addOffsetsToTxnHandler,
  endTxnHandler,
  txnOffsetCommitHandler,
]
