/**
 * Partition decisions: what a controller must write for partitions now: leaders and in-sync sets first, then moves, then preferred leaders;
 * pure.
 *
 * Ordering    one step of a partition at a time: the next one is decided from what the store says after it
 * Limits      a decision costs what its partition's replicas cost
 */
import type { TopicConfig } from '../../model/topic-config.ts'
import { parseTopicConfig } from '../../model/topic-config.ts'
import { NO_LEADER, type TopicState } from '../keys.ts'
import type { TopicRecord } from '../topics.ts'
import { decideLeadership, type ElectionContext } from './leader-election.ts'
import type { ClusterMembers } from './membership.ts'
import type { PartitionWrite } from './partition-writer.ts'
import { decidePreferredLeader } from './preferred-leaders.ts'
import { decideMove } from './reassignment.ts'

export interface PartitionDecision extends PartitionWrite {
  readonly why: 'leader' | 'in-sync' | 'move' | 'preferred'
  readonly warning: string | undefined
}

/** A topic's configuration over the cluster's defaults, parsed once for each of its states. */
export class TopicConfigs {
  readonly #defaults: TopicConfig
  readonly #parsed = new WeakMap<TopicState, TopicConfig>()

  constructor(defaults: TopicConfig) {
    this.#defaults = defaults
  }

  of(state: TopicState): TopicConfig {
    let config = this.#parsed.get(state)
    if (config === undefined) this.#parsed.set(state, (config = parseTopicConfig(state.config, this.#defaults)))
    return config
  }
}

export function electionContextOf(
  topic: TopicRecord,
  partition: number,
  members: ClusterMembers,
  configs: TopicConfigs,
): ElectionContext {
  return { topicId: topic.topicId, partition, members, config: configs.of(topic.state) }
}

/** The next step of a partition; undefined when it is as it should be. */
export function decidePartition(
  topic: TopicRecord,
  partition: number,
  members: ClusterMembers,
  configs: TopicConfigs,
): PartitionDecision | undefined {
  const state = topic.partitions[partition]!
  const version = topic.partitionVersions[partition]!
  const context = electionContextOf(topic, partition, members, configs)
  const decision = decideLeadership(state, context)
  if (decision !== undefined) {
    const why = decision.state.leaderEpoch === state.leaderEpoch ? 'in-sync' : 'leader'
    return { topic, partition, version, next: decision.state, why, warning: decision.warning }
  }
  const next = decideMove(state, context)
  return next && { topic, partition, version, next, why: 'move', warning: undefined }
}

/** Leadership back to the preferred replica. */
export function decidePreferred(
  topic: TopicRecord,
  partition: number,
  members: ClusterMembers,
  configs: TopicConfigs,
): PartitionDecision | undefined {
  const context = electionContextOf(topic, partition, members, configs)
  const next = decidePreferredLeader(topic.partitions[partition]!, context)
  const version = topic.partitionVersions[partition]!
  return next && { topic, partition, version, next, why: 'preferred', warning: undefined }
}

/** A leader for a partition that has none, whatever the topic allows: any replica that lives, where nobody else can. */
export function decideUnclean(
  topic: TopicRecord,
  partition: number,
  members: ClusterMembers,
  configs: TopicConfigs,
): PartitionDecision | undefined {
  const state = topic.partitions[partition]!
  if (state.leader !== NO_LEADER) return undefined
  const context = electionContextOf(topic, partition, members, configs)
  const config = { ...context.config, uncleanLeaderElection: true }
  const decision = decideLeadership(state, { ...context, config })
  if (decision === undefined || decision.state.leader === NO_LEADER) return undefined
  const version = topic.partitionVersions[partition]!
  return { topic, partition, version, next: decision.state, why: 'leader', warning: decision.warning }
}
