/**
 * KeyCheck: whether every record of a batch has a key, as those of a compacted topic must: without one nothing could ever supersede it.
 *
 * Thread      the shard; opens the batch (the one place where produce does), so only for topics that ask for it
 * Limits      UNPACKED_BYTES_MAX for a compressed batch
 * Failure     a refusal: INVALID_RECORD with the index of the first record without a key; what the codec has to say against the batch
 */
import { isMillraceError } from '../model/errors.ts'
import { type Refusal, refuse } from '../model/refusal.ts'
import { BatchFilter, type FilteredRecord } from '../record/batch-filter.ts'
import { BatchView } from '../record/batch-view.ts'
import { type Codecs, NO_CODEC } from '../record/compression.ts'

export class KeyCheck {
  readonly #filter: BatchFilter
  readonly #copy = new BatchView()
  #index = 0
  #isKeyless = false

  constructor(codecs: Codecs) {
    this.#filter = new BatchFilter({ codecs })
  }

  /** `batch` has passed checkBatch(). */
  check(batch: BatchView): Refusal | undefined {
    this.#index = 0
    this.#isKeyless = false
    try {
      this.#filter.visit(batch.codec === NO_CODEC ? batch : this.#own(batch), this.#look)
    } catch (error) {
      if (!isMillraceError(error)) throw error
      return refuse(error.code, error.message)
    }
    if (!this.#isKeyless) return undefined
    return refuse('INVALID_RECORD', `record ${this.#index} has no key: the topic is compacted, its records need one`)
  }

  /** Codecs do not read shared memory. */
  #own(batch: BatchView): BatchView {
    const bytes = new Uint8Array(batch.sizeInBytes)
    bytes.set(batch.bytes.subarray(batch.at, batch.end))
    return this.#copy.reset(bytes)
  }

  readonly #look = (record: Readonly<FilteredRecord>): boolean => {
    this.#isKeyless = record.keyBytes < 0
    if (!this.#isKeyless) this.#index++
    return !this.#isKeyless
  }
}
