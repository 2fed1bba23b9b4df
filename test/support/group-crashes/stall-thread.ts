/**
 * The thread of StallProbe: a timer, and a broker's /livez asked again and again; each that is late is told with its times. It does
 * nothing else: what it sees late was late for want of a processor, or in the broker.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { machineMs } from './member-journal.ts'

const TICK_MS = 20
const ASK_MS = 100
/** Timers are so late at any time. */
const LATE_MS = 10
/** An answer may take so long. */
const ANSWER_MS = 30
const ANSWER_MS_MAX = 60_000

function tell(fromMs: number, toMs: number): void {
  parentPort!.postMessage({ fromMs, toMs })
}

let dueMs = machineMs() + TICK_MS
setInterval(() => {
  const nowMs = machineMs()
  if (nowMs > dueMs + LATE_MS) tell(dueMs, nowMs)
  dueMs = nowMs + TICK_MS
}, TICK_MS)

for (;;) {
  const askedMs = machineMs()
  await fetch(workerData as string, { signal: AbortSignal.timeout(ANSWER_MS_MAX) })
    .then((answer) => answer.arrayBuffer())
    .catch(() => {})
  const nowMs = machineMs()
  if (nowMs > askedMs + ANSWER_MS) tell(askedMs + ANSWER_MS, nowMs)
  await new Promise((resolve) => setTimeout(resolve, ASK_MS))
}
