/**
 * Web Streams over a producer and a consumer, for pipelines: `source.pipeTo(producer.writable())`,
 * `consumer.readable().pipeThrough(…)`. A promise or two a record: enqueue() and batches() are the fast ways.
 *
 * Backpressure  a write waits where enqueue() would answer false; a record is read from the consumer only when one is asked for,
 *               so positions() stays true to what was read
 * Failure       a record that was given up, and that nobody was told of, errors the writable at the next write or at its close;
 *               what the consumer throws errors the readable
 */
import type { MillraceError } from '../model/errors.ts'

/** The part of a producer that a stream needs. */
interface RecordSink<Record> {
  enqueue(record: Record): boolean
  ready(options: { signal?: AbortSignal }): Promise<void>
  drain(): Promise<void>
  takeFailure(): MillraceError | undefined
}

/** Closing it drains; aborting it stops the waiting, and what was written before goes on its way. The producer stays open. */
export function writableOf<Record>(sink: RecordSink<Record>): WritableStream<Record> {
  return new WritableStream<Record>({
    start: (controller) => sink.ready({ signal: signalOf(controller) }),
    write: (record, controller) => {
      const failure = sink.takeFailure()
      if (failure !== undefined) throw failure
      return sink.enqueue(record) ? undefined : enqueueLater(sink, record, signalOf(controller))
    },
    close: () => sink.drain(),
  })
}

/** Fires at abort(), when a write may still wait. (The type declarations of Node 20 lack what it has.) */
function signalOf(controller: WritableStreamDefaultController): AbortSignal {
  return (controller as unknown as { readonly signal: AbortSignal }).signal
}

async function enqueueLater<Record>(sink: RecordSink<Record>, record: Record, signal: AbortSignal): Promise<void> {
  do await sink.ready({ signal })
  while (!sink.enqueue(record))
}

/** Ends where the consumer ends; cancelling it closes the consumer. */
export function readableOf<Record>(source: AsyncIterable<Record>): ReadableStream<Record> {
  const iterator = source[Symbol.asyncIterator]()
  return new ReadableStream<Record>(
    {
      pull: async (controller) => {
        const next = await iterator.next()
        if (next.done === true) controller.close()
        else controller.enqueue(next.value)
      },
      cancel: async () => {
        await iterator.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}
