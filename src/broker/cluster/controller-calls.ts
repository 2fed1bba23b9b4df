/**
 * ControllerCalls: requests that the controller decides, sent to where it is: to this broker's own, or to another broker.
 *
 * Thread      main
 * Ordering    authorised here -> decided by the controller -> in the metadata store -> in this broker's image (until()) -> the reply
 * Failure     no controller now, or it changes meanwhile: asked again until DECIDE_MS_MAX are over, then BROKER_NOT_AVAILABLE. A connection
 *             to it that breaks, or no answer in time: NETWORK_EXCEPTION or REQUEST_TIMED_OUT, for it may have decided, or will yet
 * Not here    the decisions (coordination/controller)
 */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../model/errors.ts'
import type { Codec } from '../../protocol/index.ts'
import type { Timers } from '../timers.ts'
import type { Peers } from './peers.ts'

const DECIDE_MS_MAX = 15_000
const RETRY_MS = 100
const VISIBLE_MS_MAX = 10_000
const LOOK_MS = 5

export interface ControllerCallsOptions {
  readonly nodeId: number
  readonly peers: Pick<Peers, 'ask'>
  readonly clock: Clock
  readonly timers: Timers
  /** Undefined: nobody controls now. */
  readonly controllerNodeId: () => number | undefined
}

export class ControllerCalls {
  readonly #options: ControllerCallsOptions

  constructor(options: ControllerCallsOptions) {
    this.#options = options
  }

  /** The controller's answer: `here` where that is this broker, else its reply to `request`. */
  async decide<Request, Reply>(
    here: () => Promise<Reply>,
    codec: Codec<Request, Reply>,
    request: Request,
  ): Promise<Reply> {
    const { clock, timers, nodeId, peers, controllerNodeId } = this.#options
    const untilMs = clock.monotonicMs() + DECIDE_MS_MAX
    for (;;) {
      try {
        const controller = controllerNodeId()
        if (controller === undefined) throw new MillraceError('NOT_CONTROLLER', 'nobody controls the cluster now')
        return await (controller === nodeId ? here() : peers.ask(controller, codec, request))
      } catch (error) {
        // What was never sent, or of which nothing was written (CO4 of the controller), may be asked again.
        const isFree = isMillraceError(error) && (error.code === 'NOT_CONTROLLER' || error.code === 'CONNECTION_FAILED')
        if (!isFree) throw error
        if (clock.monotonicMs() >= untilMs)
          throw new MillraceError('BROKER_NOT_AVAILABLE', `no controller decided: ${error.message}`)
      }
      await new Promise<void>((resolve) => void timers.after(RETRY_MS, resolve))
    }
  }

  /** Until this broker knows; a change that came in between may have undone it, so not for ever. */
  async until(isKnown: () => boolean): Promise<void> {
    const { clock, timers } = this.#options
    const untilMs = clock.monotonicMs() + VISIBLE_MS_MAX
    while (!isKnown() && clock.monotonicMs() < untilMs)
      await new Promise<void>((resolve) => void timers.after(LOOK_MS, resolve))
  }
}
