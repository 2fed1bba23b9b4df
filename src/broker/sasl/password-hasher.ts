/**
 * PasswordHasher: PBKDF2 away from the event loop, a few at a time. One hash takes some 5 to 20 ms of a core, and whoever reaches the port
 * may ask for one without being anybody: a flood of logins must not take the threads of Node's pool, which files and names wait for
 * too, nor memory without end.
 *
 * Thread      main; the hashing is done in Node's pool
 * Ordering    in the order they came
 * Limits      AT_ONCE of the pool's threads (it has four by default), WAITING_MAX behind them: some two seconds at most
 * Failure     full is an answer: undefined
 */
import { pbkdf2 } from 'node:crypto'
import { promisify } from 'node:util'
import { Fifo } from '../../base/fifo.ts'
import { HASH_OF } from '../../kafka/sasl/sasl-ports.ts'
import { SCRAM_KEY_BYTES, type ScramMechanism } from '../../model/users.ts'

const AT_ONCE = 2
const WAITING_MAX = 256

export interface PasswordToHash {
  readonly password: string
  readonly mechanism: ScramMechanism
  readonly salt: Uint8Array
  readonly iterations: number
}

/** Hi() of RFC 5802: the salted password. */
export type Pbkdf2 = (toHash: PasswordToHash) => Promise<Uint8Array>

const hashInPool = promisify(pbkdf2)
const nodePbkdf2: Pbkdf2 = ({ password, mechanism, salt, iterations }) =>
  hashInPool(password, salt, iterations, SCRAM_KEY_BYTES[mechanism], HASH_OF[mechanism])

export class PasswordHasher {
  readonly #hash: Pbkdf2
  readonly #waiting = new Fifo<() => void>()
  #underWay = 0

  constructor(hash: Pbkdf2 = nodePbkdf2) {
    this.#hash = hash
  }

  /** The salted password; undefined: too many are being hashed, and nothing was done. */
  async hash(toHash: PasswordToHash): Promise<Uint8Array | undefined> {
    if (this.#underWay >= AT_ONCE) {
      if (this.#waiting.size >= WAITING_MAX) return undefined
      // Who is let on takes over a place: nobody who comes in between gets it.
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else this.#underWay++
    try {
      return await this.#hash(toHash)
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#underWay--
      else next()
    }
  }
}
