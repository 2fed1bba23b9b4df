/**
 * SaslHandshake (17, v0–1), SaslAuthenticate (36, v0–2): who the client is. The exchange itself is src/kafka/sasl; here is what it means
 * for the connection.
 *
 * Order     ApiVersions at any time, then a handshake, then tokens; anything else before the end closes the connection (dispatcher.ts)
 * Again     on an authenticated connection: the same principal, or the connection is closed (KIP-368)
 * v0        of the handshake: the tokens that follow are frames of nothing else, and so are the answers
 * Failure   SASL_AUTHENTICATION_FAILED with a text, and the connection is closed FAILED_CLOSE_MS later: who guesses has to wait
 */
import { EMPTY_BYTES } from '../../../base/bytes.ts'
import { saslHandshake } from '../../../kafka/apis/17-sasl-handshake.ts'
import { saslAuthenticate } from '../../../kafka/apis/36-sasl-authenticate.ts'
import type { SaslStep } from '../../../kafka/sasl/sasl-ports.ts'
import { failed } from '../../../kafka/sasl/sasl-ports.ts'
import type { Principal } from '../../authorise.ts'
import type { KafkaConnection } from '../kafka-connection.ts'
import { coldHandler, type KafkaContext } from '../kafka-handler.ts'

const FAILED_CLOSE_MS = 100
const RAW_TOKENS_VERSION = 0
const HANDSHAKE_FIRST = 'a SaslHandshake comes first'

export const saslHandshakeHandler = coldHandler(saslHandshake, async (call) => {
  const { gateway, connection, request, version } = call
  const { sasl } = gateway
  const { mechanisms } = sasl
  if (!sasl.isRequired) return { errorCode: call.code('ILLEGAL_SASL_STATE'), mechanisms }
  await sasl.open()
  const session = sasl.begin(request.mechanism)
  if (session === undefined) {
    closeSoon(gateway, connection, `SASL mechanism ${request.mechanism.slice(0, 40)} is not served`)
    return { errorCode: call.code('UNSUPPORTED_SASL_MECHANISM'), mechanisms }
  }
  connection.sasl = { session, isRaw: version === RAW_TOKENS_VERSION }
  return { errorCode: 0, mechanisms }
})

export const saslAuthenticateHandler = coldHandler(saslAuthenticate, async (call) => {
  const { gateway, connection, request } = call
  if (connection.sasl === undefined) {
    const errorCode = call.code('ILLEGAL_SASL_STATE')
    return { errorCode, errorMessage: HANDSHAKE_FIRST, authBytes: EMPTY_BYTES, sessionLifetimeMs: 0 }
  }
  const step = await stepOf(gateway, connection, request.authBytes)
  if (step.kind === 'failed') {
    const errorCode = call.code('SASL_AUTHENTICATION_FAILED')
    return { errorCode, errorMessage: step.text, authBytes: EMPTY_BYTES, sessionLifetimeMs: 0 }
  }
  return { errorCode: 0, errorMessage: null, authBytes: step.bytes, sessionLifetimeMs: 0 }
})

/** A token without a request around it; answers the bytes that go back. */
export async function answerRawToken(
  gateway: KafkaContext,
  connection: KafkaConnection,
  token: Uint8Array,
): Promise<Uint8Array | undefined> {
  const step = await stepOf(gateway, connection, token)
  return step.kind === 'failed' ? undefined : step.bytes
}

async function stepOf(
  gateway: KafkaContext,
  connection: KafkaConnection,
  token: Uint8Array,
): Promise<SaslStep<Principal>> {
  const step = await connection.sasl!.session.step(token)
  if (step.kind === 'challenge') return step
  connection.sasl = undefined
  const before = connection.principal
  const isOther = step.kind === 'done' && before !== undefined && before.name !== step.principal.name
  if (step.kind === 'done' && !isOther) {
    connection.authenticate(step.principal)
    return step
  }
  const refusal = step.kind === 'failed' ? step : failed('a connection stays the one that authenticated it first')
  gateway.metrics.countError('SASL_AUTHENTICATION_FAILED')
  closeSoon(gateway, connection, refusal.text)
  return refusal
}

function closeSoon(gateway: KafkaContext, connection: KafkaConnection, reason: string): void {
  // Who guesses has one guess a connection, however many it has sent at once.
  connection.stop()
  gateway.timers.after(FAILED_CLOSE_MS, () => connection.closeForPolicy(reason))
}
