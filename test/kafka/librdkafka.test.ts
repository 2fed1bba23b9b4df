/**
 * Bindings of librdkafka for Node, unmodified. They are C++ and bring no binaries in their packages: built by hand, where wanted, in a folder
 * of their own, which MILLRACE_RDKAFKA names:
 *
 *   mkdir rdkafka && cd rdkafka && echo '{ "private": true }' > package.json
 *   npm install --ignore-scripts node-rdkafka@3.6.1            needs gcc, make, python3, zlib and OpenSSL with their headers, libzstd-dev
 *   cd node_modules/node-rdkafka && node-gyp rebuild --nodedir=/usr      where /usr/include/node is; several minutes; no --jobs
 *   MILLRACE_RDKAFKA=…/rdkafka npm run test:kafka -- --only librdkafka
 *
 * @confluentinc/kafka-javascript likewise, with libcurl4-openssl-dev and libsasl2-dev, CKJS_LINKING=dynamic in the environment of node-gyp, and
 * its arguments --module_name=confluent-kafka-javascript --module_path=./build/Release.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { KafkaBroker } from '../support/kafka-broker.ts'
import { kafkajsOf } from '../support/kafkajs.ts'
import { repositoryRoot } from '../support/repository.ts'
import { runJsonLines } from '../support/run-json-lines.ts'

const NAMES = ['node-rdkafka', '@confluentinc/kafka-javascript']
const folder = process.env.MILLRACE_RDKAFKA ?? ''
const entry = join(repositoryRoot, 'dist', 'test', 'support', 'rdkafka-session.js')

for (const name of NAMES) {
  const isBuilt = folder !== '' && existsSync(join(folder, 'node_modules', name, 'build', 'Release'))
  const skip = isBuilt ? false : `${name} is not built (MILLRACE_RDKAFKA)`
  test(name, { skip }, async (t) => {
    const broker = new KafkaBroker()
    try {
      await broker.ready()
      const lines = await runJsonLines(process.execPath, [entry, folder, name, broker.kafka])
      for (const { step, error } of lines) assert.equal(error, undefined, step)
      const answers = new Map(lines.map(({ step, answer }) => [step, answer]))
      t.diagnostic(`reached with librdkafka ${answers.get('version')}`)
      for (const codec of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
        assert.deepEqual(answers.get(`compression ${codec}`), { isSame: true })
        const codecs = (await broker.batches(`rdk-${codec}`)).map((batch) => batch.codec)
        assert.deepEqual([...new Set(codecs)], [codec])
        const [record] = await broker.records(`rdk-${codec}`)
        assert.deepEqual([record!.key, record!.headers], ['k', [['h', '1']]])
      }
      for (const step of ['group', 'consumer protocol']) assert.deepEqual(answers.get(step), { unique: 100 }, step)
      assert.deepEqual(answers.get('transactions'), ['committed', 'again'])
      const values = (await broker.records('rdk-transactions')).map(({ value }) => value)
      assert.deepEqual(values, ['committed', 'again', 'the same words again and again 0'])
      const admin = kafkajsOf(broker.kafka).admin()
      await admin.connect()
      const [row] = await admin.fetchOffsets({ groupId: 'rdk-handed-on', topics: ['rdk-none'] })
      const topics = await admin.listTopics()
      await admin.disconnect()
      assert.equal(row!.partitions[0]!.offset, '1')
      assert.ok(topics.includes('rdk') && !topics.includes('rdk-deleted'))
    } finally {
      await broker.stop()
    }
  })
}
