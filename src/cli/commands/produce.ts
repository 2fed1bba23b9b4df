/**
 * `millrace produce`: one record a line. Lines are cut from chunks of bytes and go to the producer as they are: no string and no
 * promise a line. With --json a receipt a record is printed, in the order of the lines, which costs a promise each.
 */
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { utf8Decode } from '../../base/bytes.ts'
import type { Acks, Client, CodecName, Producer, ProducerOptions, ProducerRecord, Receipt } from '../../client/index.ts'
import { BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX } from '../../model/limits.ts'
import { headersOf, integerOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { UsageError } from '../errors.ts'
import { LineSplitter } from '../line-splitter.ts'
import { Pace } from '../pace.ts'
import { recordOfJson } from '../record-json.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'

export interface ProduceFlags extends GlobalOptions {
  readonly key?: string
  readonly keySeparator?: string
  readonly header?: string[]
  readonly partition?: string
  readonly file?: string
  readonly acks: Acks
  readonly compression?: CodecName
  readonly rate?: string
  readonly input: 'text' | 'json'
}

/** Receipts that wait to be printed, at most: send() holds a promise for each. */
const RECEIPTS_MAX = 10_000
const READ_BYTES = 256 * 1024

type MakeRecord = (line: Uint8Array) => ProducerRecord

export async function produce(terminal: Terminal, flags: ProduceFlags, topic: string): Promise<void> {
  const makeRecord = recordMaker(flags)
  const pace = flags.rate === undefined ? undefined : new Pace(integerOf('--rate', flags.rate, 1))
  await withClient(terminal, async (client) => {
    const producer = await readyProducer(client, topic, flags, terminal)
    const startedMs = performance.now()
    const input = flags.file === undefined ? process.stdin : createReadStream(flags.file, { highWaterMark: READ_BYTES })
    const sink = terminal.isJson ? new ReceiptSink(producer, terminal) : new EnqueueSink(producer, terminal)
    try {
      await feed(input, terminal, makeRecord, pace, sink)
      await sink.finish()
    } catch (error) {
      // The lines before one that cannot be read are sent: who mends it knows where to go on.
      if (error instanceof UsageError) await sink.finish()
      producer.abort()
      throw error
    } finally {
      input.destroy()
    }
    const { recordsStored, bytesStored } = producer.stats()
    const seconds = (performance.now() - startedMs) / 1000
    terminal.explain(
      `${recordsStored} records, ${(bytesStored / 1e6).toFixed(1)} MB in ${seconds.toFixed(2)} s: ` +
        `${Math.round(recordsStored / seconds)} records/s`,
    )
  })
}

async function readyProducer(
  client: Client,
  topic: string,
  flags: ProduceFlags,
  terminal: Terminal,
): Promise<Producer> {
  const options: ProducerOptions = {
    acks: flags.acks,
    // A line may be as long as a topic's largest batch is by default.
    batchBytesMax: BATCH_BYTES_DEFAULT,
    ...(flags.compression === undefined ? {} : { compression: flags.compression }),
  }
  const producer = client.producer(topic, options)
  await producer.ready({ signal: terminal.signal })
  return producer
}

/** How a line becomes a record. */
function recordMaker(flags: ProduceFlags): MakeRecord {
  const partition = flags.partition === undefined ? {} : { partition: integerOf('-p', flags.partition, 0) }
  const headers = flags.header === undefined ? {} : { headers: headersOf('-H', flags.header) }
  const fixed = { ...headers, ...partition }
  const key = flags.key === undefined ? null : new Uint8Array(Buffer.from(flags.key))
  if (flags.input === 'json') {
    if (flags.keySeparator !== undefined) throw new UsageError('-K is for --input text: a JSON line has a "key"')
    return (line) => ({ ...(key === null ? {} : { key }), ...recordOfJson(utf8Decode(line)), ...fixed })
  }
  if (flags.keySeparator === undefined) return (line) => ({ key, value: line, ...fixed })
  if (flags.keySeparator === '') throw new UsageError('-K: the separator is empty')
  const separator = Buffer.from(withEscapes(flags.keySeparator))
  return (line) => {
    const at = Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(separator)
    if (at < 0) return { key, value: line, ...fixed }
    return { key: line.subarray(0, at), value: line.subarray(at + separator.length), ...fixed }
  }
}

/** `\t` typed in a shell means a tab. */
function withEscapes(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\0', '\0')
}

interface RecordSink {
  /** Takes a record; a promise when it must wait for room. */
  take(record: ProducerRecord): Promise<void> | undefined
  finish(): Promise<void>
}

async function feed(
  input: Readable,
  terminal: Terminal,
  makeRecord: MakeRecord,
  pace: Pace | undefined,
  sink: RecordSink,
): Promise<void> {
  const lines = new LineSplitter(BATCH_BYTES_MAX)
  let lineNumber = 0
  const one = async (line: Uint8Array): Promise<void> => {
    if (pace !== undefined) await pace.next(terminal.signal)
    await sink.take(recordAt(line, lineNumber, makeRecord))
  }
  const stop = (): unknown => input.destroy()
  terminal.signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      lines.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
      for (let line = lines.next(); line !== undefined; line = lines.next()) {
        lineNumber++
        if (pace !== undefined) await one(line)
        else {
          const waiting = sink.take(recordAt(line, lineNumber, makeRecord))
          if (waiting !== undefined) await waiting
        }
      }
    }
  } catch (error) {
    if (!terminal.signal.aborted) throw error
  }
  const last = lines.last()
  if (last !== undefined && !terminal.signal.aborted) {
    lineNumber++
    await one(last)
  }
}

function recordAt(line: Uint8Array, lineNumber: number, makeRecord: MakeRecord): ProducerRecord {
  try {
    return makeRecord(line)
  } catch (error) {
    throw new UsageError(`line ${lineNumber}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** The fast way: no promise a record. What was read before an interrupt is still delivered. */
class EnqueueSink implements RecordSink {
  readonly #producer: Producer
  readonly #terminal: Terminal

  constructor(producer: Producer, terminal: Terminal) {
    this.#producer = producer
    this.#terminal = terminal
  }

  take(record: ProducerRecord): Promise<void> | undefined {
    return this.#producer.enqueue(record) ? undefined : this.#wait(record)
  }

  async #wait(record: ProducerRecord): Promise<void> {
    do await this.#producer.ready({ signal: this.#terminal.signal })
    while (!this.#producer.enqueue(record))
  }

  async finish(): Promise<void> {
    await this.#producer.drain()
    checkNotInterrupted(this.#terminal)
  }
}

/** Prints a receipt a record, in the order of the lines, as soon as it is there. */
class ReceiptSink implements RecordSink {
  readonly #producer: Producer
  readonly #terminal: Terminal
  #receipts: Promise<Receipt>[] = []
  /** Until all receipts are printed; rejects, for good, with the first that is none. */
  #printing: Promise<void> | undefined
  #hasFailed = false

  constructor(producer: Producer, terminal: Terminal) {
    this.#producer = producer
    this.#terminal = terminal
  }

  take(record: ProducerRecord): Promise<void> | undefined {
    // The line is a view of a buffer that is read into again: send() may hold the record until there is room.
    const receipt = this.#producer.send(ownBytes(record))
    receipt.catch(() => {}) // told by #print
    this.#receipts.push(receipt)
    if (this.#printing === undefined) {
      this.#printing = this.#print()
      this.#printing.catch(() => {
        this.#hasFailed = true
      })
    }
    return this.#hasFailed || this.#receipts.length >= RECEIPTS_MAX ? this.#printing : undefined
  }

  async #print(): Promise<void> {
    while (this.#receipts.length > 0) {
      const receipts = this.#receipts
      this.#receipts = []
      for (const receipt of receipts) await this.#terminal.write(`${JSON.stringify(await receipt)}\n`)
    }
    this.#printing = undefined
  }

  async finish(): Promise<void> {
    await this.#printing
    checkNotInterrupted(this.#terminal)
  }
}

function checkNotInterrupted(terminal: Terminal): void {
  if (terminal.interruptedBy !== undefined) throw new Error('interrupted: what was read before is delivered')
}

function ownBytes(record: ProducerRecord): ProducerRecord {
  const own = (part: Uint8Array | string | null | undefined): Uint8Array | string | null =>
    part instanceof Uint8Array ? part.slice() : (part ?? null)
  return { ...record, key: own(record.key), value: own(record.value) }
}
