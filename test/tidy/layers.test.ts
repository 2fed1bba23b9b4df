/** Who may import whom: the table of CONTRIBUTING.md, checked. A composition root may import anything. */
import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { sourceFiles } from '../support/repository.ts'

/** room of src -> rooms it may import besides itself */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  model: ['base'],
  io: ['base', 'model'],
  ring: ['base', 'model'],
  record: ['base', 'model'],
  protocol: ['base', 'model'],
  kafka: ['base', 'model', 'record'],
  coordination: ['base', 'model'],
  group: ['base', 'model', 'record'],
  transaction: ['base', 'model', 'record'],
  log: ['base', 'model', 'record'],
  partition: ['base', 'model', 'record', 'log'],
  replication: ['base', 'model', 'record', 'log', 'partition'],
  agent: ['base', 'model', 'ring'],
  worker: [
    ...[
      'base',
      'model',
      'record',
      'ring',
      'protocol',
      'group',
      'transaction',
      'log',
      'partition',
      'replication',
      'agent',
    ],
  ],
  config: ['base', 'model'],
  telemetry: ['base', 'model', 'config'],
  transport: ['base', 'model', 'protocol'],
  broker: ['base', 'model', 'protocol', 'kafka', 'ring', 'coordination', 'transport', 'agent', 'telemetry', 'config'],
  client: ['base', 'model', 'record', 'protocol', 'transport'],
  tools: ['base', 'model', 'record', 'log'],
}
/** They put the parts together. */
const COMPOSITION_ROOTS = ['src/main.ts', 'src/index.ts', 'src/cli/', 'src/executable/', 'src/in-process/', 'workers/']
/** Files of a room that stand for the whole room's port: anyone may import them. */
const PORTS = ['src/io/file-system.ts']
/** Sans-IO rooms: no node: module at all. */
const PLATFORM_NEUTRAL = ['base', 'model', 'record', 'protocol', 'group', 'transaction', 'client', 'transport']

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s+['"]([^'"]+)['"]/g

function importsOf(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3] ?? '')
}

function roomOf(path: string): string {
  return path.startsWith('src/') ? (path.split('/')[1] ?? '') : (path.split('/')[0] ?? '')
}

const files = [...sourceFiles('src'), ...sourceFiles('workers')]

test('every room imports only what it may', () => {
  const faults: string[] = []
  for (const file of files) {
    if (COMPOSITION_ROOTS.some((root) => file.path.startsWith(root))) continue
    const room = roomOf(file.path)
    const allowed = MAY_IMPORT[room]
    if (allowed === undefined) {
      faults.push(`${file.path}: src/${room} has no row in the layer table of test/tidy/layers.test.ts`)
      continue
    }
    for (const specifier of importsOf(file.text)) {
      if (!specifier.startsWith('.')) continue
      const target = posix.normalize(posix.join(posix.dirname(file.path), specifier))
      if (PORTS.includes(target)) continue
      const targetRoom = roomOf(target)
      if (targetRoom !== room && !allowed.includes(targetRoom))
        faults.push(`${file.path} imports ${target}: ${room} may import ${allowed.join(', ') || 'nothing'}`)
    }
  }
  assert.deepEqual(faults, [])
})

test('relative imports end with .ts and name a file', () => {
  const faults: string[] = []
  const known = new Set(
    [...files, ...sourceFiles('test'), ...sourceFiles('demo'), ...sourceFiles('native-free-bench')].map(
      (file) => file.path,
    ),
  )
  for (const file of files) {
    for (const specifier of importsOf(file.text)) {
      if (!specifier.startsWith('.')) continue
      const target = posix.normalize(posix.join(posix.dirname(file.path), specifier))
      if (!known.has(target)) faults.push(`${file.path}: '${specifier}' is no file`)
    }
  }
  assert.deepEqual(faults, [])
})

test('what a browser loads has no Node module outside the folders named node and files named node-*', () => {
  const faults: string[] = []
  for (const file of files) {
    if (!PLATFORM_NEUTRAL.includes(roomOf(file.path))) continue
    if (file.path.includes('/node/') || /\/node-[a-z-]+\.ts$/.test(file.path)) continue
    for (const specifier of importsOf(file.text))
      if (specifier.startsWith('node:')) faults.push(`${file.path} imports ${specifier}`)
  }
  assert.deepEqual(faults, [])
})
