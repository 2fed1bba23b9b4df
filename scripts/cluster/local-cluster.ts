/**
 * LocalCluster: one etcd and the brokers of a plan as processes of this machine.
 *
 * Owns      the processes, the warden
 * Ordering  ports looked at -> etcd answers -> brokers started together -> all ready. Stop: brokers one by one, so that each hands its
 *           leaders to those that are left -> etcd
 * Limits    ETCD_READY_MS_MAX, BROKER_READY_MS_MAX; a stop: BROKER_STOP_MS_MAX a broker, ETCD_STOP_MS_MAX
 * Failure   start() rejects with the reason and the last lines of who ended or was not ready; what was started is then to be stopped
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Child } from './child.ts'
import type { ClusterFlags } from './options.ts'
import { type BrokerPlan, commandLine, type EtcdPlan, isOfCluster, planBrokers, planEtcd } from './plan.ts'
import { chooseEtcdPorts, portFault } from './ports.ts'
import { Warden } from './warden.ts'

const ETCD_READY_MS_MAX = 30_000
const BROKER_READY_MS_MAX = 90_000
/** A broker's own bound is 70 s (src/broker/shutdown.ts). */
const BROKER_STOP_MS_MAX = 80_000
const ETCD_STOP_MS_MAX = 10_000
const LOOK_MS = 100
const ASK_MS_MAX = 2_000

/** dist/scripts/cluster -> dist/src/cli/main.js. */
const MILLRACE = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'src', 'cli', 'main.js')

export interface LocalClusterOptions {
  readonly flags: ClusterFlags
  readonly etcdProgram: string
  /** Of this program. */
  readonly say: (line: string) => void
  /** Of a process. */
  readonly onLine: (name: string, line: string) => void
  /** No broker is left, though nobody asked. */
  readonly onOver: () => void
}

export class LocalCluster {
  readonly brokers: Child[] = []
  readonly plans: BrokerPlan[] = []
  readonly #options: LocalClusterOptions
  readonly #warden = new Warden()
  #etcdPlan: EtcdPlan | undefined
  #etcd: Child | undefined
  #isStopping = false

  constructor(options: LocalClusterOptions) {
    this.#options = options
  }

  get etcdUrl(): string {
    return this.#etcdPlan?.url ?? ''
  }

  async start(): Promise<void> {
    const { flags, say } = this.#options
    const { ports, note } = await chooseEtcdPorts()
    this.plans.push(...planBrokers(flags, ports))
    await this.#checkPorts()
    if (flags.isClean) removeOld(flags.dataDir)
    mkdirSync(flags.dataDir, { recursive: true })
    if (note !== undefined) say(note)
    this.#etcdPlan = planEtcd(flags.dataDir, ports)
    this.#etcd = this.#spawn('etcd', this.#options.etcdProgram, this.#etcdPlan.args, ETCD_STOP_MS_MAX)
    await this.#ready(this.#etcd, this.#etcdPlan.healthUrl, ETCD_READY_MS_MAX)
    for (const { name, args } of this.plans)
      this.brokers.push(this.#spawn(name, process.execPath, [MILLRACE, ...args], BROKER_STOP_MS_MAX))
    await Promise.all(
      this.brokers.map((broker, index) =>
        this.#ready(broker, `http${this.plans[index]!.url.slice(2)}/readyz`, BROKER_READY_MS_MAX),
      ),
    )
    this.#watchEnds()
  }

  /** The same however far the start got. */
  async stop(): Promise<void> {
    this.#isStopping = true
    const { say } = this.#options
    for (const broker of this.brokers.toReversed()) {
      if (!broker.isUp) continue
      say(`stopping ${broker.name}`)
      await broker.stop()
    }
    if (this.#etcd?.isUp === true) say('stopping etcd')
    await this.#etcd?.stop()
    this.#warden.close()
  }

  /** At once. */
  kill(): void {
    this.#isStopping = true
    for (const broker of this.brokers) broker.kill()
    this.#etcd?.kill()
  }

  /** What starts broker `index` again, by hand. */
  commandOf(index: number): string {
    return commandLine(['npx', 'millrace', ...this.plans[index]!.args])
  }

  async #checkPorts(): Promise<void> {
    const faults: string[] = []
    for (const { port } of this.plans) {
      const fault = await portFault(port)
      if (fault !== undefined) faults.push(fault)
    }
    if (faults.length > 0) throw new Error(`${faults.join('\n')}\nstop that, or choose others with --ports-from N`)
  }

  #spawn(name: string, program: string, args: readonly string[], stopMsMax: number): Child {
    if (this.#isStopping) throw new Error('stopped')
    const onLine = (line: string): void => this.#options.onLine(name, line)
    return new Child({ name, program, args, stopMsMax, onLine, warden: this.#warden })
  }

  /** Until `url` answers 200. */
  async #ready(child: Child, url: string, msMax: number): Promise<void> {
    const untilMs = performance.now() + msMax
    let how: string | undefined
    void child.ended.then((text) => {
      how = text
    })
    while (!(await isOk(url))) {
      if (this.#isStopping) throw new Error('stopped')
      const why = how ?? (performance.now() >= untilMs ? `not ready within ${msMax / 1000} s` : undefined)
      if (why !== undefined)
        throw new Error(
          [`${child.name} did not start: ${why}`, ...child.lastLines.map((line) => `  ${line}`)].join('\n'),
        )
      await sleep(LOOK_MS)
    }
    if (how !== undefined) throw new Error(`${child.name} did not start: ${how}; another process answers at ${url}`)
  }

  #watchEnds(): void {
    const { say, onOver, etcdProgram } = this.#options
    for (const [index, broker] of this.brokers.entries())
      void broker.ended.then((how) => {
        if (this.#isStopping) return
        say(`${broker.name} has ended (${how}). In another terminal, this starts it again:\n  ${this.commandOf(index)}`)
        if (this.brokers.every(({ isUp }) => !isUp)) onOver()
      })
    void this.#etcd?.ended.then((how) => {
      if (this.#isStopping) return
      const again = commandLine([etcdProgram, ...this.#etcdPlan!.args])
      say(`etcd has ended (${how}). acks=all goes on; elections and topics wait. This starts it again:\n  ${again}`)
    })
  }
}

async function isOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(ASK_MS_MAX) })).ok
  } catch {
    return false
  }
}

function removeOld(dataDir: string): void {
  let entries: string[] = []
  try {
    entries = readdirSync(dataDir)
  } catch {
    return
  }
  for (const entry of entries.filter(isOfCluster)) rmSync(join(dataDir, entry), { recursive: true, force: true })
}
