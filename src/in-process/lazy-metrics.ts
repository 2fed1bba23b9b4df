/** LazyMetrics: counts nothing, and loads nothing, until a door is opened through which somebody could ask for /metrics. */
import type { Metrics, MetricsPort } from '../telemetry/metrics.ts'

export class LazyMetrics implements MetricsPort {
  #metrics: Metrics | undefined
  #isClosed = false

  async open(): Promise<void> {
    const { Metrics } = await import('../telemetry/metrics.ts')
    if (!this.#isClosed) this.#metrics ??= new Metrics()
  }

  observeRequest(request: string, milliseconds: number): void {
    this.#metrics?.observeRequest(request, milliseconds)
  }

  observeFetchedBytes(bytes: number): void {
    this.#metrics?.observeFetchedBytes(bytes)
  }

  countError(code: string): void {
    this.#metrics?.countError(code)
  }

  setShard(...args: Parameters<MetricsPort['setShard']>): void {
    this.#metrics?.setShard(...args)
  }

  setGateway(...args: Parameters<MetricsPort['setGateway']>): void {
    this.#metrics?.setGateway(...args)
  }

  get contentType(): string {
    return this.#metrics?.contentType ?? 'text/plain; charset=utf-8'
  }

  async text(): Promise<string> {
    return this.#metrics?.text() ?? ''
  }

  close(): void {
    this.#isClosed = true
    this.#metrics?.close()
    this.#metrics = undefined
  }
}
