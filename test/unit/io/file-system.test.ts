import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { NodeFileSystem } from '../../../src/io/node-file-system.ts'
import { fileSystemContract } from '../../contract/file-system.contract.ts'

fileSystemContract('node', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-io-'))
  return { files: new NodeFileSystem(), folder, dispose: () => rmSync(folder, { recursive: true, force: true }) }
})

fileSystemContract('memory', () => {
  const files = new MemoryFileSystem()
  files.makeFolder('/data')
  return { files, folder: '/data', dispose: () => {} }
})
