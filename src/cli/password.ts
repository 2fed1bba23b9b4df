/**
 * Password: where a password comes from: the environment (MILLRACE_PASSWORD), a pipe, or a person who types it twice and does not see it.
 * Never a flag: arguments are in the list of processes and in the shell's history.
 */
import type { ReadStream } from 'node:tty'
import { utf8DecodeStrict } from '../base/bytes.ts'
import { PASSWORD_BYTES_MAX } from '../model/limits.ts'
import { UsageError } from './errors.ts'
import type { Terminal } from './terminal.ts'

export const PASSWORD_VARIABLE = 'MILLRACE_PASSWORD'
/** With the end of its line. */
const INPUT_BYTES_MAX = PASSWORD_BYTES_MAX + 2

export interface PasswordSource {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; readonly setRawMode?: ReadStream['setRawMode'] }
}

/** `user` is for the question. Throws UsageError where there is none, or none that could be one. */
export async function readPassword(
  terminal: Pick<Terminal, 'prompt' | 'signal'>,
  user: string,
  source: PasswordSource = process,
): Promise<string> {
  const given = source.env[PASSWORD_VARIABLE]
  const password =
    given ?? (await (source.stdin.isTTY === true ? typedTwice(terminal, user, source) : piped(source.stdin)))
  if (password === '')
    throw new UsageError(`the password is empty: give one in ${PASSWORD_VARIABLE}, on stdin, or type it on a terminal`)
  return password
}

/** All of stdin, without the end of its one line. */
async function piped(stdin: PasswordSource['stdin']): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stdin) {
    const part = Buffer.from(chunk as Uint8Array)
    bytes += part.length
    if (bytes > INPUT_BYTES_MAX) throw new UsageError(`stdin: a password has at most ${PASSWORD_BYTES_MAX} bytes`)
    chunks.push(part)
  }
  const password = utf8DecodeStrict(Buffer.concat(chunks))?.replace(/\r?\n$/, '')
  if (password === undefined) throw new UsageError('stdin: a password is UTF-8')
  if (/[\r\n]/.test(password)) throw new UsageError('stdin: expected one line, the password')
  return password
}

async function typedTwice(
  terminal: Pick<Terminal, 'prompt' | 'signal'>,
  user: string,
  { stdin }: PasswordSource,
): Promise<string> {
  const password = await typed(terminal, `password of ${user}: `, stdin)
  if (password === '') return ''
  const again = await typed(terminal, 'and again: ', stdin)
  if (again !== password) throw new UsageError('the two passwords are not the same')
  return password
}

const ENTER = new Set(['\r', '\n', '\u0004'])
const ERASE = new Set(['\b', '\u007f'])
const INTERRUPT = '\u0003'

/** A line that is typed and not shown. Ctrl-C is what it is elsewhere: the signal ends it. */
function typed(
  { prompt, signal }: Pick<Terminal, 'prompt' | 'signal'>,
  question: string,
  stdin: PasswordSource['stdin'],
): Promise<string> {
  signal.throwIfAborted()
  prompt(question)
  stdin.setRawMode?.(true)
  return new Promise((resolve, reject) => {
    const letters: string[] = []
    const decoder = new TextDecoder()
    const end = (): void => {
      stdin.off('data', onData)
      signal.removeEventListener('abort', onAbort)
      stdin.setRawMode?.(false)
      stdin.pause()
      prompt('\n')
    }
    const onAbort = (): void => {
      end()
      reject(signal.reason)
    }
    const onData = (chunk: Uint8Array): void => {
      for (const letter of decoder.decode(chunk, { stream: true })) {
        if (ENTER.has(letter)) {
          end()
          resolve(letters.join(''))
          return
        }
        // In this mode the terminal makes no signal of it.
        if (letter === INTERRUPT) process.kill(process.pid, 'SIGINT')
        else if (ERASE.has(letter)) letters.pop()
        else if (letters.length < PASSWORD_BYTES_MAX) letters.push(letter)
      }
    }
    stdin.on('data', onData)
    signal.addEventListener('abort', onAbort, { once: true })
    stdin.resume()
  })
}
