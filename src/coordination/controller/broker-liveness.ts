/**
 * Broker liveness: a broker whose lease has not ended yet, but which is certainly gone, need not be waited for: its lease is revoked when
 * two brokers find its port closed.
 *
 * Invariants  BL1 a lease is revoked only after this broker and another one, not the suspect, both were refused; a timeout proves nothing
 *             BL2 what is revoked is the lease of the incarnation that is suspected, as the image has it
 * Limits      one investigation of an incarnation at a time
 */
import type { ClusterImage } from '../cluster-image.ts'
import type { MetadataStore } from '../metadata-store.ts'

export type ProbeAnswer = 'refused' | 'alive' | 'unknown'

export interface BrokerProbes {
  /** Tries to connect to the broker's address. */
  probe(nodeId: number): Promise<ProbeAnswer>
  /** Asks a peer to do so. */
  askPeer(peerNodeId: number, nodeId: number): Promise<ProbeAnswer>
}

export interface BrokerLivenessOptions {
  readonly store: MetadataStore
  readonly selfNodeId: number
  readonly probes: BrokerProbes
  readonly log: (level: 'info' | 'warn', text: string) => void
}

export class BrokerLiveness {
  readonly #options: BrokerLivenessOptions
  readonly #underWay = new Set<string>()

  constructor(options: BrokerLivenessOptions) {
    this.#options = options
  }

  /** Looks into it; resolves to whether the broker's lease was revoked. */
  async suspect(image: ClusterImage, nodeId: number, incarnation: number): Promise<boolean> {
    const { store, selfNodeId, log } = this.#options
    const name = `${nodeId}@${incarnation}`
    const broker = image.brokers.get(nodeId)?.state
    if (nodeId === selfNodeId || broker?.incarnation !== incarnation || this.#underWay.has(name)) return false
    this.#underWay.add(name)
    try {
      if (!(await this.#isRefused(image, nodeId))) return false
      // It may have come back, or be registered anew, while it was looked into.
      const now = image.brokers.get(nodeId)?.state
      if (now?.incarnation !== incarnation || now.leaseId !== broker.leaseId) return false
      await store.revokeLease(broker.leaseId)
      log('warn', `broker ${nodeId} (incarnation ${incarnation}) is gone: its port is closed to two brokers`)
      return true
    } finally {
      this.#underWay.delete(name)
    }
  }

  async #isRefused(image: ClusterImage, nodeId: number): Promise<boolean> {
    const { probes, selfNodeId } = this.#options
    const answer = await probes.probe(nodeId).catch(() => 'unknown')
    if (answer !== 'refused') return false
    for (const peer of image.brokers.keys()) {
      if (peer === nodeId || peer === selfNodeId) continue
      const told = await probes.askPeer(peer, nodeId).catch(() => 'unknown')
      if (told !== 'unknown') return told === 'refused'
    }
    return false
  }
}
