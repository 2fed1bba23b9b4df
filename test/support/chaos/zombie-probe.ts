/**
 * ZombieProbe: asks a leader that the cluster has given up for an acknowledgement of the leader alone, over a connection from before.
 * Whoever leads no more, and does not know it, must refuse once its lease may have expired: nobody would ever see the record again.
 */
import { ERRORS } from '../../../src/model/errors.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import { ACKS_LEADER } from '../../../src/partition/acks.ts'
import { type ProduceRequest, produce } from '../../../src/protocol/index.ts'
import { BatchWriter } from '../../../src/record/batch-writer.ts'
import { BareClient } from '../gateway-fixture.ts'

export type ZombieAnswer =
  /** NOT_LEADER_OR_FOLLOWER, or another refusal. */
  { readonly kind: 'refused'; readonly error: string } | { readonly kind: 'acknowledged' } | { readonly kind: 'silent' }

const ANSWER_MS_MAX = 10_000

export class ZombieProbe {
  readonly #client: BareClient
  readonly #topicId: TopicId
  readonly #partition: number

  private constructor(client: BareClient, topicId: TopicId, partition: number) {
    this.#client = client
    this.#topicId = topicId
    this.#partition = partition
  }

  static async open(url: string, topicId: TopicId, partition: number): Promise<ZombieProbe> {
    return new ZombieProbe(await BareClient.hello(url), topicId, partition)
  }

  /** Sends one record with acks=leader now; the answer may come when the process runs again. */
  async ask(): Promise<ZombieAnswer> {
    const writer = new BatchWriter({})
    writer.append(null, new TextEncoder().encode('probe'), null, 1_000)
    const batch = writer.finish({ producerId: -1, producerEpoch: -1, baseSequence: -1 }).slice()
    const part = { topicId: this.#topicId, partition: this.#partition, leaderEpoch: -1, batchBytes: batch.length }
    const request: ProduceRequest = { acks: ACKS_LEADER, timeoutMs: ANSWER_MS_MAX, parts: [part] }
    const asked = this.#client.call(produce, request, [batch]).then(
      ({ parts }): ZombieAnswer => answerOf(parts[0]!.errorNumber),
      (): ZombieAnswer => ({ kind: 'silent' }),
    )
    return Promise.race([asked, silentAfter(ANSWER_MS_MAX)])
  }

  close(): void {
    this.#client.socket.terminate()
  }
}

function answerOf(errorNumber: number): ZombieAnswer {
  if (errorNumber === 0) return { kind: 'acknowledged' }
  const known = Object.entries(ERRORS).find(([, { number }]) => number === errorNumber)
  return { kind: 'refused', error: known?.[0] ?? String(errorNumber) }
}

function silentAfter(ms: number): Promise<ZombieAnswer> {
  return new Promise((resolve) => setTimeout(() => resolve({ kind: 'silent' }), ms).unref())
}
