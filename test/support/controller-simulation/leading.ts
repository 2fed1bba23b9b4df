/**
 * Leading: what a leader's broker does for one partition by the rules of docs/cluster.md, as far as the controller's promises rest on it:
 * the high watermark over the maximal in-sync set, and in-sync changes under compare-and-set.
 */
import {
  applyInSyncChange,
  hasNode,
  isSameState,
  withInSync,
} from '../../../src/coordination/controller/in-sync-changes.ts'
import type { PartitionState, Replica } from '../../../src/coordination/keys.ts'
import type { MetadataStore } from '../../../src/coordination/metadata-store.ts'
import type { TopicId } from '../../../src/model/ids.ts'
import type { TopicConfig } from '../../../src/model/topic-config.ts'
import type { ModelLog } from './replica-model.ts'

const LAG_MS = 2_000
/** A member that was not heard for longer is silent, not slow. */
const SILENT_MS = 1_000

interface FollowerProgress {
  readonly incarnation: number
  logEnd: number
  syncedEnd: number
  caughtUpMs: number
  heardMs: number
}

export class Leading {
  readonly topicId: TopicId
  readonly partition: number
  readonly epochStart: number
  state: PartitionState
  version: number
  readonly #log: ModelLog
  readonly #config: TopicConfig
  readonly #followers = new Map<number, FollowerProgress>()
  /** Asked for, outcome not known. */
  #pending: PartitionState | undefined
  readonly #sinceMs: number

  constructor(
    place: { topicId: TopicId; partition: number },
    state: PartitionState,
    version: number,
    parts: { log: ModelLog; config: TopicConfig; nowMs: number },
  ) {
    this.topicId = place.topicId
    this.partition = place.partition
    this.state = state
    this.version = version
    this.#log = parts.log
    this.#config = parts.config
    this.#sinceMs = parts.nowMs
    this.epochStart = parts.log.records.length
  }

  /** The image shows a newer state of the same leadership: whatever was asked for is in it or was refused. */
  update(state: PartitionState, version: number): void {
    if (version <= this.version) return
    this.state = state
    this.version = version
    this.#pending = undefined
  }

  /** A follower's fetch tells its ends. */
  progress(follower: Replica, logEnd: number, syncedEnd: number, nowMs: number): void {
    const known = this.#followers.get(follower.nodeId)
    const isCaughtUp = logEnd >= this.#log.records.length
    if (known === undefined || known.incarnation !== follower.incarnation) {
      const caughtUpMs = isCaughtUp ? nowMs : this.#sinceMs
      const { nodeId, incarnation } = follower
      this.#followers.set(nodeId, { incarnation, logEnd, syncedEnd, caughtUpMs, heardMs: nowMs })
      return
    }
    known.heardMs = nowMs
    known.logEnd = logEnd
    known.syncedEnd = syncedEnd
    if (isCaughtUp) known.caughtUpMs = nowMs
  }

  /** Advances the high watermark; answers it. */
  advance(): number {
    const log = this.#log
    if (this.state.inSyncReplicas.length < this.#config.minInsyncReplicas) return log.highWatermark
    const own = this.#config.fsync === 'group' ? log.syncedEnd : log.records.length
    let lowest = own
    for (const set of [this.state.inSyncReplicas, this.#pending?.inSyncReplicas ?? []])
      for (const { nodeId, incarnation } of set) {
        if (nodeId === this.state.leader) continue
        const follower = this.#followers.get(nodeId)
        if (follower === undefined || follower.incarnation !== incarnation) return log.highWatermark
        lowest = Math.min(lowest, this.#config.fsync === 'group' ? follower.syncedEnd : follower.logEnd)
      }
    log.highWatermark = Math.max(log.highWatermark, lowest)
    return log.highWatermark
  }

  /** The next in-sync change, if there is one to ask for; `isRegistered` says which incarnation of a broker lives. */
  propose(nowMs: number, isRegistered: (replica: Replica) => boolean): PartitionState | undefined {
    if (this.#pending !== undefined) return undefined
    const { state } = this
    const wanted: Replica[] = []
    for (const nodeId of state.replicas) {
      const current = state.inSyncReplicas.find((replica) => replica.nodeId === nodeId)
      if (nodeId === state.leader) wanted.push(current ?? { nodeId, incarnation: state.leaderIncarnation })
      else if (current !== undefined) {
        const known = this.#followers.get(nodeId)
        const lastMs = known?.incarnation === current.incarnation ? known.caughtUpMs : this.#sinceMs
        if (nowMs - lastMs <= LAG_MS) wanted.push(current)
      } else {
        const joining = this.#joining(nodeId, isRegistered)
        if (joining !== undefined) wanted.push(joining)
      }
    }
    const next = withInSync(state, wanted, this.#config.minInsyncReplicas)
    return isSameState(next, state) ? undefined : next
  }

  /**
   * It wishes for a smaller set, and is the one that is cut off: members that are silent would be enough without it, and without them it
   * cannot acknowledge. The product's rule is partition/in-sync-replicas, isCutOff().
   */
  isCutOff(next: PartitionState, nowMs: number): boolean {
    const { inSyncReplicas, leader } = this.state
    if (next.inSyncReplicas.length >= inSyncReplicas.length) return false
    const silent = inSyncReplicas.filter(
      ({ nodeId }) => nodeId !== leader && nowMs - (this.#followers.get(nodeId)?.heardMs ?? this.#sinceMs) > SILENT_MS,
    )
    const min = this.#config.minInsyncReplicas
    return silent.length >= min && inSyncReplicas.length - silent.length < min
  }

  #joining(nodeId: number, isRegistered: (replica: Replica) => boolean): Replica | undefined {
    const known = this.#followers.get(nodeId)
    if (known === undefined || known.logEnd < this.epochStart) return undefined
    // What the set stands for must survive the follower's next power cut too.
    const safeEnd = this.#config.fsync === 'group' ? known.syncedEnd : known.logEnd
    if (safeEnd < this.#log.highWatermark) return undefined
    const replica = { nodeId, incarnation: known.incarnation as Replica['incarnation'] }
    return isRegistered(replica) ? replica : undefined
  }

  /** Asks until there is a definite answer: until then the larger set counts. */
  async ask(
    next: PartitionState,
    store: MetadataStore,
    nowMs: number,
    wait: (ms: number) => Promise<void>,
  ): Promise<boolean> {
    const { version } = this
    this.#pending = next
    // Whoever joins has its time to catch up from now on.
    for (const { nodeId } of next.inSyncReplicas) {
      const follower = this.#followers.get(nodeId)
      if (follower !== undefined && !this.inSync(nodeId)) follower.caughtUpMs = nowMs
    }
    while (this.#pending === next) {
      try {
        const outcome = await applyInSyncChange(store, this.topicId, this.partition, version, next)
        // Refused: the image will show what overtook it; until then the larger set counts.
        if (this.#pending === next && outcome.applied) this.update(next, outcome.version)
        return outcome.applied
      } catch {
        await wait(500)
      }
    }
    return false
  }

  inSync(nodeId: number): boolean {
    return hasNode(this.state.inSyncReplicas, nodeId)
  }
}
