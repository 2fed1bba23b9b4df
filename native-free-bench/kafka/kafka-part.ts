/** What a part of macro/kafka is given. */
import type { BenchOptions } from '../harness/options.ts'
import type { Report } from '../harness/report.ts'
import type { FoundLibrdkafka } from './librdkafka.ts'

export interface KafkaPartContext {
  readonly report: Report
  readonly options: BenchOptions
  readonly librdkafka: FoundLibrdkafka
}

export interface KafkaPart {
  readonly name: string
  run(context: KafkaPartContext): Promise<void>
}
