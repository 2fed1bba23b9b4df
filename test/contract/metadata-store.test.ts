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
import { MemoryDurableFiles } from '../support/memory-durable-files.ts'
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
