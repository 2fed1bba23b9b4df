/**
 * `npm run cluster`: an etcd and three brokers on this machine until Ctrl-C, for trying what a cluster does. See README.md beside it.
 *
 * Exit codes  130 and 0 after SIGINT and SIGTERM, 2 for flags, 1 when something did not start or no broker is left
 */
import { styleText } from 'node:util'
import { findEtcd } from './etcd-program.ts'
import { LocalCluster } from './local-cluster.ts'
import { parseFlags, USAGE } from './options.ts'

/** A terminal and whoever passes signals on may both bring the same Ctrl-C. */
const SAME_WORD_MS = 1_000
const PARENT_LOOK_MS = 500

// Nobody reads any more: that ends nothing but the talk.
process.stdout.on('error', () => {})

const isColored = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === ''
const COLORS = ['cyan', 'green', 'magenta', 'blue', 'yellow'] as const

const say = (text: string): void => print('cluster', text, 'bold')

function print(name: string, text: string, style: 'bold' | (typeof COLORS)[number]): void {
  const head = `${name.padEnd(7)} |`
  const prefix = isColored ? styleText(style, head) : head
  for (const line of text.split('\n')) process.stdout.write(`${prefix} ${line}\n`)
}

function colorOf(name: string): (typeof COLORS)[number] {
  return name === 'etcd' ? 'yellow' : COLORS[Number(name.slice(-1)) % 4]!
}

function tellReady(cluster: LocalCluster): void {
  const { plans, brokers } = cluster
  const pidOf = (index: number): number => brokers[index]!.pid
  const lines = [
    `ready: ${plans.length} brokers and etcd at ${cluster.etcdUrl}`,
    ...plans.map(({ name, url }, index) => `  ${name}  ${url}  http${url.slice(2)}/readyz  pid ${pidOf(index)}`),
    '',
    'In another terminal:',
    `  export MILLRACE_SERVER=${plans.map(({ url }) => url).join(',')}`,
    `  npx millrace topic create flights --partitions 6 --replicas ${Math.min(3, plans.length)}`,
    '  npx millrace cluster brokers',
    '  npm run demo:cluster                 # 20,000 flights; a leader is killed in the middle',
    `  kill -9 ${pidOf(plans.length - 1)}${' '.repeat(Math.max(1, 29 - String(pidOf(plans.length - 1)).length))}# or kill one yourself: this says how to start it again`,
    '',
    'Ctrl-C stops all of it in order.',
  ]
  say(lines.join('\n'))
}

/** Resolves with the word that ends the cluster. */
function untilTold(cluster: LocalCluster): { readonly told: Promise<string>; readonly tell: (word: string) => void } {
  let toldMs: number | undefined
  let resolveTold: (word: string) => void = () => {}
  const told = new Promise<string>((resolve) => {
    resolveTold = resolve
  })
  const tell = (word: string): void => {
    if (toldMs !== undefined && performance.now() - toldMs > SAME_WORD_MS) {
      say('killing what is left')
      cluster.kill()
    }
    toldMs ??= performance.now()
    resolveTold(word)
  }
  process.on('SIGINT', () => tell('SIGINT'))
  process.on('SIGTERM', () => tell('SIGTERM'))
  process.on('SIGHUP', () => tell('SIGHUP'))
  // Whoever started this program being gone means the same.
  const starter = process.ppid
  setInterval(() => {
    if (process.ppid !== starter && toldMs === undefined) tell('SIGTERM')
  }, PARENT_LOOK_MS).unref()
  return { told, tell }
}

async function run(): Promise<number> {
  const parsed = parseFlags(process.argv.slice(2))
  if (parsed.kind !== 'run') {
    process[parsed.kind === 'help' ? 'stdout' : 'stderr'].write(
      parsed.kind === 'help' ? `${USAGE}\n` : `error: ${parsed.text}\n\n${USAGE}\n`,
    )
    return parsed.kind === 'help' ? 0 : 2
  }
  let over: () => void = () => {}
  const cluster = new LocalCluster({
    ...{ flags: parsed.flags, etcdProgram: findEtcd(say), say },
    onLine: (name, line) => print(name, line, colorOf(name)),
    onOver: () => over(),
  })
  const { told, tell } = untilTold(cluster)
  over = () => tell('no broker is left')
  const started = cluster.start().then(() => tellReady(cluster))
  try {
    // A word that comes during the start ends it as well.
    const early = await Promise.race([started.then(() => undefined), told])
    const word = early ?? (await told)
    say(`${word}: stopping`)
    return word === 'SIGINT' ? 130 : word === 'no broker is left' ? 1 : 0
  } finally {
    await cluster.stop()
    await started.catch(() => {})
    say('stopped')
  }
}

try {
  process.exitCode = await run()
} catch (error) {
  say(`error: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
