/**
 * What operators ask (KIP-664): DescribeLogDirs (35, v1–4), DescribeProducers (61, v0), DescribeTransactions (65, v0), ListTransactions (66,
 * v0–1: patterns of v2 would have to be matched on this thread). Each broker answers for what it has or coordinates.
 */
import { describeLogDirs } from '../../../kafka/apis/35-describe-log-dirs.ts'
import { describeProducers } from '../../../kafka/apis/61-describe-producers.ts'
import { describeTransactions } from '../../../kafka/apis/65-describe-transactions.ts'
import { listTransactions } from '../../../kafka/apis/66-list-transactions.ts'
import { TRANSACTION_STATE_NAMES } from '../../../model/transaction-query.ts'
import { CLUSTER } from '../../authorise.ts'
import { logSizes, producersOf } from '../../shard-queries.ts'
import { coldHandler, type KafkaCall } from '../kafka-handler.ts'

const STATES: readonly string[] = TRANSACTION_STATE_NAMES

export const describeLogDirsHandler = coldHandler(describeLogDirs, async (call) => {
  const { gateway, request } = call
  const { dataDir: logDir } = gateway.config
  try {
    call.demand(CLUSTER)
    const sizes = await logSizes(gateway.links)
    const wanted = new Map(request.topics?.map(({ topic, partitions }) => [topic, new Set(partitions)]))
    const topics = [...gateway.router.topics()].flatMap((topic) => {
      const { name } = topic.record.state
      if (request.topics !== null && !wanted.has(name)) return []
      const numbers = wanted.get(name)
      const partitions = topic.partitions.flatMap(({ partition: partitionIndex, ref }) => {
        const partitionSize = sizes.get(ref)
        if (partitionSize === undefined || numbers?.has(partitionIndex) === false) return []
        return [{ partitionIndex, partitionSize, offsetLag: 0, isFutureKey: false }]
      })
      return partitions.length === 0 ? [] : [{ name, partitions }]
    })
    return { errorCode: 0, results: [{ errorCode: 0, logDir, topics }] }
  } catch (error) {
    return { ...call.fault(error), results: [] }
  }
})

export const describeProducersHandler = coldHandler(describeProducers, async (call) => ({
  topics: await Promise.all(
    call.request.topics.map(async ({ name, partitionIndexes }) => ({
      name,
      partitions: await Promise.all([...new Set(partitionIndexes)].map((index) => producersRow(call, name, index))),
    })),
  ),
}))

async function producersRow(call: KafkaCall<unknown>, name: string, partitionIndex: number) {
  try {
    const topic = call.topic(name)
    const { partition, link } = call.gateway.servingPartition(topic.record.topicId, partitionIndex)
    const activeProducers = (await producersOf(link, partition.ref)).map(({ lastTimestampMs, ...rest }) => ({
      ...rest,
      lastTimestamp: lastTimestampMs,
    }))
    return { partitionIndex, errorCode: 0, errorMessage: null, activeProducers }
  } catch (error) {
    return { partitionIndex, ...call.fault(error), activeProducers: [] }
  }
}

export const describeTransactionsHandler = coldHandler(describeTransactions, async (call) => ({
  transactionStates: await Promise.all(
    [...new Set(call.request.transactionalIds)].map((transactionalId) => transactionRow(call, transactionalId)),
  ),
}))

async function transactionRow(call: KafkaCall<unknown>, transactionalId: string) {
  try {
    call.demand({ kind: 'transactional-id', transactionalId })
    const found = await call.gateway.transactions.describe(transactionalId)
    const topics = new Map<string, number[]>()
    for (const { topic, partition } of found.partitions) topics.set(topic, [...(topics.get(topic) ?? []), partition])
    return {
      ...{ errorCode: 0, transactionalId, transactionState: found.state, transactionTimeoutMs: found.timeoutMs },
      ...{ transactionStartTimeMs: found.startTimeMs, producerId: found.producerId },
      producerEpoch: found.producerEpoch,
      topics: [...topics].map(([topic, partitions]) => ({ topic, partitions })),
    }
  } catch (error) {
    return {
      ...{ ...call.fault(error), transactionalId, transactionState: '', transactionTimeoutMs: -1 },
      ...{ transactionStartTimeMs: -1, producerId: -1, producerEpoch: -1, topics: [] },
    }
  }
}

export const listTransactionsHandler = coldHandler(listTransactions, async (call) => {
  const { stateFilters, producerIdFilters, durationFilter } = call.request
  const unknownStateFilters = stateFilters.filter((state) => !STATES.includes(state))
  try {
    const listed = await call.gateway.transactions.list({
      ...{ states: stateFilters, producerIds: producerIdFilters, longerThanMs: Math.max(-1, durationFilter) },
    })
    const transactionStates = listed
      .filter(({ transactionalId }) => call.refusal({ kind: 'transactional-id', transactionalId }) === undefined)
      .map(({ transactionalId, producerId, state }) => ({ transactionalId, producerId, transactionState: state }))
    return { errorCode: 0, unknownStateFilters, transactionStates }
  } catch (error) {
    return { ...call.fault(error), unknownStateFilters, transactionStates: [] }
  }
})
