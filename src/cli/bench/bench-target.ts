/**
 * What every benchmark does around its workload: a topic of its own that is deleted whatever happens, clients tuned for a
 * profile, the records shared among producers, and the check that the broker has what was acknowledged.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { CLIENT_PROFILES, type ClientProfile } from '../../client/client-profiles.ts'
import type { Client } from '../../client/index.ts'
import type { ProfileName } from '../../config/profiles.ts'
import { type ProducePlan, sharesOf } from './bench-plan.ts'
import type { BenchResult } from './bench-result.ts'
import type { ClientJob } from './client-threads.ts'

/** The broker and how to reach it. */
export interface BenchTarget {
  readonly client: Client
  readonly url: string
  readonly token?: string | undefined
  readonly signal?: AbortSignal
}

/** A result with what it was made with; the fields of BenchResult are fixed, the others are there for people. */
export type BenchReport = BenchResult & { readonly bench: string; readonly [detail: string]: unknown }

/** What every benchmark asks for. */
export const ACKS = 'all'
const VERIFY_MS_MAX = 30_000
const MS_PER_LOOK = 20

export interface BenchTopic {
  readonly name: string
  readonly partitions: number
}

/** Runs `body` with a new topic, deleted afterwards whatever happens. */
export async function withTopic<T>(
  { client, signal }: BenchTarget,
  kind: string,
  partitions: number | undefined,
  body: (topic: BenchTopic) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const name = `millrace-bench-${kind}-${randomUUID().slice(0, 8)}`
  const created = await client.admin.topics.create(name, partitions === undefined ? {} : { partitions })
  try {
    return await body({ name, partitions: created.partitions })
  } finally {
    await client.admin.topics.delete(name)
  }
}

export interface Tuning {
  readonly name: string
  readonly client: ClientProfile
}

/** The profile asked for, else the broker's own. */
export async function tuningOf({ client, signal }: BenchTarget, asked: ProfileName | undefined): Promise<Tuning> {
  const cluster = await client.admin.describeCluster(signal === undefined ? {} : { signal })
  const name = asked ?? cluster.brokers[0]?.profile ?? 'balanced'
  return { name, client: CLIENT_PROFILES[name as ProfileName] ?? CLIENT_PROFILES.balanced }
}

/** The records of a plan shared among producers; they go to the given partitions in turn, or by key. */
export function produceJobs(
  topic: BenchTopic,
  plan: Pick<ProducePlan, 'api' | 'records' | 'recordBytes' | 'ratePerSec' | 'seconds'>,
  tuning: Tuning,
  producers: number,
  partitions?: readonly number[],
): ClientJob[] {
  const { api, recordBytes, ratePerSec, seconds } = plan
  return sharesOf(plan.records, producers).map((records, index) => ({
    kind: 'produce',
    options: {
      ...{ topic: topic.name, api, recordBytes, records, seed: index + 1 },
      producer: { ...tuning.client.producer, acks: ACKS },
      ...(partitions === undefined ? {} : { partitions }),
      ...(seconds === undefined ? {} : { seconds }),
      ...(ratePerSec === undefined ? {} : { ratePerSec: ratePerSec / producers }),
    },
  }))
}

/** Throws unless the topic ends where it must with so many records in it. Followers of the high watermark get a moment. */
export async function checkStored(target: BenchTarget, topic: BenchTopic, records: number): Promise<void> {
  const untilMs = performance.now() + VERIFY_MS_MAX
  const options = target.signal === undefined ? {} : { signal: target.signal }
  for (;;) {
    const ends = await target.client.admin.topics.offsets(topic.name, 'end', options)
    const stored = ends.reduce((sum, { offset }) => sum + offset, 0)
    if (stored === records) return
    if (stored > records || performance.now() > untilMs)
      throw new Error(`the broker has ${stored} records, ${records} were acknowledged`)
    await setTimeout(MS_PER_LOOK, undefined, options)
  }
}
