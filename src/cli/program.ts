/**
 * The tree of commands with every flag of the interface. Flags are parsed here; what a command does lies in commands/, loaded
 * when it runs, so that `millrace topic list` does not load a broker.
 */
import { Argument, type Command, Option } from 'commander'
import { CLIENT_VERSION } from '../client/client-options.ts'
import { SCRAM_MECHANISMS } from '../model/users.ts'
import type { Shell } from './completion.ts'
import type { GlobalOptions, Terminal } from './terminal.ts'
import { UsageCommand } from './usage-command.ts'

/** What a command's module exports. */
type Run = (terminal: Terminal, options: never, ...operands: never[]) => Promise<void>

export function buildProgram(terminal: Terminal): Command {
  const program = new UsageCommand('millrace')
  program
    .description('A distributed message queue with the memory of an event log')
    .version(CLIENT_VERSION, '-V, --version')
    .exitOverride()
    .enablePositionalOptions()
    .addHelpText('after', FIRST_STEPS)
  const add = (parent: Command, nameAndOperands: string, description: string): Command =>
    parent.command(nameAndOperands).description(description).exitOverride()
  const runs = (command: Command, load: () => Promise<Run>): void => {
    command.action(async (...all: unknown[]) => {
      const operands = all.slice(0, -2)
      const options = mergedOptions(command)
      terminal.configure(options)
      const run = (await load()) as unknown as (...args: unknown[]) => Promise<void>
      await run(terminal, options, ...operands)
    })
  }
  addStart(add, program, runs)
  addData(add, program, runs)
  addTopics(add, program, runs)
  addGroups(add, program, runs)
  addUsers(add, program, runs)
  addTools(add, program, runs)
  addCluster(add, program, runs)
  addBench(add, program, runs)
  addDoctor(add, program, runs)
  addCompletion(add, program, runs)
  addGlobals(program)
  return program
}

/** Options of a command and of those above it; what was given wins over defaults, what stands nearer wins. */
function mergedOptions(command: Command): GlobalOptions {
  const line: Command[] = []
  for (let each: Command | null = command; each !== null; each = each.parent) line.unshift(each)
  const merged: Record<string, unknown> = { ...command.opts() }
  for (const each of line)
    for (const [name, value] of Object.entries(each.opts()))
      if (each.getOptionValueSource(name) !== 'default') merged[name] = value
  return merged
}

type Add = (parent: Command, nameAndOperands: string, description: string) => Command
type Runs = (command: Command, load: () => Promise<Run>) => void

const GLOBAL_FLAGS = [
  ['-s, --server <url>', 'broker, or several with commas (env MILLRACE_SERVER; default ws://127.0.0.1:7171)'],
  ['--token <token>', 'for a broker that asks for one (env MILLRACE_TOKEN)'],
  ['--json', 'JSON on stdout, JSON lines when streaming'],
  ['-q, --quiet', 'no talk on stderr'],
  ['-v, --verbose', 'more talk on stderr'],
  ['--no-color', 'no colours (env NO_COLOR)'],
] as const

/** Every command takes them, wherever they stand; its help has them below its own. */
function addGlobals(command: Command): void {
  for (const [flags, description] of GLOBAL_FLAGS)
    command.addOption(new Option(flags, description).helpGroup('Global options:'))
  for (const each of command.commands) addGlobals(each)
}

const collect = (value: string, previous: string[] | undefined): string[] => [...(previous ?? []), value]

/** An option with a choice that may be given several times. */
function collected(option: Option): Option {
  const check = option.parseArg!
  return option.argParser((value: string, previous: string[] | undefined) =>
    collect(String(check(value, undefined)), previous),
  )
}

const FIRST_STEPS = `
First steps:
  millrace start                                a broker in ./data, on ws://127.0.0.1:7171
  millrace topic create orders                  and in another terminal: a topic,
  echo 'u1:hello' | millrace produce orders -K :     a record with the key u1,
  millrace consume orders -o start -e           and all records there are
  millrace doctor                               whether this machine is fit for a broker`

const PRODUCE_EXAMPLES = `
Examples:
  echo 'u1:hello' | millrace produce orders -K :        the key is u1, the value is hello
  millrace produce orders --file lines.txt --rate 1000  a record a line, 1,000 a second
  millrace consume a -o start -e --json | millrace produce b --input json`

const CONSUME_EXAMPLES = `
Examples:
  millrace consume orders                               what comes from now on
  millrace consume orders -o start -e                   all there is, then end
  millrace consume orders -o @-1h -f '%p/%o %k %v\\n'    of the last hour, with partition, offset and key
  millrace consume orders -o -10 -n 10 --json           the last ten of each partition, ten of them`

/** What a broker can be told: the same flags for all who need its configuration. */
function configFlags(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file')
    .addOption(
      new Option('--profile <name>', 'tunes speed, never safety').choices(['throughput', 'latency', 'balanced']),
    )
    .option('--data-dir <dir>', 'where records are kept (default ./data)')
    .option('--listen <host:port>', 'WebSocket and HTTP (default 127.0.0.1:7171)')
    .option('--kafka <host:port|off>', 'Kafka listener')
    .option('--shards <auto|n>', 'worker threads')
    .option('--insecure', 'listen beyond this machine without authentication')
    .option('--node-id <n>', 'identity of the broker in its cluster')
    .option('--etcd <urls>', 'metadata store of a cluster')
    .option('--set <key=value>', 'any configuration key', collect)
}

function addStart(add: Add, program: Command, runs: Runs): void {
  const start = configFlags(add(program, 'start', 'run a broker'))
  runs(start, async () => (await import('./commands/start.ts')).start)
}

function addData(add: Add, program: Command, runs: Runs): void {
  const produce = add(program, 'produce <topic>', 'send one record a line of stdin')
    .option('-k, --key <key>', 'key of every record')
    .option('-K, --key-separator <sep>', 'the part of a line before it is the key')
    .option('-H, --header <name:value>', 'header of every record', collect)
    .option('-p, --partition <n>', 'send to this partition')
    .option('--file <file>', 'read lines of a file instead of stdin')
    .addOption(new Option('--acks <acks>', 'who must have a record').choices(['none', 'leader', 'all']).default('all'))
    .addOption(
      new Option('--compression <codec>', 'compress batches').choices(['none', 'gzip', 'snappy', 'lz4', 'zstd']),
    )
    .option('--rate <n>', 'records a second at most')
    .addOption(new Option('--input <format>', 'what a line is').choices(['text', 'json']).default('text'))
    .addHelpText('after', PRODUCE_EXAMPLES)
  runs(produce, async () => (await import('./commands/produce.ts')).produce)

  const consume = add(program, 'consume <topics...>', 'read records to stdout')
    .option(
      '-o, --offset <offset>',
      'start | end | N | -N (last N) | +N (N after the start) | @TIME (ms, ISO date, -1h)',
    )
    .option('-n, --count <count>', 'stop after so many records')
    .option('-e, --exit-at-end', 'stop at the end that stood when the command began')
    .option('-g, --group <group>', 'read as a member of a consumer group')
    .option('-p, --partitions <list>', 'partitions, with commas')
    .option('-f, --format <format>', '%t topic %p partition %o offset %k key %v value %h headers %T timestamp')
    .addOption(
      new Option('--semantics <semantics>', 'with -g').choices(['at-most-once', 'at-least-once', 'exactly-once']),
    )
  consume.addHelpText('after', CONSUME_EXAMPLES)
  runs(consume, async () => (await import('./commands/consume.ts')).consume)
}

function addGroups(add: Add, program: Command, runs: Runs): void {
  const group = program.command('group').description('look at consumer groups, move and delete them').exitOverride()
  const load = () => import('./commands/group.ts')
  runs(add(group, 'list', 'all groups'), async () => (await load()).listGroups)
  const describe = add(group, 'describe <group>', 'members, committed offsets and lag, in records and in seconds')
  runs(describe, async () => (await load()).describeGroup)
  const seek = add(group, 'seek <group>', 'move committed offsets of a group without members')
    .requiredOption(
      '--to <offset>',
      'start | end | N | -N (last N) | +N (N after the start) | @TIME (ms, ISO date, -1h)',
    )
    .option('--topic <topic>', 'only there (default: all that the group has committed)')
    .option('--dry-run', 'show what would be done')
  runs(seek, async () => (await load()).seekGroup)
  runs(add(group, 'delete <group>', 'forget a group without members'), async () => (await load()).deleteGroup)
}

const USER_EXAMPLES = `
Examples:
  millrace user set alice                               asks for the password
  MILLRACE_PASSWORD=… millrace user set alice           or takes it from the environment
  pass show kafka | millrace user set alice             or from a pipe: never an argument, which others can see`

function addUsers(add: Add, program: Command, runs: Runs): void {
  const user = program
    .command('user')
    .description('who may come in at the Kafka listener (listeners.kafka.sasl)')
    .exitOverride()
  const load = () => import('./commands/user.ts')
  const set = add(user, 'set <name>', 'make a user, or give one another password')
    .addOption(
      collected(
        new Option('-m, --mechanism <mechanism>', 'only by this one; again for another (default: both)').choices(
          SCRAM_MECHANISMS,
        ),
      ),
    )
    .option('--iterations <n>', 'rounds of the password hash, 4096 to 16384 (default 8192)')
    .addHelpText('after', USER_EXAMPLES)
  runs(set, async () => (await load()).setUser)
  runs(add(user, 'list', 'all users'), async () => (await load()).listUsers)
  runs(add(user, 'delete <name>', 'remove a user'), async () => (await load()).deleteUser)
}

function addTopics(add: Add, program: Command, runs: Runs): void {
  const topic = program.command('topic').description('make, show and change topics').exitOverride()
  const load = () => import('./commands/topic.ts')
  const create = add(topic, 'create <name>', 'make a topic')
    .option('--partitions <n>', "partitions (default: the broker's)")
    .option('--replicas <n>', "replicas (default: the broker's)")
    .option('--config <key=value>', 'topic configuration', collect)
    .option('--if-not-exists', 'a topic of this name is no error')
  runs(create, async () => (await load()).createTopic)
  runs(add(topic, 'list', 'all topics'), async () => (await load()).listTopics)
  runs(
    add(topic, 'describe <name>', 'partitions, leaders, replicas, offsets, configuration'),
    async () => (await load()).describeTopic,
  )
  runs(add(topic, 'delete <name>', 'remove a topic and its records'), async () => (await load()).deleteTopic)
  const alter = add(topic, 'alter <name>', 'add or drain partitions, change configuration')
    .option('--partitions <n>', 'the new total; keys move to other partitions')
    .option('--drain', 'with fewer partitions: the surplus ones take no records and go when empty')
    .option('--config <key=value>', 'set a key; key= puts it back to the default', collect)
  runs(alter, async () => (await load()).alterTopic)
  const trim = add(topic, 'trim <name>', 'remove the records before an offset').requiredOption(
    '--before <offset>',
    'N, end (all there is), -N (all but the last N), +N (N more), @TIME (what is older)',
  )
  trim.option('-p, --partitions <list>', 'partitions, with commas (default: all)')
  runs(trim, async () => (await load()).trimTopic)
}

function addTools(add: Add, program: Command, runs: Runs): void {
  const verify = add(program, 'verify <data-dir>', "check every batch and index of a stopped broker's data")
  verify.option('--repair', 'cut an offline log at its damage; in a cluster it begins anew from its leader')
  verify.option(
    '--accept-loss',
    'with --repair: cut every damaged log and serve what is left; in a cluster only for what no other broker has',
  )
  runs(verify, async () => (await import('./commands/verify.ts')).verify)
  runs(add(program, 'dump <segment>', 'batches and records of a segment file, as JSON lines'), async () => {
    return (await import('./commands/dump.ts')).dump
  })
  const check = add(program, 'check <history>', 'check a history of operations (JSON lines) for anomalies')
  check.option('--max <n>', 'show at most so many anomalies (default 20)')
  check.option('--ww', 'count the order of writes as dependencies between transactions (not so in the model of Kafka)')
  runs(check, async () => (await import('./commands/check.ts')).check)
  const config = program.command('config').description('what a broker is told').exitOverride()
  const show = configFlags(add(config, 'show', 'every key with its value, as a file'))
  show.option('--effective', 'as a table, with where each value comes from')
  const loadConfig = () => import('./commands/config.ts')
  runs(show, async () => (await loadConfig()).showConfig)
  runs(add(config, 'validate <file>', 'check a configuration file'), async () => (await loadConfig()).validateConfig)
  runs(add(config, 'profiles', 'the profiles and what they set'), async () => (await loadConfig()).showProfiles)
}

function addCluster(add: Add, program: Command, runs: Runs): void {
  const cluster = program.command('cluster').description('look at brokers, move replicas').exitOverride()
  const views = [
    ['info', 'identity, version, controller and counts'],
    ['brokers', 'the brokers: where they listen, what they hold'],
    ['shards', 'the threads that own partitions'],
    ['health', 'whether all partitions are led and replicated; exit code 5 when not'],
  ] as const
  for (const [view, description] of views)
    runs(add(cluster, view, description), async () => {
      const { describeCluster } = await import('./commands/cluster.ts')
      return (terminal: Terminal) => describeCluster(terminal, view)
    })
  const load = () => import('./commands/replicas.ts')
  const dryRun = ['--dry-run', 'only show the plan; with --json in lines that reassign --plan reads'] as const
  const wait = ['--wait', 'until all that has to move has moved'] as const
  const reassign = add(cluster, 'reassign', 'move the replicas of partitions to brokers that you name')
    .option('--topic <topic>', 'of this topic')
    .option('--partition <n>', 'this partition (default: all of the topic, each led by another of the brokers)')
    .option('--replicas <list>', 'node ids with commas, the preferred leader first')
    .option('--plan <file>', 'moves as JSON lines {"topic", "partition", "to"}')
    .option('--cancel', 'take moves back (default: all that go on)')
    .option(...dryRun)
    .option(...wait)
  runs(reassign, async () => (await load()).reassign)
  const rebalance = add(cluster, 'rebalance', 'spread replicas and leaders evenly over brokers and racks')
  rebalance.option(...dryRun).option(...wait)
  runs(rebalance, async () => (await load()).rebalance)
  const decommission = add(cluster, 'decommission <node>', 'move all replicas of a broker to others')
  decommission
    .option('--undo', 'it takes replicas again')
    .option(...dryRun)
    .option(...wait)
  runs(decommission, async () => (await load()).decommission)
  runs(add(cluster, 'moves', 'what moves now, and how far it is'), async () => (await load()).moves)
  const elect = add(cluster, 'elect', 'give leadership back to preferred replicas')
    .option('--topic <topic>', 'of this topic (default: all)')
    .option('--partition <n>', 'this partition of it')
  runs(elect, async () => (await load()).elect)
  const adopt = configFlags(
    add(cluster, 'adopt', "take what a stopped single broker's data dir knows of topics over into an empty etcd"),
  )
  runs(
    adopt.option('--dry-run', 'only say what would be done'),
    async () => (await import('./commands/adopt.ts')).adopt,
  )
}

function addBench(add: Add, program: Command, runs: Runs): void {
  const bench = program.command('bench').description('measure a running broker').exitOverride()
  const kinds = [
    ['produce', 'records a second, acknowledged'],
    ['consume', 'records a second, read back; the topic is filled before'],
    ['latency', 'from send() to the record in for await, at a rate'],
    ['shards', "produce by one of the broker's shards, by two, by all, with how busy its main thread is"],
  ] as const
  for (const [kind, description] of kinds) {
    const command = add(bench, kind, description)
      .option('--api <api>', 'enqueue or send, batches or iterate (default: the first)')
      .option('--profile <name>', "how the clients are tuned (default: the broker's profile)")
      .option('--size <bytes>', 'of a record, key and value (default 1024)')
      .option('--records <n>', 'how many (default 1000000; latency: the rate times the seconds)')
      .option('--rate <n>', 'records a second (default: as many as go; latency 1000)')
      .option('--seconds <s>', 'stop after so long (latency 10)')
      .option('--producers <n>', 'clients that produce, a thread each (default 1; shards: one a shard)')
      .option('--consumers <n>', 'clients that share the partitions (default 1)')
      .option('--partitions <n>', "of the topic (default: the broker's; shards: two a shard)")
    runs(command, async () => {
      const run = (await import('./commands/bench.ts')).bench
      return (terminal: Terminal, options: never) => run(terminal, options, kind)
    })
  }
}

function addDoctor(add: Add, program: Command, runs: Runs): void {
  const doctor = configFlags(add(program, 'doctor', 'whether this machine is fit for a broker, and what to do'))
  runs(doctor, async () => (await import('./commands/doctor.ts')).doctor)
}

function addCompletion(add: Add, program: Command, runs: Runs): void {
  const completion = add(program, 'completion', 'a script that completes commands and flags in your shell')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .addHelpText('after', '\n  eval "$(millrace completion bash)"    in ~/.bashrc')
  runs(completion, async () => {
    const { completionScript } = await import('./completion.ts')
    return async (terminal: Terminal, _flags: GlobalOptions, shell: Shell) => {
      terminal.write(completionScript(program, shell))
    }
  })
}
