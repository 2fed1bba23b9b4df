/** Who decides: this broker's own controller or another broker's, and what may be asked again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ControllerCalls } from '../../../../src/broker/cluster/controller-calls.ts'
import { type ErrorCode, MillraceError } from '../../../../src/model/errors.ts'
import { deleteTopic } from '../../../../src/protocol/index.ts'
import { hasCode } from '../../../support/expect.ts'
import { ManualTimers } from '../../../support/manual-timers.ts'

const REQUEST = { name: 't' }

/** Asks with these controllers and outcomes, one an attempt; answers who was asked. */
async function decide(controllers: readonly (number | undefined)[], outcomes: readonly (ErrorCode | 'ok')[]) {
  const timers = new ManualTimers()
  const asked: string[] = []
  let attempt = 0
  const outcome = async (who: string): Promise<never> => {
    asked.push(who)
    const code = outcomes[asked.length - 1] ?? 'ok'
    if (code !== 'ok') throw new MillraceError(code)
    return {} as never
  }
  const calls = new ControllerCalls({
    ...{ nodeId: 1, timers, clock: timers.clock },
    peers: { ask: (nodeId) => outcome(`broker ${nodeId}`) },
    controllerNodeId: () => controllers[Math.min(attempt++, controllers.length - 1)],
  })
  let isOver = false
  const decided = calls
    .decide(() => outcome('here'), deleteTopic, REQUEST)
    .finally(() => {
      isOver = true
    })
  decided.catch(() => {})
  for (let turn = 0; turn < 1_000 && !isOver; turn++) {
    await Promise.resolve()
    if (turn % 5 === 4) timers.advance(100)
  }
  const error = await decided.then(
    () => undefined,
    (cause: unknown) => cause,
  )
  return { asked, error }
}

test('the controller is asked where it is', async () => {
  assert.deepEqual(await decide([1], []), { asked: ['here'], error: undefined })
  assert.deepEqual(await decide([2], []), { asked: ['broker 2'], error: undefined })
})

test('what was not decided is asked again, of whoever controls by then', async () => {
  const moved = await decide([undefined, 2, 2, 1], ['NOT_CONTROLLER', 'CONNECTION_FAILED'])
  assert.deepEqual(moved, { asked: ['broker 2', 'broker 2', 'here'], error: undefined })
})

test('what may have been decided is not asked again, nor what was refused', async () => {
  for (const code of ['NETWORK_EXCEPTION', 'INVALID_PARTITIONS', 'INVALID_UPDATE_VERSION'] as const) {
    const { asked, error } = await decide([2], [code])
    assert.deepEqual(asked, ['broker 2'])
    assert.ok(hasCode(code)(error))
  }
})

test('without a controller it ends after 15 s', async () => {
  const { asked, error } = await decide([undefined], [])
  assert.deepEqual(asked, [])
  assert.ok(hasCode('BROKER_NOT_AVAILABLE', /nobody controls the cluster now/)(error))
})
