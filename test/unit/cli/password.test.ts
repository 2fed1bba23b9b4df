/** Where a password comes from: the environment before a pipe, a pipe of one line, a person who types it twice unseen. */
import assert from 'node:assert/strict'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import { UsageError } from '../../../src/cli/errors.ts'
import { type PasswordSource, readPassword } from '../../../src/cli/password.ts'

function piped(...chunks: (string | Uint8Array)[]): PasswordSource {
  return { env: {}, stdin: Readable.from(chunks.map((chunk) => Buffer.from(chunk as string))) }
}

const nobody = { prompt: () => assert.fail('nothing is asked'), signal: new AbortController().signal }
const isUsage = (text: RegExp) => (error: unknown) => error instanceof UsageError && text.test(error.message)

test('the environment, and nothing is read then', async () => {
  const stdin = new PassThrough()
  assert.equal(await readPassword(nobody, 'alice', { env: { MILLRACE_PASSWORD: ' p,=w ' }, stdin }), ' p,=w ')
  await assert.rejects(
    readPassword(nobody, 'a', { env: { MILLRACE_PASSWORD: '' }, stdin }),
    isUsage(/is empty.*MILLRACE_PASSWORD/),
  )
})

test('a pipe: one line, with or without its end, spaces and all', async () => {
  for (const [input, password] of [
    [['secret\n'], 'secret'],
    [['secret\r\n'], 'secret'],
    [['secret'], 'secret'],
    [[' se', 'cret ', '\n'], ' secret '],
    [[Uint8Array.of(0xc3), Uint8Array.of(0xa9, 0x0a)], 'é'],
    [['x'.repeat(1024), '\n'], 'x'.repeat(1024)],
  ] as const)
    assert.equal(await readPassword(nobody, 'alice', piped(...input)), password)
  const refused: readonly (readonly [PasswordSource, RegExp])[] = [
    [piped(), /the password is empty/],
    [piped('\n'), /the password is empty/],
    [piped('a\nb\n'), /expected one line/],
    [piped('a\n\n'), /expected one line/],
    [piped(Uint8Array.of(0xff)), /is UTF-8/],
    [piped('x'.repeat(600), 'x'.repeat(600)), /at most 1024 bytes/],
  ]
  for (const [source, text] of refused) await assert.rejects(readPassword(nobody, 'alice', source), isUsage(text))
})

/** A terminal on which somebody types; what it shows and in which mode it is. */
class Typed {
  readonly shown: string[] = []
  readonly modes: boolean[] = []
  readonly abort = new AbortController()
  readonly stdin: PassThrough & { isTTY?: boolean; setRawMode?: (mode: boolean) => never } = new PassThrough()

  constructor() {
    this.stdin.isTTY = true
    this.stdin.setRawMode = (mode) => void this.modes.push(mode) as never
  }

  read(): Promise<string> {
    const terminal = { prompt: (text: string) => void this.shown.push(text), signal: this.abort.signal }
    return readPassword(terminal, 'alice', { env: {}, stdin: this.stdin as never })
  }

  async type(...keys: (string | Uint8Array)[]): Promise<void> {
    for (const key of keys) {
      this.stdin.write(Buffer.from(key as string))
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

test('a person: asked twice, shown nothing, and may take letters back', async () => {
  const typed = new Typed()
  const reading = typed.read()
  await typed.type('s', 'ex', '\u007f', 'cret', Uint8Array.of(0xc3), Uint8Array.of(0xa9), '\r')
  await typed.type('secrex', '\b', 'té', '\n')
  assert.equal(await reading, 'secreté')
  assert.deepEqual(typed.shown, ['password of alice: ', '\n', 'and again: ', '\n'])
  assert.deepEqual(typed.modes, [true, false, true, false])
  assert.equal(typed.stdin.isPaused(), true)
})

test('a person who types two passwords, or none', async () => {
  const two = new Typed()
  const reading = assert.rejects(two.read(), isUsage(/not the same/))
  await two.type('one\r', 'two\r')
  await reading
  const none = new Typed()
  const empty = assert.rejects(none.read(), isUsage(/is empty/))
  await none.type('\u0004')
  await empty
  assert.deepEqual(none.shown, ['password of alice: ', '\n'])
})

test('an interrupt ends the question and puts the terminal back', async () => {
  const typed = new Typed()
  const reading = assert.rejects(typed.read(), /interrupted/)
  await typed.type('sec')
  typed.abort.abort(new Error('interrupted'))
  await reading
  assert.deepEqual(typed.modes, [true, false])
  assert.equal(typed.stdin.listenerCount('data'), 0)
})
