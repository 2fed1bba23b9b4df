/** Users on the makes of the metadata store there are; on etcd: etcd-metadata-store.test.ts. */
import { after } from 'node:test'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { EmbeddedMetadataStore } from '../../src/coordination/embedded-metadata-store.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import { SharedMemoryStore } from '../../src/coordination/shared-memory-store.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { MemoryDurableFiles } from '../support/memory-durable-files.ts'
import { userStoreContract } from './user-store.contract.ts'

const nowMs = (): number => systemClock.monotonicMs()
userStoreContract('memory', { open: async () => new MemoryMetadataStore(systemClock), nowMs })
userStoreContract('embedded', { open: () => EmbeddedMetadataStore.open(new MemoryDurableFiles(), systemClock), nowMs })

// The system's timers keep nothing alive, and a latency is nothing but a timer.
const keepAlive = setInterval(() => {}, 60_000)
after(() => clearInterval(keepAlive))

let shared: SharedMemoryStore
for (const latencyMs of [0, 3])
  userStoreContract(`shared memory, latency ${latencyMs} ms`, {
    open: async () => {
      shared = new SharedMemoryStore(systemTime, { latencyMs })
      return shared.client()
    },
    another: async () => shared.client(),
    nowMs,
  })
