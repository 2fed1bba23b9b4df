/** Who leads now, for the answer to a client that came to the wrong broker (KIP-951): it need not ask for metadata. */
import { errorNumberOf } from '../../../model/errors.ts'
import type { KafkaBroker, KafkaCall } from '../kafka-handler.ts'

const MOVED: ReadonlySet<number> = new Set([
  errorNumberOf('NOT_LEADER_OR_FOLLOWER'),
  errorNumberOf('FENCED_LEADER_EPOCH'),
])

/** Undefined where the error does not say that somebody else leads, or nobody is known to. */
export function leaderNow(
  { gateway }: Pick<KafkaCall, 'gateway'>,
  topic: string,
  partition: number,
  errorCode: number,
): { readonly leaderId: number; readonly leaderEpoch: number } | undefined {
  if (!MOVED.has(errorCode)) return undefined
  const proxy = gateway.router.byName(topic)?.partitions[partition]
  const leader = proxy === undefined ? undefined : gateway.leaderOf(proxy)
  return leader === undefined ? undefined : { leaderId: leader.nodeId, leaderEpoch: proxy!.leaderEpoch }
}

export function endpointsOf(call: Pick<KafkaCall, 'brokers'>, nodeIds: ReadonlySet<number>): KafkaBroker[] {
  return call.brokers().filter(({ nodeId }) => nodeIds.has(nodeId))
}
