/**
 * A transactional producer that speaks frames: each request is a call of its own, asked again only while the transaction before is being
 * ended. And a reader of what is committed.
 */
import { isMillraceError } from '../../src/model/errors.ts'
import type { TopicId } from '../../src/model/ids.ts'
import * as protocol from '../../src/protocol/index.ts'
import { BatchReader } from '../../src/record/batch-reader.ts'
import { BatchWriter } from '../../src/record/batch-writer.ts'
import type { BareClient } from './gateway-fixture.ts'

const ATTEMPTS_MAX = 20

export class BareProducer {
  identity: protocol.ProducerIdentity = { producerId: -1, producerEpoch: -1 }
  readonly #client: BareClient
  readonly transactionalId: string
  readonly #sequences = new Map<string, number>()

  constructor(client: BareClient, transactionalId: string) {
    this.#client = client
    this.transactionalId = transactionalId
  }

  async init(transactionTimeoutMs = 60_000): Promise<void> {
    const request = { transactionalId: this.transactionalId, transactionTimeoutMs }
    this.#take(await this.#ask(protocol.initProducerId, request))
  }

  /** Error number of each partition. */
  async add(...partitions: protocol.TransactionPartition[]): Promise<number[]> {
    const request = { transactionalId: this.transactionalId, ...this.identity, partitions }
    const reply = await this.#ask(protocol.addPartitionsToTxn, request)
    return reply.partitions.map(({ errorNumber }) => errorNumber)
  }

  /** Error number of the part. */
  async produce(topicId: TopicId, partition: number, value: string): Promise<number> {
    const key = `${topicId}-${partition}`
    const baseSequence = this.#sequences.get(key) ?? 0
    const writer = new BatchWriter({})
    writer.append(null, new TextEncoder().encode(value), null, 1_000)
    const batch = writer.finish({ ...this.identity, baseSequence, transactional: true }).slice()
    const part = { topicId, partition, leaderEpoch: -1, batchBytes: batch.length }
    const reply = await this.#client.call(protocol.produce, { acks: -1, timeoutMs: 10_000, parts: [part] }, [batch])
    const { errorNumber } = reply.parts[0]!
    if (errorNumber === 0) this.#sequences.set(key, baseSequence + 1)
    return errorNumber
  }

  async end(isCommit: boolean): Promise<void> {
    const request = { transactionalId: this.transactionalId, ...this.identity, isCommit }
    this.#take(await this.#client.call(protocol.endTxn, request))
  }

  /** The broker waits some seconds for the end of a transaction; a machine may be slower. */
  async #ask<Request, Reply>(codec: protocol.Codec<Request, Reply>, request: Request): Promise<Reply> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#client.call(codec, request)
      } catch (error) {
        if (attempt === ATTEMPTS_MAX || !isMillraceError(error) || error.code !== 'CONCURRENT_TRANSACTIONS') throw error
      }
    }
  }

  #take({ producerId, producerEpoch }: protocol.ProducerIdentity): void {
    this.identity = { producerId, producerEpoch }
    this.#sequences.clear()
  }
}

export interface CommittedView {
  readonly values: string[]
  readonly lastStableOffset: number
  readonly highWatermark: number
}

/** What a read_committed consumer gets of a partition from its start. */
export async function readCommitted(client: BareClient, topicId: TopicId, partition: number): Promise<CommittedView> {
  const frame = await client.callFrame(protocol.fetch, {
    ...{ waitMs: 0, minBytes: 0, maxBytes: 1 << 20, isolation: protocol.READ_COMMITTED },
    parts: [{ topicId, partition, leaderEpoch: -1, fetchOffset: 0, maxBytes: 1 << 20 }],
  })
  const [part] = protocol.unwrapReply(protocol.fetch.decodeReply(frame.header)).parts
  if (part === undefined) return { values: [], lastStableOffset: 0, highWatermark: 0 }
  const reader = new BatchReader().reset(frame.body, 0, part.aborted)
  const values: string[] = []
  while (reader.next()) values.push(new TextDecoder().decode(reader.value ?? undefined))
  return { values, lastStableOffset: part.lastStableOffset, highWatermark: part.highWatermark }
}
