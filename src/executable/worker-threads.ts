/**
 * node:worker_threads as the main thread of a single executable sees it: a Worker's code comes from inside. Whoever starts one
 * (broker/worker-pool.ts, Piscina) names a file, as everywhere; the name's last part says which of the threads is meant.
 */
import { basename } from 'node:path'
import { getAsset } from 'node:sea'
import * as threads from 'node:worker_threads'

export * from 'node:worker_threads'

export class Worker extends threads.Worker {
  constructor(file: string | URL, options?: threads.WorkerOptions) {
    super(getAsset(`workers/${basename(String(file))}`, 'utf8'), { ...options, eval: true })
  }
}
