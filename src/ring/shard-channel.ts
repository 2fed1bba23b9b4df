/**
 * ShardChannel: everything that one shard shares with the gateway and with its disk thread: five rings, two signals, the pages.
 *
 * Owns        the memories, made in one call; who opens which end of each
 * Thread      made on the main thread, handed to shard and disk thread as workerData; each opens its side once
 * Invariants  SC1 every ring has exactly one writer and one reader: each open…Side is called once per channel
 * Ordering    requests and reads are two queues: nothing is promised between them (messages.ts says why nothing need be)
 * Failure     a dead thread leaves everything as it was; main then drops the channel and makes a new one
 *
 *   gateway --requests--> shard --diskRequests--> disk thread      shardSignal: rung by gateway and disk thread
 *           ---reads---->       <--diskReplies---                  diskSignal: rung by the shard
 *           <--replies---                                          doorbell: the main thread's, one for all shards
 */
import type { Clock } from '../base/clock.ts'
import { createPagePool, PageOwner, PageUser } from './page-pool.ts'
import { createRing } from './ring-layout.ts'
import { RingReader } from './ring-reader.ts'
import { createSignals, Doorbell, RingSignal, type RingSignalOptions } from './ring-signal.ts'
import { RingWriter } from './ring-writer.ts'

export interface ShardChannelOptions {
  /** Powers of two; a ring carries payloads of up to ⅜ of its capacity less 8 bytes (ring-layout: ringCapacityFor). */
  readonly requestRingBytes: number
  /** At least ringCapacityFor(fetchBytes(REQUEST_PARTITIONS_MAX)) in a broker. */
  readonly readRingBytes: number
  readonly replyRingBytes: number
  readonly diskRequestRingBytes: number
  readonly diskReplyRingBytes: number
  readonly pageBytes: number
  readonly pageCount: number
  /** The main thread's doorbell, made once for all shards: createSignals(). */
  readonly doorbell: SharedArrayBuffer
}

/** A plain object: goes through workerData and postMessage as it is. */
export interface ShardChannel {
  readonly requestRing: SharedArrayBuffer
  readonly readRing: SharedArrayBuffer
  readonly replyRing: SharedArrayBuffer
  readonly diskRequestRing: SharedArrayBuffer
  readonly diskReplyRing: SharedArrayBuffer
  readonly shardSignal: SharedArrayBuffer
  readonly diskSignal: SharedArrayBuffer
  readonly doorbell: SharedArrayBuffer
  readonly pages: SharedArrayBuffer
}

export function createShardChannel(options: ShardChannelOptions): ShardChannel {
  return {
    requestRing: createRing({ capacityBytes: options.requestRingBytes }),
    readRing: createRing({ capacityBytes: options.readRingBytes }),
    replyRing: createRing({ capacityBytes: options.replyRingBytes }),
    diskRequestRing: createRing({ capacityBytes: options.diskRequestRingBytes }),
    diskReplyRing: createRing({ capacityBytes: options.diskReplyRingBytes }),
    shardSignal: createSignals(),
    diskSignal: createSignals(),
    doorbell: options.doorbell,
    pages: createPagePool({ pageBytes: options.pageBytes, pageCount: options.pageCount }),
  }
}

export interface GatewaySide {
  readonly requests: RingWriter
  readonly reads: RingWriter
  readonly replies: RingReader
  /** Rings the shard: after publish(), and when replies.release() answers true. */
  readonly shardSignal: RingSignal
  readonly pages: PageUser
}

export function openGatewaySide(channel: ShardChannel): GatewaySide {
  return {
    requests: new RingWriter(channel.requestRing),
    reads: new RingWriter(channel.readRing),
    replies: new RingReader(channel.replyRing),
    shardSignal: new RingSignal(channel.shardSignal),
    pages: new PageUser(channel.pages),
  }
}

export interface ShardSide {
  readonly requests: RingReader
  readonly reads: RingReader
  readonly replies: RingWriter
  readonly diskRequests: RingWriter
  readonly diskReplies: RingReader
  /** The shard's own: waits on it. */
  readonly signal: RingSignal
  readonly diskSignal: RingSignal
  /** Rings the main thread: after replies.publish(), and when release() of requests or reads answers true. */
  readonly doorbell: RingSignal
  readonly pages: PageOwner
}

export interface SpinOptions {
  /** See RingSignalOptions.spinMicroseconds. */
  readonly spinMicroseconds?: number
  readonly clock?: Clock
}

export function openShardSide(channel: ShardChannel, options: SpinOptions = {}): ShardSide {
  return {
    requests: new RingReader(channel.requestRing),
    reads: new RingReader(channel.readRing),
    replies: new RingWriter(channel.replyRing),
    diskRequests: new RingWriter(channel.diskRequestRing),
    diskReplies: new RingReader(channel.diskReplyRing),
    signal: new RingSignal(channel.shardSignal, options satisfies RingSignalOptions),
    diskSignal: new RingSignal(channel.diskSignal),
    doorbell: new RingSignal(channel.doorbell),
    pages: new PageOwner(channel.pages),
  }
}

export interface DiskSide {
  readonly requests: RingReader
  readonly replies: RingWriter
  /** The disk thread's own: waits on it. */
  readonly signal: RingSignal
  /** Listens to the same signal where the thread must not sleep. */
  readonly makeBell: (onRing: () => void) => Doorbell
  readonly shardSignal: RingSignal
  readonly pages: PageUser
}

export function openDiskSide(channel: ShardChannel, options: SpinOptions = {}): DiskSide {
  return {
    requests: new RingReader(channel.diskRequestRing),
    replies: new RingWriter(channel.diskReplyRing),
    signal: new RingSignal(channel.diskSignal, options satisfies RingSignalOptions),
    makeBell: (onRing) => new Doorbell(channel.diskSignal, onRing),
    shardSignal: new RingSignal(channel.shardSignal),
    pages: new PageUser(channel.pages),
  }
}
