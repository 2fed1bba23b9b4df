/** 20,000 committed partitions of a group, from a broker whose frames hold a fraction of them: by the wire, over HTTP, on the command line. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { GroupDescription } from '../../src/client/index.ts'
import * as protocol from '../../src/protocol/index.ts'
import { commitOf, withGroupDoors } from '../support/group-doors.ts'
import { millrace } from '../support/run-millrace.ts'

const TOPIC_PARTITIONS = 10_000

test('20,000 committed partitions are fetched, and described with their lag', () =>
  withGroupDoors(async ({ mq, url, client, get }) => {
    const partitions = Array.from({ length: TOPIC_PARTITIONS }, (_, index) => index)
    for (const topic of ['a', 'b']) {
      await mq.admin.topics.create(topic, { partitions: TOPIC_PARTITIONS })
      await client.call(protocol.offsetCommit, commitOf('g', topic, partitions))
    }
    await mq.producer('b').send({ value: 'v', partition: 9_999 })
    const all = ['a', 'b'].flatMap((topic) => partitions.map((partition) => `${topic}/${partition}`))
    const overHttp = (await get('/api/v1/groups/g')) as { offsets: { topic: string; partition: number }[] }
    assert.equal(new Set(overHttp.offsets.map(({ topic, partition }) => `${topic}/${partition}`)).size, all.length)
    // The command line has the client's describe().
    const { code, stdout } = await millrace(['group', 'describe', 'g', '--json'], { url })
    assert.equal(code, 0)
    const { offsets } = JSON.parse(stdout) as GroupDescription
    assert.deepEqual(
      offsets.map(({ topic, partition }) => `${topic}/${partition}`),
      all,
    )
    assert.deepEqual([offsets[0]!.lag, offsets.at(-1)!.lag], [0, 1])
  }))
