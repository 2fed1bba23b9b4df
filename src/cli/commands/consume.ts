/** `millrace consume`: records to stdout, from batches into large writes. */
import {
  type ConsumedBatch,
  type Consumer,
  type ConsumerOptions,
  isMillraceError,
  MillraceError,
} from '../../client/index.ts'
import { integerOf, partitionsOf, positionOf } from '../arguments.ts'
import { withClient } from '../connect.ts'
import { UsageError } from '../errors.ts'
import { compileFormat, OutputBuffer, writeRecord } from '../record-format.ts'
import { jsonOfRecord } from '../record-json.ts'
import type { GlobalOptions, Terminal } from '../terminal.ts'
import { consumeGroup } from './consume-group.ts'

export interface ConsumeFlags extends GlobalOptions {
  readonly offset?: string
  readonly count?: string
  readonly exitAtEnd?: boolean
  readonly group?: string
  readonly partitions?: string
  readonly format?: string
  readonly semantics?: string
}

export async function consume(terminal: Terminal, flags: ConsumeFlags, topics: string[]): Promise<void> {
  if (flags.group !== undefined) return consumeAsMember(terminal, flags, flags.group, topics)
  if (flags.semantics !== undefined) throw new UsageError('--semantics goes with -g')
  const countMax = flags.count === undefined ? Number.POSITIVE_INFINITY : integerOf('-n', flags.count, 0)
  const pieces = compileFormat(flags.format ?? '%v\\n')
  const options: ConsumerOptions = {
    from: positionOf('-o', flags.offset ?? 'end'),
    ...(flags.exitAtEnd === true ? { to: 'end' as const } : {}),
    ...(flags.partitions === undefined ? {} : { partitions: partitionsOf('-p', flags.partitions) }),
    signal: terminal.signal,
  }
  if (countMax === 0) return
  await withClient(terminal, async (client) => {
    const consumer = client.consume(topics, options)
    await consumer.start()
    terminal.explain(describeStart(consumer))
    const count = await print(consumer, terminal, { pieces, countMax }).catch((error: unknown) => {
      if (!isMillraceError(error) || error.code !== 'OFFSET_OUT_OF_RANGE') throw error
      const what = error.message.split(';')[0]
      throw new MillraceError(error.code, `${what}; -o start begins at the oldest record, -o end at the next`)
    })
    terminal.explain(`${count} records`)
    if (count === 0 && flags.exitAtEnd === true && flags.offset === undefined)
      terminal.hint(
        'nothing to read: -e stops at the end, and -o is end unless it is given; -o start reads all there is',
      )
  })
}

async function consumeAsMember(
  terminal: Terminal,
  flags: ConsumeFlags,
  groupId: string,
  topics: readonly string[],
): Promise<void> {
  if (flags.partitions !== undefined)
    throw new UsageError('-p does not go with -g: the group shares the partitions out')
  if (flags.semantics === 'exactly-once')
    throw new UsageError(
      '--semantics exactly-once: what is printed cannot be taken back, so it cannot be part of a transaction; take at-least-once. ' +
        "A program can: mq.group(id, topics, { semantics: 'exactly-once' }).run(handler)",
    )
  const countMax = flags.count === undefined ? Number.POSITIVE_INFINITY : integerOf('-n', flags.count, 0)
  const pieces = compileFormat(flags.format ?? '%v\\n')
  const from = positionOf('-o', flags.offset ?? 'end')
  if (countMax === 0) return
  const output = new OutputBuffer()
  await withClient(terminal, async (client) => {
    const count = await consumeGroup(client, terminal, {
      ...{ groupId, topics, from, countMax, exitAtEnd: flags.exitAtEnd === true },
      ...(flags.semantics === undefined ? {} : { semantics: flags.semantics as 'at-most-once' | 'at-least-once' }),
      print: async (batch, most) => {
        const printed = await printBatch(terminal, output, { batch, pieces, countMax: most })
        await pass(terminal, output)
        return printed
      },
    })
    terminal.explain(`${count} records`)
  })
}

/** Writes records until the consumer ends or there are enough; answers how many. */
async function print(
  consumer: Consumer,
  terminal: Terminal,
  { pieces, countMax }: { readonly pieces: ReturnType<typeof compileFormat>; readonly countMax: number },
): Promise<number> {
  let count = 0
  const output = new OutputBuffer()
  for await (const batch of consumer.batches()) {
    count += (await printBatch(terminal, output, { batch, pieces, countMax: countMax - count })).count
    await pass(terminal, output)
    if (count >= countMax) break
  }
  return count
}

async function printBatch(
  terminal: Terminal,
  output: OutputBuffer,
  of: { readonly batch: ConsumedBatch; readonly pieces: ReturnType<typeof compileFormat>; readonly countMax: number },
): Promise<{ count: number; lastOffset: number }> {
  const { batch, pieces, countMax } = of
  const record = batch.reader()
  let [count, lastOffset] = [0, -1]
  while (count < countMax && record.next()) {
    if (terminal.isJson) output.addText(`${jsonOfRecord(batch.topic, batch.partition, record)}\n`)
    else writeRecord(output, pieces, batch, record)
    count++
    lastOffset = record.offset
    if (output.isFull) await pass(terminal, output)
  }
  return { count, lastOffset }
}

async function pass(terminal: Terminal, output: OutputBuffer): Promise<void> {
  const bytes = output.take()
  if (bytes !== undefined) await terminal.write(bytes)
}

function describeStart(consumer: Consumer): string {
  const places = consumer.positions().map(({ topic, partition, offset }) => `${topic}/${partition} from ${offset}`)
  return places.join(', ')
}
