/**
 * MachineLoad: how much of the machine others took while a run went on: the load average before it, and the CPU of all processes but the
 * bench's own. What a bench measures beside a busy neighbour is a figure of both.
 */
import { readFileSync } from 'node:fs'
import { loadavg } from 'node:os'

/** Above it a figure is to be marked. */
export const LOAD_MAX = 3
const TICKS_PER_SECOND = 100

export interface MachineLoadOptions {
  /** Seconds of CPU of the bench's own processes so far, this one left out; undefined: they come and go, and others are not told. */
  readonly ownCpu?: () => number
  /** Of the last minute. */
  readonly loadAverage?: () => number
}

export class MachineLoad {
  readonly #ownCpu: (() => number) | undefined
  readonly #loadAverage: () => number
  readonly #loads: number[] = []
  readonly #othersCores: number[] = []

  constructor({ ownCpu, loadAverage = () => loadavg()[0]! }: MachineLoadOptions = {}) {
    this.#ownCpu = ownCpu
    this.#loadAverage = loadAverage
  }

  async during<T>(body: () => Promise<T>): Promise<T> {
    this.#loads.push(this.#loadAverage())
    const [busy, own, startedMs] = [busySeconds(), this.#ownSeconds(), performance.now()]
    const value = await body()
    const seconds = (performance.now() - startedMs) / 1000
    this.#othersCores.push(Math.max(0, (busySeconds() - busy - (this.#ownSeconds() - own)) / seconds))
    return value
  }

  /** One sentence for the report. */
  text(): string {
    const loads = this.#loads.map((load) => `${load.toFixed(1)}${load > LOAD_MAX ? ' (above 3)' : ''}`)
    const others = this.#othersCores.map((cores) => cores.toFixed(2))
    const text = `  load average before each run: ${loads.join(', ')}`
    return this.#ownCpu === undefined ? text : `${text}; cores that others took, etcd among them: ${others.join(', ')}`
  }

  #ownSeconds(): number {
    const { user, system } = process.cpuUsage()
    return (this.#ownCpu?.() ?? 0) + (user + system) / 1e6
  }
}

/** Of all processors since boot; NaN where there is no /proc. */
function busySeconds(): number {
  try {
    const [, ...fields] = (/^cpu .*$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[0] ?? '').split(/\s+/)
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = fields.map(Number)
    return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
  } catch {
    return Number.NaN
  }
}
