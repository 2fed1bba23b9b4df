/**
 * No circle of imports between files of src. Type-only imports count: they cost nothing at run time, but two files whose types
 * need each other cannot be understood, tested or moved one by one either.
 */
import assert from 'node:assert/strict'
import { posix } from 'node:path'
import { test } from 'node:test'
import { sourceFiles } from '../support/repository.ts'

/** Circles that are there: pairs that are one thing in two files. A row that is no circle any more goes. */
const KNOWN = [
  'src/io/disk-trace.ts src/io/memory-file-system.ts',
  'src/worker/page-cache.ts src/worker/partition-agent.ts',
]

const IMPORT = /(?:^|\n)(?:import|export)\s(?:[^'";]*?from\s+)?'(\.[^']+)'/g

type Graph = ReadonlyMap<string, readonly string[]>

/** All files that can be reached from `file`, itself only by a circle. */
function reachedFrom(graph: Graph, file: string): Set<string> {
  const reached = new Set<string>()
  const open = [...(graph.get(file) ?? [])]
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (reached.has(next)) continue
    reached.add(next)
    open.push(...(graph.get(next) ?? []))
  }
  return reached
}

/** Sets of files that reach each other, each as its sorted names. */
function circlesOf(graph: Graph): string[] {
  const reached = new Map([...graph.keys()].map((file) => [file, reachedFrom(graph, file)]))
  const circles = new Set<string>()
  for (const [file, others] of reached)
    if (others.has(file))
      circles.add(
        [...others]
          .filter((other) => reached.get(other)?.has(file))
          .sort()
          .join(' '),
      )
  return [...circles].sort()
}

test('a circle is found, whatever leads into it', () => {
  const graph = new Map([
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', ['b']],
    ['d', []],
  ])
  assert.deepEqual(circlesOf(graph), ['b c'])
})

test('no files of src import each other in a circle', () => {
  const graph = new Map(
    sourceFiles('src').map(({ path, text }) => [
      path,
      [...text.matchAll(IMPORT)].map((match) => posix.join(posix.dirname(path), match[1]!)),
    ]),
  )
  assert.ok([...graph.values()].flat().length > 100, 'imports are not recognised any more')
  assert.deepEqual(circlesOf(graph), KNOWN, 'have the lower file name an interface of what it needs')
})
