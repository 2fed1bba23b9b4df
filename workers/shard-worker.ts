/**
 * Thread entry of a shard: real files, clock and chance for a ShardAgent, stepped until it is done.
 * Ends by itself after SHUTDOWN; an exception ends it with an error that the main thread sees.
 */
import '../src/base/node/native-crc32c.ts'
import { randomUUID } from 'node:crypto'
import { workerData } from 'node:worker_threads'
import { LoopTurns, runAgent } from '../src/agent/agent-runner.ts'
import { requireRe2 } from '../src/base/node/require-re2.ts'
import { systemClock } from '../src/base/node/system-clock.ts'
import { systemPrng } from '../src/base/node/system-prng.ts'
import { re2Patterns } from '../src/group/re2-pattern.ts'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import { countedCodecs } from '../src/record/compression.ts'
import { nodeCodecs } from '../src/record/node-codecs.ts'
import { openShardSide, type ShardChannel } from '../src/ring/shard-channel.ts'
import { ShardAgent } from '../src/worker/shard-agent.ts'
import { SHARD_DEFAULTS, type ShardOptions } from '../src/worker/shard-options.ts'

/** What main hands to both threads of a shard. */
export interface ShardWorkerData {
  readonly channel: ShardChannel
  readonly options: Pick<ShardOptions, 'shard' | 'incarnation' | 'dataDir'> & Partial<ShardOptions>
  /** Spin before sleeping; only where threads are fewer than cores. */
  readonly spinMicroseconds?: number
}

const { channel, options, spinMicroseconds = 0 } = workerData as ShardWorkerData
const side = openShardSide(channel, { spinMicroseconds, clock: systemClock })
const turns = new LoopTurns()
const shard = new ShardAgent({
  options: { ...SHARD_DEFAULTS, ...options },
  side,
  files: new NodeFileSystem(),
  clock: systemClock,
  prng: systemPrng(),
  codecs: countedCodecs(nodeCodecs(), (bytes) => turns.count(bytes)),
  groups: { compilePattern: re2Patterns(requireRe2), newMemberId: randomUUID },
  heapBytes: () => process.memoryUsage().heapUsed,
})
void runAgent(shard, { signal: side.signal, clock: systemClock, pause: turns.pause })
