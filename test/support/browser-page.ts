/**
 * The page of test/integration/browser.test.ts: bundled as a user's code would be and run in a browser. Produces, tails,
 * remembers where it was, reloads itself, goes on from there, and reports by a request to its own server. With `?mode=refused`
 * it only tries to connect.
 */
import { crc32c } from '../../src/base/crc32c.ts'
import { type Client, connect, isMillraceError, json, topic } from '../../src/client/browser.ts'

/** What of a browser's globals is used here; the compiler of this project knows Node's alone. */
declare const location: { readonly search: string; reload(): void }
declare const sessionStorage: { getItem(key: string): string | null; setItem(key: string, value: string): void }

export interface BrowserReport {
  readonly mode: string
  readonly error?: string
  readonly records?: number
  readonly bytes?: number
  readonly produceMs?: number
  readonly crcMegabytesPerSecond?: number
  readonly connectionsLost?: number
  readonly prefetchPeakBytes?: number
  readonly beforeReload?: readonly string[]
  readonly afterReload?: readonly string[]
}

interface Remembered {
  readonly next: readonly { readonly partition: number; readonly offset: number }[]
  readonly seen: readonly string[]
  readonly report: BrowserReport
}

const BULK_RECORDS = 24 * 1024
const VALUE_BYTES = 1024
const PREFETCH_BYTES_MAX = 2 * 1024 * 1024
const FETCH_BYTES_MAX = 1024 * 1024
const CRC_BYTES = 8 * 1024 * 1024
const MEMORY = 'millrace'
const visits = topic('visits', { value: json<{ readonly visit: string }>() })

/** 24 MiB into three partitions while they are tailed by a slow reader with little room: credit is used up and lent again. */
async function bulk(mq: Client): Promise<BrowserReport> {
  await mq.admin.topics.create('bulk', { partitions: 3 })
  const producer = mq.producer('bulk')
  const tail = mq.consume('bulk', {
    from: 'start',
    prefetchBytesMax: PREFETCH_BYTES_MAX,
    fetchBytesMax: FETCH_BYTES_MAX,
  })
  await tail.start()
  const startedMs = performance.now()
  const producing = fill().then(() => performance.now() - startedMs)
  let [records, bytes, prefetchPeakBytes] = [0, 0, 0]
  const next = [0, 0, 0]
  for await (const batch of tail.batches()) {
    prefetchPeakBytes = Math.max(prefetchPeakBytes, tail.stats().bufferedBytes)
    const record = batch.reader()
    while (record.next()) {
      if (record.offset !== next[batch.partition]!++) throw new Error(`bulk/${batch.partition}: ${record.offset} came`)
      const value = record.value!
      const number = new DataView(value.buffer, value.byteOffset).getUint32(0)
      if (number % 3 !== batch.partition || value[VALUE_BYTES - 1] !== number % 251)
        throw new Error(`bulk/${batch.partition} at ${record.offset}: not what was sent`)
      records++
      bytes += value.length
    }
    await new Promise((resolve) => setTimeout(resolve, 1))
    if (records === BULK_RECORDS) break
  }
  const produceMs = await producing
  const { connectionsLost } = mq.stats()
  return { mode: 'full', records, bytes, produceMs, connectionsLost, prefetchPeakBytes }

  async function fill(): Promise<void> {
    await producer.ready()
    for (let number = 0; number < BULK_RECORDS; number++) {
      const value = new Uint8Array(VALUE_BYTES)
      new DataView(value.buffer).setUint32(0, number)
      value[VALUE_BYTES - 1] = number % 251
      while (!producer.enqueue({ value, partition: number % 3 })) await producer.ready()
    }
    await producer.close()
  }
}

async function firstVisit(mq: Client): Promise<Remembered> {
  const report = await bulk(mq)
  await mq.admin.topics.create(visits.name, { partitions: 2 })
  const producer = mq.producer(visits)
  for (let index = 0; index < 20; index++)
    await producer.send({ value: { visit: `first ${index}` }, partition: index % 2 })
  // Seven of each partition are read; the reload comes in the middle.
  const consumers = [0, 1].map((partition) => mq.consume(visits, { from: 'start', partitions: [partition] }))
  const seen: string[] = []
  for (const consumer of consumers) {
    const reader = consumer.readable().getReader()
    for (let count = 0; count < 7; count++) seen.push((await reader.read()).value!.value!.visit)
  }
  const next = consumers.flatMap((consumer) => consumer.positions())
  return { next, seen, report }
}

async function secondVisit(mq: Client, remembered: Remembered): Promise<BrowserReport> {
  const writer = mq.producer(visits, { partitioner: 'round-robin' }).writable().getWriter()
  for (let index = 0; index < 6; index++) await writer.write({ value: { visit: `second ${index}` } })
  await writer.close()
  const afterReload: string[] = []
  for (const { partition, offset } of remembered.next)
    for await (const record of mq.consume(visits, { from: { offset }, to: 'end', partitions: [partition] }))
      afterReload.push(record.value!.visit)
  return {
    ...remembered.report,
    beforeReload: remembered.seen,
    afterReload,
    crcMegabytesPerSecond: crcMegabytesPerSecond(),
  }
}

function crcMegabytesPerSecond(): number {
  const bytes = new Uint8Array(CRC_BYTES).map((_, index) => index)
  for (let round = 0; round < 3; round++) crc32c(bytes)
  const startedMs = performance.now()
  crc32c(bytes)
  return CRC_BYTES / 1000 / (performance.now() - startedMs)
}

/** What to report; undefined = the page reloads and goes on. */
async function visit(mode: string, broker: string): Promise<BrowserReport | undefined> {
  const mq = await connect(broker, { clientName: 'browser-test' })
  try {
    if (mode === 'refused') return { mode }
    const memory = sessionStorage.getItem(MEMORY)
    if (memory !== null) return await secondVisit(mq, JSON.parse(memory) as Remembered)
    sessionStorage.setItem(MEMORY, JSON.stringify(await firstVisit(mq)))
    return undefined
  } finally {
    await mq.close()
  }
}

const search = new URLSearchParams(location.search)
const mode = search.get('mode') ?? 'full'
let report: BrowserReport | undefined
try {
  report = await visit(mode, search.get('broker')!)
} catch (error) {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  report = { mode, error: isMillraceError(error) ? `${error.code}: ${text}` : text }
}
if (report === undefined) location.reload()
else await fetch('/report', { method: 'POST', body: JSON.stringify(report) })
