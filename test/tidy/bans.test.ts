/** What a room must not do, each with the way that is right. Comments are not looked at. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { repositoryRoot, type SourceFile, sourceFiles } from '../support/repository.ts'

interface Ban {
  readonly what: RegExp
  readonly instead: string
  /** Where the ban holds. */
  readonly inside: RegExp
  readonly but?: RegExp
}

const ROOTS = /^src\/(base\/(node|browser)|cli|main\.ts|in-process)/

const BANS: readonly Ban[] = [
  { what: /\bDate\.now\(/, instead: 'clock.nowMs() of the injected Clock', inside: /^src\//, but: ROOTS },
  { what: /\bnew Date\(\)/, instead: 'clock.nowMs() of the injected Clock', inside: /^src\//, but: ROOTS },
  { what: /\bperformance\.now\(/, instead: 'clock.monotonicMs() of the injected Clock', inside: /^src\//, but: ROOTS },
  { what: /\bMath\.random\(/, instead: 'the injected Prng', inside: /^(src|workers)\// },
  { what: /\bAtomics\./, instead: 'a class of src/ring', inside: /^(src|workers)\//, but: /^src\/ring\// },
  {
    what: /\bnew SharedArrayBuffer\b/,
    instead: 'createShardChannel or another maker of src/ring',
    inside: /^(src|workers)\//,
    but: /^src\/ring\//,
  },
  {
    what: /\bawait\b|\basync\b/,
    instead: 'a synchronous step: no microtask runs in a loop that waits on Atomics',
    inside: /^src\/(worker|partition|log|group)\//,
  },
  {
    what: /\bsetTimeout\(|\bsetInterval\(|\bsetImmediate\(/,
    instead: 'deadlines of the agent',
    inside: /^src\/(worker|partition|log|record|protocol|group|transaction|replication)\//,
  },
  {
    what: /from 'node:/,
    instead: 'the ports handed in',
    inside: /^src\/(partition|log|worker|record|protocol|group)\//,
    but: /\/node-[a-z-]+\.ts$/,
  },
  {
    what: /\bconsole\./,
    instead: 'the logger, a notice by ring, or the stream of the command line',
    inside: /^src\//,
    but: /^src\/(cli|main\.ts)/,
  },
  { what: /\benum\s+[A-Z]/, instead: 'a const object and its type', inside: /^(src|workers)\// },
  { what: /\bas any\b|: any\b/, instead: 'unknown and a check', inside: /^(src|workers)\// },
  { what: /\/\/ ?@ts-(ignore|nocheck)/, instead: 'types that are true', inside: /^(src|workers|test)\// },
  {
    what: /\bprocess\.exit\(/,
    instead: 'process.exitCode, or an error that the command line turns into an exit code',
    inside: /^src\//,
    but: /^src\/cli\//,
  },
]

function withoutComments(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|[^:'"`])\/\/[^\n]*/g, '$1')
}

function linesOf(file: SourceFile, ban: Ban): string[] {
  const text = ban.what.source.includes('@ts-') ? file.text : withoutComments(file.text)
  return text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => ban.what.test(line))
    .map(({ line, number }) => `${file.path}:${number}: ${line.trim()}\n    use ${ban.instead}`)
}

const files = [...sourceFiles('src'), ...sourceFiles('workers'), ...sourceFiles('test')]

test('bans', () => {
  const faults = BANS.flatMap((ban) =>
    files
      .filter((file) => !file.path.startsWith('test/tidy/'))
      .filter((file) => ban.inside.test(file.path) && ban.but?.test(file.path) !== true)
      .flatMap((file) => linesOf(file, ban)),
  )
  assert.deepEqual(faults, [])
})

test('every module says first what it is', () => {
  const faults = files
    .filter((file) => /^(src|workers)\//.test(file.path))
    .filter((file) => !/^(#!.*\n)?\/\*\*/.test(file.text))
    .map((file) => file.path)
  assert.deepEqual(faults, [])
})

test('thread entries stay thin', () => {
  const faults = sourceFiles('workers')
    .map((file) => ({ path: file.path, lines: file.text.split('\n').length }))
    .filter((file) => file.lines >= 80)
  assert.deepEqual(faults, [])
})

test('every room has a README', () => {
  const rooms = readdirSync(join(repositoryRoot, 'src'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && readdirSync(join(repositoryRoot, 'src', entry.name)).length > 0)
    .map((entry) => `src/${entry.name}`)
  const missing = [...rooms, 'workers', 'native-free-bench', 'test'].filter(
    (room) => !existsSync(join(repositoryRoot, room, 'README.md')),
  )
  assert.deepEqual(missing, [])
})

test('no test is left out or runs alone', () => {
  const faults = sourceFiles('test')
    .filter((file) => !file.path.startsWith('test/tidy/'))
    .flatMap((file) =>
      linesOf(file, {
        what: /\b(?:test|it|describe)\.(?:only|todo|skip)\(/,
        instead: 'a condition that says in its skip text what is missing',
        inside: /./,
      }),
    )
  assert.deepEqual(faults, [])
})
