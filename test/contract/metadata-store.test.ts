/** The metadata store's contract on the makes there are. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { systemClock } from '../../src/base/node/system-clock.ts'
import { EmbeddedMetadataStore } from '../../src/coordination/embedded-metadata-store.ts'
import { MemoryMetadataStore } from '../../src/coordination/memory-metadata-store.ts'
import { NodeDurableFiles } from '../../src/coordination/node-durable-files.ts'
import { MemoryDurableFiles } from '../support/memory-durable-files.ts'
import { metadataStoreContract } from './metadata-store.contract.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-store-'))
after(() => rmSync(folder, { recursive: true, force: true }))
let count = 0

metadataStoreContract('memory', async () => new MemoryMetadataStore(systemClock))
metadataStoreContract('embedded', () => EmbeddedMetadataStore.open(new MemoryDurableFiles(), systemClock))
metadataStoreContract('embedded on disk', () =>
  EmbeddedMetadataStore.open(new NodeDurableFiles(join(folder, String(count++))), systemClock),
)
