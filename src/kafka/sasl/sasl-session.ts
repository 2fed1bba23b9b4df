/**
 * SaslSession: one exchange of one client, of whichever mechanism it chose: what SaslAuthenticate carries, or raw tokens after a
 * SaslHandshake of version 0.
 *
 * Invariants  SS1 what is over stays over: after done or failed nothing is looked at
 *             SS2 one message at a time: a client that sends the next one before it has an answer has failed
 * Limits      SASL_MESSAGE_BYTES_MAX a message. How long an exchange may take is the connection's to say
 */
import { SASL_MESSAGE_BYTES_MAX } from '../../model/limits.ts'
import type { SaslMechanism } from '../../model/users.ts'
import { PlainMachine } from './plain.ts'
import { failed, type SaslMachine, type SaslPorts, type SaslStep } from './sasl-ports.ts'
import { ScramMachine } from './scram.ts'

export class SaslSession<Principal> {
  readonly mechanism: SaslMechanism
  readonly #machine: SaslMachine<Principal>
  #state: 'waits' | 'works' | 'over' = 'waits'

  constructor(mechanism: SaslMechanism, ports: SaslPorts<Principal>) {
    this.mechanism = mechanism
    this.#machine = mechanism === 'PLAIN' ? new PlainMachine(ports) : new ScramMachine(mechanism, ports)
  }

  /** What to do with a client's message. Never rejects. */
  async step(message: Uint8Array): Promise<SaslStep<Principal>> {
    if (this.#state === 'over') return failed('the authentication is over')
    if (this.#state === 'works') return this.#fail('a message came before the one before it was answered')
    if (message.length > SASL_MESSAGE_BYTES_MAX)
      return this.#fail(`a message of an authentication has at most ${SASL_MESSAGE_BYTES_MAX} bytes`)
    this.#state = 'works'
    const step = await this.#machine.step(message)
    if (this.#hasEnded()) return failed('the authentication is over')
    this.#state = step.kind === 'challenge' ? 'waits' : 'over'
    return step
  }

  /** It may have ended while a message was looked at. */
  #hasEnded(): boolean {
    return this.#state === 'over'
  }

  #fail(text: string): SaslStep<Principal> {
    this.#state = 'over'
    return failed(text)
  }
}
