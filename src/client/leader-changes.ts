/**
 * Leader changes: which errors of a partition's leader make a client look who leads, and requests to leaders that are asked again
 * until the one that leads has answered.
 */
import { ERRORS, type ErrorCode, isMillraceError, type MillraceError } from '../model/errors.ts'
import { abortable, sleep } from './abort.ts'
import { backoffMs } from './backoff.ts'
import type { ClientRuntime } from './client-runtime.ts'
import type { MetadataCache, TopicInfo } from './metadata-cache.ts'

/** Between attempts: a leader that is gone is followed by another one within seconds. */
const RETRY = { delayMsMin: 50, delayMsMax: 500 }

/** Another broker may lead by now, or nobody: metadata says. */
export function mayHaveMoved({ code }: MillraceError): boolean {
  // Nobody answers where the leader was; or an epoch that the broker does not know yet: it is behind, or not the leader any more.
  return ERRORS[code].refresh || code === 'CONNECTION_FAILED' || code === 'UNKNOWN_LEADER_EPOCH'
}

/** The leader is the one, and cannot do it now, or does not answer: it may mend, or another one may come to lead. */
export function mayMove({ code }: MillraceError): boolean {
  return MOVE_CODES.includes(code)
}

const MOVE_CODES: readonly ErrorCode[] = [
  ...(['NOT_ENOUGH_REPLICAS', 'NOT_ENOUGH_REPLICAS_AFTER_APPEND', 'OFFSET_NOT_AVAILABLE'] as const),
  'REQUEST_TIMED_OUT',
]

export interface LeaderRetryParts {
  readonly runtime: ClientRuntime
  readonly metadata: MetadataCache
}

export interface LeaderRetryOptions {
  /** From now, over all attempts; 0 = one attempt. */
  readonly patienceMs: number
  readonly signal?: AbortSignal | undefined
}

/** Asks leaders by what is known of the topic, and again by newer metadata while errors say that this may help. It must be safe to repeat. */
export async function whileLeadersMove<T>(
  { runtime, metadata }: LeaderRetryParts,
  topic: string,
  attempt: (info: TopicInfo) => Promise<T>,
  { patienceMs, signal }: LeaderRetryOptions,
): Promise<T> {
  const deadlineMs = runtime.clock.monotonicMs() + patienceMs
  for (let failures = 1; ; failures++) {
    try {
      return await attempt(await abortable(metadata.get(topic), signal))
    } catch (error) {
      if (!isMillraceError(error) || !error.retriable) throw error
      const delayMs = backoffMs(runtime.prng, failures, RETRY)
      if (runtime.clock.monotonicMs() + delayMs >= deadlineMs) throw error
      await sleep(runtime, delayMs, signal)
      await abortable(metadata.refresh(topic), signal)
    }
  }
}
