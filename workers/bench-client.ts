/** Thread entry of one client of `millrace bench`: connects, waits for the start, produces or consumes, tells what it measured. */
import { parentPort, workerData } from 'node:worker_threads'
import { type ClientThreadData, runClientThread } from '../src/cli/bench/client-threads.ts'

await runClientThread(workerData as ClientThreadData, parentPort!)
