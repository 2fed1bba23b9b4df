/**
 * What is asked of shards in pages, put together: the producers of a partition, the bytes of all logs.
 *
 * Thread    main
 * Failure   rejects with MillraceError, as ShardLink.control() does
 */
import type { PartitionRef } from '../model/ids.ts'
import {
  ControlOperation,
  type DescribeProducersAnswer,
  type DescribeProducersBody,
  type DescribeSizesAnswer,
  type DescribeSizesBody,
  type PartitionProducer,
} from '../ring/control-messages.ts'
import type { ShardLink } from './shard-link.ts'

type AskedLink = Pick<ShardLink, 'control'>

/** Of a partition that is led here, by producer id. */
export async function producersOf(link: AskedLink, partitionRef: PartitionRef): Promise<PartitionProducer[]> {
  const producers: PartitionProducer[] = []
  for (let after: number | null = -1; after !== null; ) {
    const body: DescribeProducersBody = { partitionRef, after }
    const page: DescribeProducersAnswer = await link.control(ControlOperation.DESCRIBE_PRODUCERS, body)
    for (const producer of page.producers) producers.push(producer)
    after = page.nextAfter
  }
  return producers
}

/** Bytes of every log on these shards, whatever its replica's role. */
export async function logSizes(links: readonly AskedLink[]): Promise<Map<PartitionRef, number>> {
  const sizes = new Map<PartitionRef, number>()
  await Promise.all(
    links.map(async (link) => {
      for (let after: number | null = -1; after !== null; ) {
        const body: DescribeSizesBody = { after }
        const page: DescribeSizesAnswer = await link.control(ControlOperation.DESCRIBE_SIZES, body)
        const { refsAndBytes } = page
        for (let at = 0; at < refsAndBytes.length; at += 2)
          sizes.set(refsAndBytes[at]! as PartitionRef, refsAndBytes[at + 1]!)
        after = page.nextAfter
      }
    }),
  )
  return sizes
}
