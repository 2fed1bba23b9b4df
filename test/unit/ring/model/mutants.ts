/** Ways to break the ring modules, each a real mistake somebody could make. The explorer must find every one of them. */
import type { Mutant } from './stepped-source.ts'

const publishStore = 'Atomics.store(this.#words, TAIL_WORD, this.#claimed);'
const headLoad = 'this.#head = Atomics.load(this.#words, HEAD_WORD);'
const tailLoad = 'before this tail is written.\n        this.#tail = Atomics.load(this.#words, TAIL_WORD);'
const releaseStore = 'Atomics.store(this.#words, HEAD_WORD, this.#position);'
const askStore = 'Atomics.store(this.#words, WANTS_ROOM_WORD, 1);'
const waitFlag =
  "Atomics.store(this.#words, WAITING_WORD, 1);\n        // Compares under the futex's lock: this is the look again after the flag is up.\n        Atomics.wait("
const ringAdd = 'Atomics.add(this.#words, SEQUENCE_WORD, 1);'
const ringLook =
  'if (Atomics.load(this.#words, WAITING_WORD) !== 0)\n            Atomics.notify(this.#words, SEQUENCE_WORD);'

export interface MutantCase extends Mutant {
  readonly program: 'ring' | 'sleepingRing' | 'signal' | 'doorbell' | 'pages'
  /** What the failure says. */
  readonly found: RegExp
}

export const mutants: readonly MutantCase[] = [
  {
    name: 'a frame is published when it is claimed, before its payload is written',
    module: 'ring-writer',
    program: 'ring',
    edits: [['return frameIndex + HEADER_BYTES;', `${publishStore} return frameIndex + HEADER_BYTES;`]],
    found: /data race/,
  },
  {
    name: 'the tail is stored plainly',
    module: 'ring-writer',
    program: 'ring',
    edits: [[publishStore, 'this.#words[TAIL_WORD] = this.#claimed;']],
    found: /data race/,
  },
  {
    name: 'the reader loads the tail plainly',
    module: 'ring-reader',
    program: 'ring',
    edits: [[tailLoad, '\n        this.#tail = this.#words[TAIL_WORD];']],
    found: /data race/,
  },
  {
    name: 'the head is stored plainly',
    module: 'ring-reader',
    program: 'ring',
    edits: [[releaseStore, 'this.#words[HEAD_WORD] = this.#position;']],
    found: /data race/,
  },
  {
    name: 'next() gives the space back at once',
    module: 'ring-reader',
    program: 'ring',
    edits: [['this.#position = after;', 'this.#position = after; Atomics.store(this.#words, HEAD_WORD, after);']],
    found: /data race|frame \d/,
  },
  {
    name: 'the padding is not counted when room is looked for',
    module: 'ring-writer',
    program: 'ring',
    edits: [
      [
        'const usedBytesMax = limitBytes - paddingBytes - frameBytes;\n        if',
        'const usedBytesMax = this.capacityBytes - frameBytes;\n        if',
      ],
    ],
    found: /data race|frame|ring frame/,
  },
  {
    name: 'positions are compared without the wrap',
    module: 'ring-writer',
    program: 'ring',
    edits: [['if (((this.#claimed - this.#head) | 0) > usedBytesMax', 'if (this.#claimed - this.#head > usedBytesMax']],
    found: /data race|frame|not empty/,
  },
  {
    name: 'the reader takes a padding frame for a frame',
    module: 'ring-reader',
    program: 'ring',
    edits: [['=== PADDING_TYPE) {', '=== -1) {']],
    found: /ring frame at position/,
  },
  {
    name: 'the writer does not look at the head again after it asked for room',
    module: 'ring-writer',
    program: 'sleepingRing',
    edits: [[`${askStore}\n        ${headLoad}`, askStore]],
    found: /a wake-up was lost/,
  },
  {
    name: 'the writer asks for room after its last look at the head',
    module: 'ring-writer',
    program: 'sleepingRing',
    edits: [[`${askStore}\n        ${headLoad}`, `${headLoad} ${askStore}`]],
    found: /a wake-up was lost/,
  },
  {
    name: 'the reader looks whether room is wanted before it gives any back',
    module: 'ring-reader',
    program: 'sleepingRing',
    edits: [
      [
        releaseStore,
        'const isWanted = Atomics.load(this.#words, WANTS_ROOM_WORD); Atomics.store(this.#words, HEAD_WORD, this.#position);',
      ],
      ['if (Atomics.load(this.#words, WANTS_ROOM_WORD) === 0)', 'if (isWanted === 0)'],
    ],
    found: /a wake-up was lost/,
  },
  {
    name: 'the listener sleeps without raising its flag',
    module: 'ring-signal',
    program: 'signal',
    edits: [[waitFlag, 'Atomics.wait(']],
    found: /a wake-up was lost/,
  },
  {
    name: 'the listener reads the sequence anew when it goes to sleep',
    module: 'ring-signal',
    program: 'signal',
    edits: [
      [
        'Atomics.wait(this.#words, SEQUENCE_WORD, sequence, timeoutMs);',
        'Atomics.wait(this.#words, SEQUENCE_WORD, Atomics.load(this.#words, SEQUENCE_WORD), timeoutMs);',
      ],
    ],
    found: /a wake-up was lost/,
  },
  {
    name: 'the ringer looks whether somebody sleeps before it counts the sequence up',
    module: 'ring-signal',
    program: 'signal',
    edits: [
      [
        ringAdd,
        'const isWaiting = Atomics.load(this.#words, WAITING_WORD); Atomics.add(this.#words, SEQUENCE_WORD, 1);',
      ],
      ['if (Atomics.load(this.#words, WAITING_WORD) !== 0)', 'if (isWaiting !== 0)'],
    ],
    found: /a wake-up was lost/,
  },
  {
    name: 'the ringer clears the flag, so that one notify is enough (SG2)',
    module: 'ring-signal',
    program: 'signal',
    edits: [
      [
        ringLook,
        'if (Atomics.exchange(this.#words, WAITING_WORD, 0) !== 0)\n            Atomics.notify(this.#words, SEQUENCE_WORD);',
      ],
    ],
    found: /a wake-up was lost/,
  },
  {
    name: 'the doorbell reads the sequence when it is armed, not before the rings are looked at',
    module: 'ring-signal',
    program: 'doorbell',
    edits: [
      [
        'Atomics.waitAsync(this.#words, SEQUENCE_WORD, this.#seen)',
        'Atomics.waitAsync(this.#words, SEQUENCE_WORD, Atomics.load(this.#words, SEQUENCE_WORD))',
      ],
    ],
    found: /a wake-up was lost/,
  },
  {
    name: 'the doorbell does not come back when it was rung before it was armed',
    module: 'ring-signal',
    program: 'doorbell',
    edits: [['setImmediate(this.#wakeTask);', 'this.rings++;']],
    found: /a wake-up was lost/,
  },
  {
    name: 'the doorbell is armed without raising its flag',
    module: 'ring-signal',
    program: 'doorbell',
    edits: [["this.#state = 'armed';\n        Atomics.store(this.#words, WAITING_WORD, 1);", "this.#state = 'armed';"]],
    found: /a wake-up was lost/,
  },
  {
    name: 'a count is lowered in two steps',
    module: 'page-pool',
    program: 'pages',
    edits: [
      [
        'const before = Atomics.sub(words, COUNTS_WORD + page, 1);',
        'const before = Atomics.load(words, COUNTS_WORD + page); Atomics.store(words, COUNTS_WORD + page, before - 1);',
      ],
    ],
    found: /wake-up was lost|count was|in use/,
  },
  {
    name: 'a page is returned before its link is written',
    module: 'page-pool',
    program: 'pages',
    edits: [
      ['this.#words[this.#linksWord + page] = first;', ''],
      [
        'if (found === first)\n                return;',
        'if (found === first) {\n                this.#words[this.#linksWord + page] = first;\n                return;\n            }',
      ],
    ],
    found: /data race|count was|twice/,
  },
  {
    name: 'a page that loses the race for the list is forgotten',
    module: 'page-pool',
    program: 'pages',
    edits: [['if (found === first)\n                return;', 'return;']],
    found: /wake-up was lost|in use/,
  },
  {
    name: 'the owner takes the returned pages in two steps',
    module: 'page-pool',
    program: 'pages',
    edits: [
      [
        'let page = Atomics.exchange(this.#words, RETURNED_WORD, NO_PAGE);',
        'let page = Atomics.load(this.#words, RETURNED_WORD);\n        Atomics.store(this.#words, RETURNED_WORD, NO_PAGE);',
      ],
    ],
    found: /wake-up was lost|in use/,
  },
  {
    name: 'a page is free as soon as its owner drops it',
    module: 'page-pool',
    program: 'pages',
    edits: [
      ['if (lower(this.#words, page))\n            this.#free', 'lower(this.#words, page);\n            this.#free'],
    ],
    found: /data race|count was|overwritten/,
  },
]
