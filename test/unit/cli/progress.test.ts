/** Bars are for terminals: how one looks there, and that a pipe sees nothing. */
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { Progress, type ProgressStream } from '../../../src/cli/progress.ts'

function stream(isTTY: boolean): { stream: ProgressStream; text(): string } {
  const pipe = new PassThrough()
  let text = ''
  pipe.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  return { stream: Object.assign(pipe, { isTTY, columns: 120 }), text: () => text }
}

test('on a terminal the bar says what, how far and how much, and is gone afterwards', async () => {
  const terminal = stream(true)
  const progress = await Progress.start(terminal.stream, { what: 'producing', totalBytes: 4_000_000 })
  progress.add(1_000_000)
  progress.add(3_000_000)
  progress.add(500_000) // a file that grew
  progress.end()
  assert.match(terminal.text(), /producing .* 0% {2}0\.0 of 4\.0 MB/)
  assert.match(terminal.text(), /producing █+ 100% {2}4\.\d of 4\.0 MB/)
})

test('in a pipe, with -q and where there is nothing to do, nothing is shown', async () => {
  const pipe = stream(false)
  const terminal = stream(true)
  for (const [where, totalBytes] of [
    [pipe.stream, 100],
    [undefined, 100],
    [terminal.stream, 0],
  ] as const) {
    const progress = await Progress.start(where, { what: 'verifying', totalBytes })
    progress.add(100)
    progress.end()
  }
  assert.equal(pipe.text() + terminal.text(), '')
})
