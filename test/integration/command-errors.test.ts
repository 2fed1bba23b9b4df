/**
 * Errors as somebody meets them who has just begun: each is the whole text, with its exit code. It names what was wrong, the
 * nearest right name, and what to do; never a stack, never a system's code alone.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect } from '../../src/client/index.ts'
import { BrokerProcess } from '../support/broker-process.ts'
import { hasCode } from '../support/expect.ts'
import { millrace } from '../support/run-millrace.ts'

/** The store's own bound is 5 s; the rest is the process itself on a busy machine. */
const ETCD_ABSENT_MS_MAX = 40_000
const TOKEN = 'a-token-of-this-test'
const folder = mkdtempSync(join(tmpdir(), 'millrace-errors-'))
const dataDir = join(folder, 'data')
let broker: BrokerProcess

before(async () => {
  broker = await BrokerProcess.start({ dataDir, env: { MILLRACE_AUTH__TOKENS: TOKEN } })
  const made = await millrace(['topic', 'create', 'orders', '--partitions', '3'], { url: broker.url, env })
  assert.equal(made.code, 0, made.stderr)
})

after(async () => {
  await broker?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const env = { MILLRACE_TOKEN: TOKEN, NO_COLOR: '1' }

/** Runs it; stdout is empty, stderr is `text`: a string to the letter, or what it must look like. */
async function fails(args: readonly string[], code: number, text: string | RegExp, input = ''): Promise<void> {
  const outcome = await millrace(args, { url: broker.url, env, input })
  const line = `millrace ${args.join(' ')}`
  if (typeof text === 'string') assert.equal(outcome.stderr, `error: ${text}\n`, line)
  else assert.match(outcome.stderr, text, line)
  assert.equal(outcome.code, code, line)
  assert.equal(outcome.stdout, '', line)
  assert.doesNotMatch(outcome.stderr, /\n\s+at |\bE[A-Z]{4,}\b/, `${line}: no stack and no code of the system`)
}

test('a command or a flag that there is not: the nearest, or all there are', async () => {
  await fails(['produc', 'orders'], 2, "millrace has no command 'produc'; did you mean 'produce'?")
  await fails(['topic', 'lst'], 2, "millrace topic has no command 'lst'; did you mean 'list'?")
  const topicVerbs = 'create, list, describe, delete, alter, trim'
  await fails(['topic', 'rename'], 2, `millrace topic has no command 'rename'; its commands are ${topicVerbs}`)
  await fails(
    ['topic', 'create', 'x', '--partitons', '3'],
    2,
    "millrace topic create has no flag '--partitons'; did you mean '--partitions'?",
  )
  await fails(
    ['consume', 'orders', '--follow'],
    2,
    "millrace consume has no flag '--follow'; millrace consume --help lists its flags",
  )
})

test('operands and values', async () => {
  await fails(['topic', 'create'], 2, 'millrace topic create: NAME is missing; usage: millrace topic create NAME')
  await fails(
    ['topic', 'create', 'my', 'topic'],
    2,
    "millrace topic create: 'topic' is one operand too many; usage: millrace topic create NAME",
  )
  await fails(
    ['topic', 'trim', 'orders'],
    2,
    'millrace topic trim needs --before <offset>: N, end (all there is), -N (all but the last N), +N (N more), @TIME (what is older)',
  )
  await fails(['produce', 'orders', '-k'], 2, 'millrace produce: -k, --key <key> needs a value')
  await fails(['produce', 'orders', '--acks', 'two'], 2, "--acks: expected one of none, leader, all, not 'two'")
  await fails(['topic', 'create', 'x', '--partitions', 'six'], 2, /--partitions: expected an integer .*, not 'six'/)
  await fails(
    ['consume', 'orders', '-o', '@yesterday'],
    2,
    /-o: time 'yesterday': expected milliseconds .* such as -1h/,
  )
})

test('topics, partitions, offsets and records', async () => {
  const unknown = "there is no topic 'ordrs'; did you mean 'orders'? [UNKNOWN_TOPIC_OR_PARTITION]"
  await fails(['consume', 'ordrs', '-e'], 3, unknown)
  await fails(['topic', 'delete', 'ordrs'], 3, unknown)
  await fails(['topic', 'create', 'my orders'], 2, /'my orders' is not a topic name: \[a-zA-Z0-9\._-\]/)
  await fails(
    ['topic', 'create', 'orders'],
    1,
    "there is a topic 'orders' already; --if-not-exists makes that no error, millrace topic alter changes it " +
      '[TOPIC_ALREADY_EXISTS]',
  )
  const config = ['--config', 'retention.mss=5']
  await fails(['topic', 'alter', 'orders', ...config], 2, /'retention\.mss'; did you mean 'retention\.ms'\?/)
  await fails(['topic', 'alter', 'orders', '--partitions', '2'], 2, /orders has 3 partitions.*larger, not 2/)
  const absent = 'line 1: partition 9: the topic has partitions 0 to 2 [INVALID_ARGUMENT]'
  await fails(['produce', 'orders', '-p', '9'], 2, absent, 'hello\n')
  await fails(['consume', 'orders', '-p', '9'], 2, 'orders has partitions 0 to 2, not 9 [INVALID_ARGUMENT]')
  await fails(['consume', 'orders', '-o', '99', '-p', '0'], 1, /orders\/0: offset 99 is not within \[0, 0\]; -o start/)
  await fails(['topic', 'trim', 'orders', '--before', '5'], 1, /before offset 5.*millrace topic describe orders/)
  const json = ['produce', 'orders', '--input', 'json']
  await fails(json, 2, 'line 2: unknown field "vlaue"; did you mean "value"?', '{"value":"a"}\n{"vlaue":"b"}\n')
  await fails(['produce', 'orders', '--file', join(folder, 'absent')], 3, /--file: there is no '.*absent'/)
})

test('users and their passwords', async () => {
  const none = 'give one in MILLRACE_PASSWORD, on stdin, or type it on a terminal'
  await fails(['user', 'set', 'alice'], 2, `the password is empty: ${none}`)
  await fails(['user', 'set', 'alice'], 2, 'stdin: expected one line, the password', 'one\ntwo\n')
  await fails(['user', 'set', 'token'], 2, "user set: the user name 'token' stands for the tokens of auth.tokens")
  await fails(
    ['user', 'set', 'alice', '-m', 'PLAIN'],
    2,
    "--mechanism: expected one of SCRAM-SHA-256, SCRAM-SHA-512, not 'PLAIN'",
  )
  const few = "--iterations: expected an integer from 4096 to 16384, not '1'"
  await fails(['user', 'set', 'alice', '--iterations', '1'], 2, few, 'x\n')
  await fails(['user', 'set', 'alice', 'pw'], 2, /'pw' is one operand too many; usage: millrace user set NAME/)
  await fails(
    ['user', 'delete', 'alice'],
    3,
    "there is no user 'alice'; millrace user list shows those there are [RESOURCE_NOT_FOUND]",
  )
})

test('a broker that is not there, is something else, or wants a token', async () => {
  const advice = "'millrace start' runs a broker on this machine; -s URL or MILLRACE_SERVER names another"
  await fails(
    ['topic', 'list', '-s', 'ws://127.0.0.1:1'],
    5,
    `no broker answers: ws://127.0.0.1:1: connection refused; ${advice} [CONNECTION_FAILED]`,
  )
  await fails(['topic', 'list', '-s', 'http://x'], 2, /'http:\/\/x' is not the URL of a broker, such as ws:/)
  const refused = `${broker.url} refuses the token: it is none of its auth.tokens [SASL_AUTHENTICATION_FAILED]`
  await fails(['topic', 'list', '--token', 'wrong'], 4, refused)
  const { code, stderr } = await millrace(['topic', 'list'], { url: broker.url, env: { NO_COLOR: '1' } })
  assert.equal(code, 4)
  assert.match(stderr, /asks for a token: give one of its auth\.tokens with --token or MILLRACE_TOKEN/)
})

test('what a command line cannot promise parses, and says so', () =>
  fails(
    ['consume', 'orders', '-g', 'g', '--semantics', 'exactly-once'],
    2,
    /cannot be part of a transaction; take at-least-once/,
  ))

test('moving replicas: what a broker alone cannot do, and what the flags cannot mean', async () => {
  const alone =
    'this broker is alone: it leads every partition, and there is no other broker that could have one [INVALID_REQUEST]'
  await fails(['cluster', 'rebalance', '--dry-run'], 1, alone)
  await fails(['cluster', 'decommission', '2', '--dry-run'], 1, alone)
  await fails(['cluster', 'elect'], 1, alone)
  await fails(['cluster', 'reassign', '--cancel'], 1, alone)
  const give = 'cluster reassign: give --topic and --replicas, or --plan, or --cancel; '
  const own = 'millrace cluster rebalance makes a plan of its own'
  await fails(['cluster', 'reassign'], 2, give + own)
  await fails(['cluster', 'reassign', '--topic', 'orders'], 2, give + own)
  await fails(['cluster', 'reassign', '--partition', '1'], 2, 'cluster reassign: --partition needs --topic')
  const cancel = 'cluster reassign: --cancel takes --topic and --partition, and nothing else'
  await fails(['cluster', 'reassign', '--cancel', '--dry-run'], 2, cancel)
  const both = ['--plan', 'p', '--topic', 'orders', '--replicas', '1']
  await fails(['cluster', 'reassign', ...both], 2, 'cluster reassign: give --plan or --replicas, not both')
  await fails(['cluster', 'reassign', '--plan', join(folder, 'absent')], 3, /--plan: there is no '.*absent'/)
  const plan = join(folder, 'plan')
  writeFileSync(plan, '{"topic":"orders","partition":0,"to":[1]}\n\n{"topic":"orders","partition":0,"to":[]}\n')
  const line =
    '--plan: line 3 is no move: expected {"topic": "…", "partition": 0, "to": [1, 2]}, as a dry run with --json prints'
  await fails(['cluster', 'reassign', '--plan', plan], 2, line)
  await fails(
    ['cluster', 'reassign', '--topic', 'orders', '--replicas', '1,x'],
    2,
    /--replicas: expected an integer .*'x'/,
  )
  await fails(['cluster', 'decommission', 'two'], 2, /NODE: expected an integer .*, not 'two'/)
  await fails(
    ['topic', 'alter', 'orders', '--drain'],
    2,
    'topic alter: --drain needs --partitions, the number that stays',
  )
  await fails(
    ['topic', 'alter', 'orders', '--drain', '--partitions', '9'],
    2,
    /orders has 3 partitions: keep 1 to 2, not 9/,
  )
})

test('an address for Kafka clients that cannot be had: named, with the flag; others may not reach one without authentication', async () => {
  const start = ['start', '--data-dir', join(folder, 'kafka'), '--listen', '127.0.0.1:0']
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const taken = new RegExp(
    `cannot listen on 127\\.0\\.0\\.1:${port}: the port is in use.*; stop that, or choose another with --kafka`,
  )
  await fails([...start, '--kafka', `127.0.0.1:${port}`], 1, taken)
  server.close()
  await fails([...start, '--kafka', '0.0.0.0:0'], 2, /0\.0\.0\.0 can be reached by others: set listeners\.kafka\.sasl/)
  await fails([...start, '--kafka', '9092'], 2, "--kafka: expected HOST:PORT or off, not '9092' [INVALID_CONFIG]")
})

test('a broker of a cluster that cannot start: its etcd, its node id', async () => {
  const start = ['start', '--data-dir', join(folder, 'clustered'), '--listen', '127.0.0.1:0']
  // One after the other is asked: within seconds all are named.
  const urls = ['http://127.0.0.1:1', 'http://localhost:2']
  const startedMs = performance.now()
  const absent =
    /^error: etcd cannot be reached: http:\/\/127\.0\.0\.1:1 \(connection refused\), http:\/\/localhost:2 \(.+\); start it, or name the URLs of its members with --etcd.*\[BROKER_NOT_AVAILABLE\]\n$/
  await fails([...start, '--etcd', urls.join(','), '--node-id', '1'], 5, absent)
  assert.ok(performance.now() - startedMs < ETCD_ABSENT_MS_MAX)
  const misspelt = "--etcd: expected URLs such as http://127.0.0.1:2379, not '127.0.0.1:2379' [INVALID_CONFIG]"
  await fails([...start, '--etcd', '127.0.0.1:2379'], 2, misspelt)
  const negative = "--node-id: nodeId: expected an integer from 0 to 2147483647, not '-1' [INVALID_CONFIG]"
  await fails([...start, '--etcd', urls[0]!, '--node-id', '-1'], 2, negative)
  await fails([...start, '--etcd', urls[0]!, '--node-id', 'one'], 2, /--node-id: nodeId: expected an integer .*'one'/)
})

test('a broker that cannot start: its data dir, its port, its configuration', async () => {
  const port = new URL(broker.url).port
  const start = ['start', '--data-dir', join(folder, 'other')]
  const held = `the data dir '${dataDir}' is in use by process ${broker.pid}: stop it, or name another data dir`
  await fails(['start', '--data-dir', dataDir, '--listen', '127.0.0.1:0'], 1, held)
  const who = process.platform === 'linux' ? ` by process ${broker.pid} \\(.*\\)` : ''
  const taken = new RegExp(
    `^error: cannot listen on 127\\.0\\.0\\.1:${port}: the port is in use${who}; stop that, or choose another with --listen$`,
    'm',
  )
  await fails([...start, '--listen', `127.0.0.1:${port}`], 1, taken)
  const below = join(folder, 'a-file', 'data')
  writeFileSync(join(folder, 'a-file'), '')
  const unmade = `the data dir '${below}' cannot be made: a part of the path is a file; name another with --data-dir`
  await fails(['start', '--data-dir', below, '--listen', '127.0.0.1:0'], 1, unmade)
  await fails([...start, '--listen', '0.0.0.0:0'], 2, /0\.0\.0\.0 can be reached by others: set auth\.tokens/)
  await fails([...start, '--listen', '7171'], 2, "--listen: expected HOST:PORT, not '7171' [INVALID_CONFIG]")
  await fails(
    [...start, '--profile', 'fast'],
    2,
    /--profile: expected one of throughput, latency, balanced, not 'fast'/,
  )
  await fails([...start, '--set', 'storage.fsync'], 2, "--set: expected key=value, not 'storage.fsync'")
  const unknown = "--set storage.fsnc: unknown key 'storage.fsnc'; did you mean 'storage.fsync'? [INVALID_CONFIG]"
  await fails([...start, '--set', 'storage.fsnc=group'], 2, unknown)
  const absent = join(folder, 'absent.yaml')
  await fails([...start, '-c', absent], 3, `configuration file: there is no '${absent}' [RESOURCE_NOT_FOUND]`)
})

test('a configuration file: every fault at once, with its line', async () => {
  const file = join(folder, 'broker.yaml')
  writeFileSync(file, 'shards: 3\nstorage:\n  fsnc: group\n  checkpoint: 5 s\nreplicas: 3\n')
  const faults = [
    '3 faults [INVALID_CONFIG]',
    `  ${file}:3: unknown key 'storage.fsnc'; did you mean 'storage.fsync'?`,
    `  ${file}:4: storage.checkpoint: expected a duration from 1s to 1h such as 50ms, 5s, 14d, not '5 s'`,
    `  ${file}:5: unknown key 'replicas'; did you mean 'topics.replicas'?`,
  ]
  await fails(['config', 'validate', file], 2, faults.join('\n'))
  writeFileSync(file, 'shards: [1\n')
  await fails(['config', 'validate', file], 2, /broker\.yaml:\d+: not YAML: /)
})

test('files of other tools', async () => {
  const file = join(folder, 'notes.txt')
  writeFileSync(file, 'not of Millrace\n')
  await fails(['verify', join(folder, 'absent')], 3, /data dir: there is no/)
  await fails(['verify', folder], 1, /is no data dir/)
  await fails(['verify', folder, '--accept-loss'], 2, /--accept-loss: only a repair loses anything; add --repair/)
  await fails(['verify', dataDir], 1, /in use by process \d+: stop it first/)
  await fails(['check', file], 2, /notes\.txt: line 1: not JSON; a history is JSON lines/)
  const { code, stderr } = await millrace(['dump', file], { env })
  assert.equal(code, 1)
  assert.match(stderr, /notes\.txt: not one batch: is it a segment/)
})

test('the client says the same from code', async () => {
  const refused = connect('ws://127.0.0.1:1')
  await assert.rejects(refused, hasCode('CONNECTION_FAILED', /ws:\/\/127\.0\.0\.1:1.*ECONNREFUSED/))
  const client = await connect(broker.url, { token: TOKEN })
  try {
    const sent = client.producer('ordrs').send({ value: 'x' })
    await assert.rejects(sent, hasCode('UNKNOWN_TOPIC_OR_PARTITION', /'ordrs'/))
    const misspelt = { acks: 'most' as 'all' }
    const refusal = hasCode('INVALID_ARGUMENT', /acks: expected one of none, leader, all, not 'most'/)
    assert.throws(() => client.producer('orders', misspelt), refusal)
  } finally {
    await client.close()
  }
})
