/** Which topics a classic group reads: known of consumers alone, and only while all of them say it in Kafka's own way. */
import { type ClassicGroup, metadataOf } from './classic-state.ts'
import { topicsOfSubscription } from './embedded-protocol.ts'

/** The type of the groups whose members' bytes can be read. */
export const CONSUMER_TYPE = 'consumer'

const NOTHING: ReadonlySet<string> = new Set()

export function subscribedOf({ protocolType, protocolName, members }: ClassicGroup): ClassicGroup['subscribed'] {
  const subscribed = new Set<string>()
  if (members.size === 0) return subscribed
  if (protocolType !== CONSUMER_TYPE) return 'unknown'
  for (const member of members.values()) {
    const topics = topicsOfSubscription(metadataOf(member, protocolName))
    if (topics === undefined) return 'unknown'
    for (const topic of topics) subscribed.add(topic)
  }
  return subscribed
}

/**
 * What is known now. Nobody is in an empty group, whatever it was loaded as; while members come together nobody knows what they will read,
 * and what the generation before read says nothing of those that are new.
 */
export function subscribedNow({ state, subscribed }: ClassicGroup): ClassicGroup['subscribed'] {
  if (state === 'Empty') return NOTHING
  return state === 'PreparingRebalance' ? 'unknown' : subscribed
}
