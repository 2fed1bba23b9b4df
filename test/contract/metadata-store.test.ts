/** The metadata store's contract on the makes there are. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { systemClock } from '../../src/base/node/system-clock.ts'
import type { DurableFiles } from '../../src/coordination/durable-files.ts'
import { EmbeddedMetadataStore } from '../../src/coordination/embedded-metadata-store.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import { NodeDurableFiles } from '../../src/coordination/node-durable-files.ts'
import { type SharedMemoryClient, SharedMemoryStore } from '../../src/coordination/shared-memory-store.ts'
import { TestClock } from '../../src/in-process/test-clock.ts'
import { systemTime } from '../../src/in-process/time-source.ts'
import { MemoryDurableFiles } from '../support/memory-durable-files.ts'
import { sleep } from '../support/until.ts'
import { metadataStoreContract } from './metadata-store.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-store-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let count = 0

const nowMs = (): number => systemClock.monotonicMs()
const openEmbedded = (files: DurableFiles): Promise<EmbeddedMetadataStore> =>
  EmbeddedMetadataStore.open(files, systemClock)

metadataStoreContract('memory', { open: async () => new MemoryMetadataStore(systemClock), nowMs })
metadataStoreContract('embedded', { open: () => openEmbedded(new MemoryDurableFiles()), nowMs })
metadataStoreContract('embedded on disk', {
  open: () => openEmbedded(new NodeDurableFiles(join(folder, String(count++)))),
  nowMs,
})

// The system's timers keep nothing alive, and a latency is nothing but a timer.
const keepAlive = setInterval(() => {}, 60_000)
after(() => clearInterval(keepAlive))

let shared: SharedMemoryStore
let client: SharedMemoryClient
for (const latencyMs of [0, 3]) {
  let clock: TestClock
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  metadataStoreContract(`shared memory, latency ${latencyMs} ms`, {
    open: async () => {
      clock = new TestClock(1_700_000_000_000)
      // A latency needs time that passes by itself; without one, time stands still until the test lets it pass.
      const time = latencyMs === 0 ? clock : systemTime
      shared = new SharedMemoryStore(time, { latencyMs })
      client = shared.client()
      return client
    },
    another: async () => shared.client(),
    pass: (ms) => (latencyMs === 0 ? clock.advance(ms, settle) : sleep(ms)),
    compact: async () => shared.compact(),
    cut: async () => client.cut(),
    mend: async () => client.mend(),
    nowMs: () => (latencyMs === 0 ? clock : systemClock).monotonicMs(),
  })
}
