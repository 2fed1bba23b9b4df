/** What is in the fake broker's partitions, seen with and without its transactions. */
import { readRecords } from '../../src/record/batch-reader.ts'
import { BatchView } from '../../src/record/batch-view.ts'
import type { FakeBroker, FakePartition } from './fake-broker.ts'
import { committedBatches } from './fake-transactions.ts'

export interface SeenBatch {
  readonly producerId: number
  readonly epoch: number
  readonly sequence: number
  readonly recordsCount: number
  readonly isTransactional: boolean
}

const decoder = new TextDecoder()

function valuesIn(batches: FakePartition['batches']): string[] {
  return batches.flatMap(({ bytes }) => readRecords(bytes).map(({ value }) => decoder.decode(value ?? undefined)))
}

/** Values of a topic as a reader with read_committed sees them, partition by partition. */
export function committedValues(broker: FakeBroker, topic: string): string[] {
  return broker.topics.get(topic)!.partitions.flatMap((partition) => valuesIn(committedBatches(partition)))
}

/** The batches of records of a partition, markers left out. */
export function batchesOf(broker: FakeBroker, topic: string, partition = 0): SeenBatch[] {
  return broker
    .partition(topic, partition)
    .batches.map(({ bytes }) => new BatchView().reset(bytes, 0))
    .filter((view) => !view.isControl)
    .map((view) => {
      const { producerId, producerEpoch: epoch, baseSequence: sequence, recordsCount, isTransactional } = view
      return { producerId, epoch, sequence, recordsCount, isTransactional }
    })
}

/** All values of a topic that were ever appended, aborted ones too. */
export function appendedValues(broker: FakeBroker, topic: string): string[] {
  return broker.topics
    .get(topic)!
    .partitions.flatMap((partition) =>
      valuesIn(partition.batches.filter(({ bytes }) => !new BatchView().reset(bytes, 0).isControl)),
    )
}
