/**
 * Ledger: what a test's producers sent and its readers got, judged by the history checker.
 *
 * A record's value is an id, `process:serial`, and filler, `:xxx…`. The checker is told ids only, so its memory does not
 * depend on the size of records. What is read must follow on without a gap, and of one process in the order it was sent in.
 */
import assert from 'node:assert/strict'
import type { Client } from '../../src/client/index.ts'
import type { Anomaly } from '../../src/tools/anomaly.ts'
import { HistoryChecker, type HistoryVerdict } from '../../src/tools/check-history.ts'

const READER = 1_000_000_000
const decoder = new TextDecoder()

export interface LedgerOptions {
  readonly topic: string
  readonly partitions: number
  /** Where reading goes on, by partition; default 0. */
  readonly nextOffsets?: readonly number[]
}

export class Ledger {
  readonly topic: string
  /** Next offset to read, by partition. */
  readonly nextOffsets: number[]
  acknowledged = 0
  /** By partition. */
  readonly acknowledgedOf: number[] = []
  unknown = 0
  /** Unknown ones, by process. */
  readonly unknownOf = new Map<number, number>()
  readonly #checker = new HistoryChecker()
  /** process and partition -> serial of its last record read */
  readonly #lastSerials = new Map<string, number>()
  #line = 0

  constructor(options: LedgerOptions) {
    this.topic = options.topic
    this.nextOffsets = Array.from({ length: options.partitions }, (_, index) => options.nextOffsets?.[index] ?? 0)
  }

  invoke(process: number, partition: number, serial: number): void {
    this.#send('invoke', process, { partition, value: `${process}:${serial}` })
  }

  acknowledge(process: number, at: { partition: number; offset: number; serial: number }): void {
    this.acknowledged++
    this.acknowledgedOf[at.partition] = (this.acknowledgedOf[at.partition] ?? 0) + 1
    this.#send('ok', process, { partition: at.partition, offset: at.offset, value: `${process}:${at.serial}` })
  }

  /** It may be stored or not: the producer has given it up. */
  giveUp(process: number, partition: number, serial: number): void {
    this.unknown++
    this.unknownOf.set(process, (this.unknownOf.get(process) ?? 0) + 1)
    this.#send('info', process, { partition, value: `${process}:${serial}` })
  }

  #send(
    type: 'invoke' | 'ok' | 'info',
    process: number,
    record: { partition: number; offset?: number; value: string },
  ) {
    const records = [{ topic: this.topic, ...record }]
    this.#checker.add({ f: 'send', type, process, line: ++this.#line, records })
  }

  /** Reads every partition from where it stood to its present end. */
  async readNew(client: Client): Promise<void> {
    await Promise.all(this.nextOffsets.map((offset, partition) => this.#readPartition(client, partition, offset)))
  }

  async #readPartition(client: Client, partition: number, offset: number): Promise<void> {
    for await (const record of client.consume(this.topic, { from: { offset }, to: 'end', partitions: [partition] }))
      this.#poll(partition, record.offset, decoder.decode(record.value as Uint8Array))
  }

  #poll(partition: number, offset: number, text: string): void {
    const next = this.nextOffsets[partition]!
    assert.equal(offset, next, `${this.topic}/${partition}: a gap: offset ${offset} where ${next} is next`)
    this.nextOffsets[partition] = offset + 1
    const [process = '', serialText = ''] = text.split(':', 2)
    const serial = Number(serialText)
    const key = `${process} ${partition}`
    const last = this.#lastSerials.get(key) ?? -1
    assert.ok(serial > last, `${this.topic}/${partition}@${offset}: process ${process} sent ${serial} before ${last}`)
    this.#lastSerials.set(key, serial)
    const records = [{ topic: this.topic, partition, offset, value: `${process}:${serial}` }]
    this.#checker.add({ f: 'poll', type: 'ok', process: READER, line: ++this.#line, final: true, records })
  }

  /** To be asked once, when everything is settled and read: the counts, and what is wrong. */
  verdict(): { readonly counts: HistoryVerdict; readonly wrong: readonly Anomaly[] } {
    const counts = this.#checker.verdict()
    // Reading went to the end: what was acknowledged and not seen is lost, not late.
    return { counts, wrong: counts.anomalies }
  }
}
