/** Thread entry of a shard's disk thread: fdatasync and cold reads, until the shard tells it to stop. */
import { workerData } from 'node:worker_threads'
import { pauseWhileWaiting, runAgent } from '../src/agent/agent-runner.ts'
import { systemClock } from '../src/base/node/system-clock.ts'
import { NodeFileSystem } from '../src/io/node-file-system.ts'
import { NodeParallelSync } from '../src/io/node-parallel-sync.ts'
import { openDiskSide } from '../src/ring/shard-channel.ts'
import { DiskAgent } from '../src/worker/disk-agent.ts'
import type { ShardWorkerData } from './shard-worker.ts'

const { channel, options, spinMicroseconds = 0 } = workerData as ShardWorkerData
const side = openDiskSide(channel, { spinMicroseconds, clock: systemClock })
const disk = new DiskAgent({
  name: `disk ${options.shard}`,
  side,
  files: new NodeFileSystem(),
  clock: systemClock,
  parallel: new NodeParallelSync(),
})
const pause = pauseWhileWaiting(disk, { clock: systemClock, makeBell: side.makeBell })
void runAgent(disk, { signal: side.signal, clock: systemClock, pause })
