/**
 * `millrace produce`: one record a line. Lines are cut from chunks of bytes and go to the producer as they are: no string and no
 * promise a line. With --json a receipt a record is printed, in the order of the lines, which costs a promise each.
 *
 * Failure   a record that was given up ends the reading at once, also of an input that stays open: what follows it is not sent
 */
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { utf8Decode } from '../../base/bytes.ts'
import type { Acks, Client, CodecName, Producer, ProducerOptions, ProducerRecord, Receipt } from '../../client/index.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import { BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX } from '../../model/limits.ts'
import { headersOf, integerOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { UsageError } from '../errors.ts'
import { checkedFile } from '../files.ts'
import { LineSplitter } from '../line-splitter.ts'
import { Pace } from '../pace.ts'
import { Progress } from '../progress.ts'
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
  const totalBytes = flags.file === undefined ? 0 : checkedFile('--file', flags.file)
  await withClient(terminal, async (client) => {
    const producer = await readyProducer(client, topic, flags, terminal)
    const startedMs = performance.now()
    const input = openInput(flags, terminal)
    const onFailure = (error: Error): unknown => input.destroy(error)
    const sink = terminal.isJson
      ? new ReceiptSink(producer, terminal, onFailure)
      : new EnqueueSink(producer, terminal, onFailure)
    const progress = await Progress.start(terminal.progressStream, { what: 'producing', totalBytes })
    try {
      const fault = await feed({ input, terminal, makeRecord, pace, sink, progress })
      await sink.finish()
      if (fault !== undefined) throw fault
    } catch (error) {
      producer.abort()
      throw error
    } finally {
      progress.end()
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

function openInput(flags: ProduceFlags, terminal: Terminal): Readable {
  if (flags.file === undefined && terminal.isStdinTyped) terminal.say('a line is a record; Ctrl-D ends')
  const input = flags.file === undefined ? process.stdin : createReadStream(flags.file, { highWaterMark: READ_BYTES })
  input.on('error', () => {}) // told by whoever reads it, and by nobody once it is read
  return input
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

interface Feed {
  readonly input: Readable
  readonly terminal: Terminal
  readonly makeRecord: MakeRecord
  readonly pace: Pace | undefined
  readonly sink: RecordSink
  readonly progress: Progress
}

/** Why a line cannot be a record that is sent. */
class LineFault extends Error {
  readonly fault: Error

  constructor(fault: Error) {
    super(fault.message)
    this.fault = fault
  }
}

/**
 * Hands all lines to the sink. Answers what is wrong with the first line that cannot be sent: those before it are with the
 * sink, it and those after it are not, so that who mends it knows where to go on.
 */
async function feed(parts: Feed): Promise<Error | undefined> {
  const { input, terminal } = parts
  const stop = (): unknown => input.destroy()
  terminal.signal.addEventListener('abort', stop, { once: true })
  try {
    await feedLines(parts)
  } catch (error) {
    if (error instanceof LineFault) return error.fault
    if (!terminal.signal.aborted) throw error
  }
  return undefined
}

async function feedLines({ input, terminal, makeRecord, pace, sink, progress }: Feed): Promise<void> {
  const lines = new LineSplitter(BATCH_BYTES_MAX)
  let lineNumber = 0
  const take = (line: Uint8Array): Promise<void> | undefined => {
    lineNumber++
    return takeLine(sink, makeRecord, line, lineNumber)
  }
  for await (const chunk of input as AsyncIterable<Buffer>) {
    lines.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
    for (let line = nextOf(lines, lineNumber); line !== undefined; line = nextOf(lines, lineNumber)) {
      if (pace !== undefined) await pace.next(terminal.signal)
      const waiting = take(line)
      if (waiting !== undefined) await waiting
    }
    progress.add(chunk.length)
  }
  const last = lines.last()
  if (last === undefined || terminal.signal.aborted) return
  if (pace !== undefined) await pace.next(terminal.signal)
  await take(last)
}

function nextOf(lines: LineSplitter, lineNumber: number): Uint8Array | undefined {
  try {
    return lines.next()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new LineFault(new MillraceError('MESSAGE_TOO_LARGE', `line ${lineNumber + 1}: ${error.message}`))
  }
}

function takeLine(
  sink: RecordSink,
  makeRecord: MakeRecord,
  line: Uint8Array,
  lineNumber: number,
): Promise<void> | undefined {
  try {
    return sink.take(makeRecord(line))
  } catch (error) {
    const text = `line ${lineNumber}: ${error instanceof Error ? error.message : String(error)}`
    throw new LineFault(isMillraceError(error) ? new MillraceError(error.code, text) : new UsageError(text))
  }
}

/** The fast way: no promise a record. What was read before an interrupt is still delivered. */
class EnqueueSink implements RecordSink {
  readonly #producer: Producer
  readonly #terminal: Terminal

  constructor(producer: Producer, terminal: Terminal, onFailure: (error: Error) => void) {
    this.#producer = producer
    this.#terminal = terminal
    producer.on('batchFailed', ({ error }) => onFailure(error))
  }

  take(record: ProducerRecord): Promise<void> | undefined {
    const failure = this.#producer.takeFailure()
    if (failure !== undefined) return Promise.reject(failure)
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
  readonly #onFailure: (error: Error) => void

  constructor(producer: Producer, terminal: Terminal, onFailure: (error: Error) => void) {
    this.#producer = producer
    this.#terminal = terminal
    this.#onFailure = onFailure
  }

  take(record: ProducerRecord): Promise<void> | undefined {
    // The line is a view of a buffer that is read into again: send() may hold the record until there is room.
    const receipt = this.#producer.send(ownBytes(record))
    receipt.catch(() => {}) // told by #print
    this.#receipts.push(receipt)
    if (this.#printing === undefined) {
      this.#printing = this.#print()
      this.#printing.catch((error: Error) => {
        this.#hasFailed = true
        this.#onFailure(error)
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
