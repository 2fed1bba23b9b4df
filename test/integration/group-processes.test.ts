/** Real data through a group of four processes, one of them killed half-way. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { connect } from '../../src/client/index.ts'
import type { BrokerProcess } from '../support/broker-process.ts'
import { repositoryRoot } from '../support/repository.ts'
import { withTestBroker } from '../support/test-broker.ts'
import { until } from '../support/until.ts'

interface Flight {
  readonly origin: string
  readonly delay: number
}

const WAIT_MS = 120_000
const PARTITIONS = 8
const FILE = join(dirname(createRequire(import.meta.url).resolve('vega-datasets')), '..', 'data', 'flights-20k.json')

/** Delays added up per airport. */
function sums(flights: Iterable<Flight>): Map<string, number> {
  const all = new Map<string, number>()
  for (const { origin, delay } of flights) all.set(origin, (all.get(origin) ?? 0) + delay)
  return new Map([...all].sort())
}

class Member {
  readonly process: ChildProcess
  readonly exited: Promise<number | null>
  handled = 0

  constructor(url: string, onRecord: (key: string, value: string) => void) {
    const entry = join(repositoryRoot, 'dist', 'test', 'support', 'group-member.js')
    this.process = spawn(process.execPath, [entry, url, 'airports', 'flights'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.exited = new Promise((resolve) => this.process.once('exit', (code) => resolve(code)))
    createInterface({ input: this.process.stdout! }).on('line', (line) => {
      const [partition, offset, ...rest] = line.split(' ')
      this.handled++
      onRecord(`${partition}/${offset}`, rest.join(' '))
    })
  }
}

/** What goes wrong half-way; answers the member that it ended. */
type Accident = (broker: BrokerProcess, members: readonly Member[]) => Promise<Member | undefined>

const sumUp = (accident: Accident): Promise<void> =>
  withTestBroker({}, async (broker) => {
    const flights = JSON.parse(readFileSync(FILE, 'utf8')) as Flight[]
    const mq = await connect(broker.url)
    await mq.admin.topics.create('flights', { partitions: PARTITIONS })
    const producer = mq.producer('flights')
    await producer.ready()
    for (const flight of flights)
      while (!producer.enqueue({ key: flight.origin, value: JSON.stringify(flight) })) await producer.ready()
    await producer.drain()

    const seen = new Map<string, Flight>()
    let repeated = 0
    const members = Array.from(
      { length: 4 },
      () =>
        new Member(broker.url, (key, value) => {
          if (seen.has(key)) repeated++
          seen.set(key, JSON.parse(value) as Flight)
        }),
    )
    try {
      await until('half of the flights', WAIT_MS, () => seen.size >= flights.length / 2)
      const killed = await accident(broker, members)
      await until('all of the flights', WAIT_MS, () => seen.size === flights.length)
      for (const member of members) member.process.kill('SIGTERM')
      const codes = await Promise.all(members.filter((member) => member !== killed).map(({ exited }) => exited))
      assert.ok(
        codes.every((code) => code === 0),
        codes.join(),
      )
    } finally {
      for (const member of members) member.process.kill('SIGKILL')
    }
    assert.deepEqual(sums(seen.values()), sums(flights))
    assert.ok(repeated < flights.length / 4, `${repeated} were handled again`)
    const { state, offsets } = await mq.admin.groups.describe('airports')
    assert.equal(state, 'Empty')
    assert.equal(
      offsets.reduce((sum, { offset }) => sum + offset, 0),
      flights.length,
    )
    await mq.close()
  })

test('four processes sum up the delays of 20,000 flights per airport; one is killed half-way', () =>
  sumUp(async (_, members) => {
    const killed = members.find(({ handled }) => handled > 0)!
    killed.process.kill('SIGKILL')
    await killed.exited
    return killed
  }))

test('the same with the broker killed half-way, and started again', () =>
  sumUp(async (broker) => {
    await broker.kill()
    await broker.start()
    return undefined
  }))
