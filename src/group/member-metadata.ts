/**
 * What a heartbeat says of its member, checked and merged with what was known: null and -1 mean unchanged.
 *
 * Failure  INVALID_REQUEST, INVALID_SESSION_TIMEOUT, UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION
 */
import { utf8Bytes } from '../base/utf8-write.ts'
import { isTopicName } from '../model/ids.ts'
import { MEMBER_TOPICS_MAX, TOPIC_PATTERN_BYTES_MAX } from '../model/limits.ts'
import type { GroupContext } from './group-context.ts'
import type { Group, MemberMetadata } from './group-state.ts'
import { checkNames } from './request-checks.ts'
import { type GroupRefusal, type HeartbeatRequest, refuse } from './requests.ts'
import { PatternMatches } from './topic-pattern.ts'

/** `before` is undefined for a member that joins. */
export function mergeMetadata(
  context: GroupContext,
  group: Group | undefined,
  request: HeartbeatRequest,
  before: MemberMetadata | undefined,
): MemberMetadata | GroupRefusal {
  const { config } = context
  const pattern =
    request.subscribedPattern === '' ? null : (request.subscribedPattern ?? before?.subscribedPattern ?? null)
  const metadata: MemberMetadata = {
    instanceId: request.instanceId ?? before?.instanceId ?? null,
    rackId: request.rackId ?? before?.rackId ?? null,
    clientId: request.clientId,
    clientHost: request.clientHost,
    sessionTimeoutMs: orElse(request.sessionTimeoutMs, before?.sessionTimeoutMs ?? config.sessionTimeoutMs),
    rebalanceTimeoutMs: orElse(request.rebalanceTimeoutMs, before?.rebalanceTimeoutMs ?? config.rebalanceTimeoutMs),
    subscribedTopics:
      request.subscribedTopics === null
        ? (before?.subscribedTopics ?? [])
        : [...new Set(request.subscribedTopics)].sort(),
    subscribedPattern: pattern,
    serverAssignor: request.serverAssignor ?? before?.serverAssignor ?? null,
  }
  const { instanceId, rackId, clientId, clientHost, serverAssignor } = metadata
  return (
    checkNames({ instanceId, rackId, clientId, clientHost, serverAssignor }) ??
    checkTimeouts(context, metadata) ??
    checkTopics(metadata) ??
    checkAssignor(context, serverAssignor) ??
    checkPattern(context, group, pattern) ??
    metadata
  )
}

function orElse(value: number, fallback: number): number {
  return value === -1 ? fallback : value
}

function checkTimeouts({ config }: GroupContext, metadata: MemberMetadata): GroupRefusal | undefined {
  const { sessionTimeoutMs, rebalanceTimeoutMs } = metadata
  const { sessionTimeoutMsMin, sessionTimeoutMsMax, rebalanceTimeoutMsMin, rebalanceTimeoutMsMax } = config
  if (sessionTimeoutMs < sessionTimeoutMsMin || sessionTimeoutMs > sessionTimeoutMsMax) {
    const range = `${sessionTimeoutMsMin} to ${sessionTimeoutMsMax}`
    return refuse('INVALID_SESSION_TIMEOUT', `sessionTimeoutMs: expected ${range}, not ${sessionTimeoutMs}`)
  }
  if (rebalanceTimeoutMs < rebalanceTimeoutMsMin || rebalanceTimeoutMs > rebalanceTimeoutMsMax) {
    const range = `${rebalanceTimeoutMsMin} to ${rebalanceTimeoutMsMax}`
    return refuse('INVALID_REQUEST', `rebalanceTimeoutMs: expected ${range}, not ${rebalanceTimeoutMs}`)
  }
  return undefined
}

function checkTopics({ subscribedTopics, subscribedPattern }: MemberMetadata): GroupRefusal | undefined {
  if (subscribedTopics.length === 0 && subscribedPattern === null)
    return refuse('INVALID_REQUEST', 'the member subscribes to nothing: give subscribedTopics or subscribedPattern')
  if (subscribedTopics.length > MEMBER_TOPICS_MAX)
    return refuse('INVALID_REQUEST', `${subscribedTopics.length} subscribedTopics, the most is ${MEMBER_TOPICS_MAX}`)
  const bad = subscribedTopics.find((name): boolean => !isTopicName(name))
  if (bad === undefined) return undefined
  return refuse('INVALID_TOPIC_EXCEPTION', `'${bad.slice(0, 40)}' is no topic name`)
}

function checkAssignor({ assignors }: GroupContext, name: string | null): GroupRefusal | undefined {
  if (name === null || assignors.get(name) !== undefined) return undefined
  return refuse('UNSUPPORTED_ASSIGNOR', `there is no assignor '${name}': ${assignors.hint(name)}`)
}

function checkPattern(
  context: GroupContext,
  group: Group | undefined,
  pattern: string | null,
): GroupRefusal | undefined {
  if (pattern === null || group?.patterns.has(pattern) === true) return undefined
  const bytes = utf8Bytes(pattern)
  if (bytes > TOPIC_PATTERN_BYTES_MAX)
    return refuse(
      'INVALID_REGULAR_EXPRESSION',
      `the pattern has ${bytes} bytes, the most is ${TOPIC_PATTERN_BYTES_MAX}`,
    )
  const compiled = context.compilePattern(pattern)
  if ('fault' in compiled) return refuse('INVALID_REGULAR_EXPRESSION', `'${pattern.slice(0, 80)}': ${compiled.fault}`)
  group?.patterns.set(pattern, new PatternMatches(compiled))
  return undefined
}
