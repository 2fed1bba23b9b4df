/**
 * Transport: the outgoing WebSocket as a port. The client (and brokers among themselves) see connections only through it,
 * so a test or a simulator can hand in a network of its own.
 *
 * Ordering   messages of one connection arrive in the order they were sent; `onMessage` and `onClose` never run inside `connect` or `send`
 * Ownership  parts given to `send` must not change until `done` runs; bytes given to `onMessage` belong to the receiver
 * Failure    a connection that cannot be made or that breaks is one `onClose`, exactly once; nothing throws
 */

export const SUBPROTOCOL = 'millrace.v1'

/** Why a connection ended: a WebSocket close code (1006 = broke without a close frame), a text, and the HTTP status when the upgrade was refused. */
export interface TransportClose {
  readonly code: number
  readonly text: string
  readonly httpStatus?: number
  /** Nothing listens at the address: the machine is there, and said so. */
  readonly isRefused?: boolean
}

export interface TransportHandlers {
  onOpen(): void
  onMessage(bytes: Uint8Array): void
  onClose(close: TransportClose): void
}

export interface TransportOptions {
  /** Sent as `Authorization: Bearer …` where the platform can set headers (browsers cannot: the hello carries it too). */
  readonly token?: string | undefined
  readonly connectTimeoutMs: number
  /** A message larger than this closes the connection. */
  readonly messageBytesMax: number
}

export interface TransportConnection {
  /** Sends the parts, in turn, as one binary message. `done` runs when the platform holds no reference to them any more. */
  send(parts: readonly Uint8Array[], done?: () => void): void
  /** Bytes given to `send` that the platform has not passed on yet. */
  readonly bufferedBytes: number
  /** How long nothing has come of a message that has begun; 0 = none has. Left out where the platform does not show it. */
  readonly messageStalledMs?: number
  /** Starts an orderly close; `onClose` follows. */
  close(code: number, text: string): void
  /** Drops the connection at once; `onClose` follows. */
  terminate(): void
}

export interface Transport {
  connect(url: string, options: TransportOptions, handlers: TransportHandlers): TransportConnection
}
