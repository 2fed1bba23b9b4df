/**
 * Stepped source: the compiled modules of src/ring, rewritten so that the explorer can stop them before each memory step.
 *
 * It is the code that ships which is explored, not a model written beside it: methods become generators, `Atomics.x(…)` and
 * `words[…]` become yields, private names become visible, constructors (set-up, before the threads run) stay. The rewriting
 * knows the few shapes that the compiler prints for these modules; what it does not know makes it throw. A mutant is an edit
 * of the same text, which must be found exactly once.
 */
import { readFileSync } from 'node:fs'
import { compileFunction } from 'node:vm'
import { assert, InvariantError, unreachable } from '../../../../src/base/assert.ts'
import * as layout from '../../../../src/ring/ring-layout.ts'
import type { Op, Steps } from './explorer.ts'

export interface Mutant {
  readonly name: string
  /** Of the module it is in, without folder and ending. */
  readonly module: string
  readonly edits: readonly (readonly [find: string, replace: string])[]
}

const ringFolder = new URL('../../../../src/ring/', import.meta.url)

/** The shared-memory steps a rewritten module takes. */
const memorySteps = {
  *load(words: Int32Array, index: number): Steps<number> {
    return yield { kind: 'load', words, index }
  },
  *store(words: Int32Array, index: number, value: number): Steps<number> {
    yield { kind: 'store', words, index, value }
    return value
  },
  add: (words: Int32Array, index: number, by: number) => update(words, index, (before) => (before + by) | 0),
  /** An add whose answer the module does not look at: states that differ in it alone are one. */
  *addBlind(words: Int32Array, index: number, by: number): Steps<void> {
    yield { kind: 'update', words, index, update: (before) => (before + by) | 0, isBlind: true }
  },
  sub: (words: Int32Array, index: number, by: number) => update(words, index, (before) => (before - by) | 0),
  exchange: (words: Int32Array, index: number, value: number) => update(words, index, () => value),
  compareExchange: (words: Int32Array, index: number, expected: number, value: number) =>
    update(words, index, (before) => (before === expected ? value : before)),
  *notify(words: Int32Array, index: number): Steps<number> {
    return yield { kind: 'notify', words, index }
  },
  *wait(words: Int32Array, index: number, value: number, timeoutMs: number): Steps<void> {
    yield { kind: 'wait', words, index, value, hasTimeout: Number.isFinite(timeoutMs) }
  },
  *read(words: Int32Array, index: number): Steps<number> {
    return yield { kind: 'read', words, index }
  },
  *write(words: Int32Array, index: number, value: number): Steps<void> {
    yield { kind: 'write', words, index, value }
  },
}

function* update(words: Int32Array, index: number, change: (before: number) => number): Steps<number> {
  return yield { kind: 'update', words, index, update: change }
}

/** An event loop of the model: what a Doorbell needs of one. */
export class ModelLoop {
  readonly #tasks: (() => Steps)[] = []

  reset(): void {
    this.#tasks.length = 0
  }

  readonly setImmediate = (task: () => Steps): void => {
    this.#tasks.push(task)
  };

  /** Atomics.waitAsync of a rewritten Doorbell. */
  *waitAsync(words: Int32Array, index: number, value: number): Steps<unknown> {
    let task: (() => Steps) | undefined
    const op: Op = { kind: 'wait-async', words, index, value, task: () => this.#tasks.push(task!) }
    if ((yield op) === 0) return { async: false, value: 'not-equal' }
    // biome-ignore lint/suspicious/noThenProperty: stands for the promise
    return { async: true, value: { then: (given: () => Steps) => (task = given) } }
  }

  /** Runs the next task, once there is one. */
  *turn(): Steps {
    yield { kind: 'next-task', hasTask: () => this.#tasks.length > 0 }
    yield* this.#tasks.shift()!()
  }
}

/** What rewritten modules export: classes whose methods are generators. Typed by the tests that use them. */
export type SteppedModule = Readonly<Record<string, new (...parameters: never[]) => unknown>>

/** Rewrites and loads a module of src/ring, with a mutant's edits if it is in that module. */
export function loadStepped(module: string, mutant?: Mutant, loop?: ModelLoop): SteppedModule {
  let source = readFileSync(new URL(`${module}.js`, ringFolder), 'utf8')
  if (mutant?.module === module) for (const [find, replace] of mutant.edits) source = replaceOnce(source, find, replace)
  const exported = [...source.matchAll(/^export class (\w+)/gm)].map((match) => match[1]!)
  const rewritten = `${rewrite(source)}\nreturn { ${exported.join(', ')} }`
  const scope = { ...layout, assert, InvariantError, unreachable }
  const names = [...source.matchAll(/^import \{([^}]*)\} from/gm)].flatMap((match) => match[1]!.split(','))
  const imported = names.map((name) => name.trim()).filter((name) => name in scope)
  const memory = { ...memorySteps, waitAsync: loop?.waitAsync.bind(loop) }
  const parameters = ['memory', 'setImmediate', ...imported]
  const values = imported.map((name) => scope[name as keyof typeof scope])
  return compileFunction(rewritten, parameters)(memory, loop?.setImmediate, ...values) as SteppedModule
}

function replaceOnce(source: string, find: string, replace: string): string {
  const parts = source.split(find)
  if (parts.length !== 2) throw new Error(`the mutant's text is found ${parts.length - 1} times: ${find}`)
  return parts.join(replace)
}

function rewrite(source: string): string {
  let text = source
    .replace(/^import [^;]*;$/gm, '')
    .replace(/^export /gm, '')
    .replace(/^\/\/# .*$/gm, '')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')
    .replaceAll('#', '$')
  // Functions and methods that step: those outside constructors that touch shared memory, or call one that does.
  const blocks = splitBlocks(text)
  const stepping = new Set<string>(['$onRing'])
  for (let before = -1; before !== stepping.size; ) {
    before = stepping.size
    for (const block of blocks)
      if (block.name !== undefined && isStepping(block.text, stepping)) stepping.add(block.name)
  }
  text = ''
  for (const block of blocks) {
    const isGenerator = block.name !== undefined && stepping.has(block.name)
    text += isGenerator ? rewriteBlock(block.text, stepping) : block.text
  }
  return text
}

interface Block {
  /** Of the function or method; undefined for everything else, constructors included. */
  readonly name: string | undefined
  readonly text: string
}

/** Splits at functions (no indentation) and methods (four spaces), as the compiler prints them. */
function splitBlocks(source: string): Block[] {
  const blocks: Block[] = []
  let name: string | undefined
  let end = ''
  let lines: string[] = []
  const close = () => {
    blocks.push({ name, text: lines.map((line) => `${line}\n`).join('') })
    lines = []
    name = undefined
  }
  for (const line of source.split('\n')) {
    const start = /^(?: {4}|function )([\w$]+)\(.*\) \{$/.exec(line)
    if (name === undefined && start && start[1] !== 'constructor') {
      close()
      name = start[1]!
      end = line.startsWith(' ') ? '    }' : '}'
    }
    lines.push(line)
    if (name !== undefined && line === end) close()
  }
  if (name !== undefined) throw new Error(`${name} does not end`)
  close()
  return blocks
}

const WORDS = '(?:this\\.\\$words|words)'

function isStepping(text: string, stepping: ReadonlySet<string>): boolean {
  if (/Atomics\./.test(text) || new RegExp(`${WORDS}\\[`).test(text)) return true
  const body = text.slice(text.indexOf('{'))
  for (const name of stepping) if (callPattern(name).test(body)) return true
  return false
}

/** A method is called on `this`, a function by its bare name. */
function callPattern(name: string): RegExp {
  const escaped = name.replaceAll('$', '\\$')
  return new RegExp(`(?:this\\.|(?<![\\w.$]))${escaped}\\(`)
}

function rewriteBlock(text: string, stepping: ReadonlySet<string>): string {
  const bodyAt = text.indexOf('{\n') + 2
  const head = text.slice(0, bodyAt)
  let body = text.slice(bodyAt)
  body = body.replace(new RegExp(`^(\\s*)(${WORDS})\\[(.*)\\] = (.*);$`, 'gm'), '$1yield* memory.write($2, $3, $4);')
  body = body.replace(new RegExp(`(${WORDS})\\[([^\\]]*)\\]`, 'g'), '(yield* memory.read($1, $2))')
  body = body.replace(/^(\s*)Atomics\.add\(/gm, '$1Atomics.addBlind(')
  body = wrapCalls(body, /Atomics\.(?=\w+\()/, 'memory.')
  for (const name of stepping) body = wrapCalls(body, callPattern(name))
  if (body.includes('Atomics.')) throw new Error(`not rewritten: ${body}`)
  return `${head.startsWith('function ') ? head.replace('function ', 'function* ') : head.replace(/\S/, '*$&')}${body}`
}

/** Puts `(yield* call(…))` around every call that matches; `prefix` replaces the matched text. */
function wrapCalls(text: string, pattern: RegExp, prefix?: string): string {
  let done = ''
  let rest = text
  for (let match = pattern.exec(rest); match !== null; match = pattern.exec(rest)) {
    const open = rest.indexOf('(', match.index)
    let depth = 0
    let close = open
    for (; close < rest.length; close++) {
      if (rest[close] === '(') depth++
      else if (rest[close] === ')' && --depth === 0) break
    }
    const callee = prefix === undefined ? match[0] : prefix + rest.slice(match.index + match[0].length, open + 1)
    done += `${rest.slice(0, match.index)}(yield* ${callee}`
    rest = `${wrapCalls(rest.slice(open + 1, close), pattern, prefix)}))${rest.slice(close + 1)}`
    // Step over the arguments, which are wrapped already.
    const argumentsEnd = matchingEnd(rest)
    done += rest.slice(0, argumentsEnd)
    rest = rest.slice(argumentsEnd)
  }
  return done + rest
}

/** Where the parenthesis closes that was opened just before the text. */
function matchingEnd(text: string): number {
  let depth = 1
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth++
    else if (text[at] === ')' && --depth === 0) return at
  }
  throw new Error('parentheses do not match')
}
