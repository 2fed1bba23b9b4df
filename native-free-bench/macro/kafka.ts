/**
 * Kafka clients beside native ones, against the same broker process in the same run: what the Kafka door costs. The C client is of
 * this repository, on librdkafka, and compiled when the bench begins (gcc and Debian's librdkafka-dev); where it cannot be that is said, and
 * kafkajs is measured alone.
 *
 *   throughput  produce and consume, 1 KiB and 100 B, 1 and 6 partitions: rates, CPU of broker and client, broker CPU kafka/native     kafka/throughput.ts
 *   latency     at 1,000/s: produce to acknowledgement, and end to end                                                                    kafka/latency.ts
 *   polling     CPU of the broker while a consumer waits at the tail of 100 and 1,000 partitions                                        kafka/polling.ts
 *
 *   node dist/native-free-bench/macro/kafka.js [--smoke] [--part NAME,NAME] [--runs 5] [--profile NAME] [--fsync interval] [--json] [--cpu-prof DIR]
 *     throughput [--size 1024,100] [--partitions 1,6] [--records N] [--clients native,librdkafka,kafkajs] · latency [--rate 1000] [--seconds 10] ·
 *     polling [--poll-partitions 100,1000] [--seconds 10]
 *
 * The mark: broker CPU per million records at most 1.2 times what native clients cost.
 */
import { benchOptions } from '../harness/options.ts'
import { Report } from '../harness/report.ts'
import type { KafkaPart } from '../kafka/kafka-part.ts'
import { latencyPart } from '../kafka/latency.ts'
import { compileLibrdkafkaClient } from '../kafka/librdkafka.ts'
import { pollingPart } from '../kafka/polling.ts'
import { throughputPart } from '../kafka/throughput.ts'

const PARTS: readonly KafkaPart[] = [throughputPart, latencyPart, pollingPart]
const options = benchOptions()
const report = new Report('macro/kafka', options)
const asked = options.text('part', '')
const parts = asked === '' ? PARTS : asked.split(',').map(partNamed)

function partNamed(name: string): KafkaPart {
  const part = PARTS.find((each) => each.name === name)
  if (part === undefined) throw new Error(`no part '${name}'. Known: ${PARTS.map((each) => each.name).join(', ')}`)
  return part
}

const librdkafka = compileLibrdkafkaClient()
report.note(
  librdkafka.kind === 'found' ? `librdkafka ${librdkafka.version}` : `librdkafka is left out: ${librdkafka.reason}`,
)
for (const part of parts) {
  report.note(`${part.name}:`)
  await part.run({ report, options, librdkafka })
}
