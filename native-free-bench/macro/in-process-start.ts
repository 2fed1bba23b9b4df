/**
 * How long a test waits for a broker: import + createBroker({ storage: 'memory' }) + topic, first record sent and read back, each time
 * in a fresh process. Beside it what Node itself takes to run an empty program, which everybody pays.
 *
 *   node dist/native-free-bench/macro/in-process-start.js [--smoke] [--runs 5]
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { benchOptions } from '../harness/options.ts'
import { spreadOf, spreadText } from '../harness/statistics.ts'

const options = benchOptions()
const runs = options.number('runs', 5, 2)
const entry = fileURLToPath(new URL('../harness/in-process-first-record.js', import.meta.url))
const samples = new Map<string, number[]>()

function note(name: string, milliseconds: number): void {
  const known = samples.get(name)
  if (known === undefined) samples.set(name, [milliseconds])
  else known.push(milliseconds)
}

for (let run = 0; run < runs; run++) {
  const spawnedMs = performance.now()
  execFileSync(process.execPath, ['-e', '0'])
  note('empty program', performance.now() - spawnedMs)
  const text = execFileSync(process.execPath, [entry], { encoding: 'utf8' })
  for (const [name, value] of Object.entries(JSON.parse(text) as Record<string, number>)) note(name, value)
}
for (const [name, values] of samples) console.log(`${name.padEnd(14)} ${spreadText(spreadOf(values))} ms`)
console.log(
  `import + create + first record back: ${spreadOf(samples.get('total')!).median.toFixed(0)} ms, median of ${runs}`,
)
