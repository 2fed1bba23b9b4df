/** The flights of the `vega-datasets` package as records, and the check that a topic has them all, once each and in order. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Client } from '../src/client/index.ts'

export interface Row {
  readonly key: string
  readonly value: string
}

// The package exports its build only: build/<file> beside data/.
const dataFolder = join(dirname(createRequire(import.meta.url).resolve('vega-datasets')), '..', 'data')

export function loadFlights(file: string, keyField: string): Row[] {
  const rows = JSON.parse(readFileSync(join(dataFolder, file), 'utf8')) as Record<string, unknown>[]
  return rows.map((row) => ({ key: String(row[keyField]), value: JSON.stringify(row) }))
}

/** Reads the topic from start to end and compares: each key's records must come in the order in which they were sent. */
export async function consumeAndCheck(mq: Client, topic: string, rows: readonly Row[]): Promise<number> {
  const expected = new Map<string, string[]>()
  for (const { key, value } of rows) {
    const values = expected.get(key)
    if (values === undefined) expected.set(key, [value])
    else values.push(value)
  }
  const places = new Map<string, { partition: number; next: number }>()
  const decoder = new TextDecoder()
  let count = 0
  const startedMs = performance.now()
  for await (const batch of mq.consume(topic, { from: 'start', to: 'end' }).batches()) {
    const record = batch.reader()
    while (record.next()) {
      const key = decoder.decode(record.key!)
      const place = places.get(key) ?? { partition: batch.partition, next: 0 }
      places.set(key, place)
      const where = `${topic}/${batch.partition} at offset ${record.offset}, key ${key}`
      if (place.partition !== batch.partition) throw new Error(`${where}: the key was in partition ${place.partition}`)
      const wanted = expected.get(key)?.[place.next++]
      if (decoder.decode(record.value!) !== wanted) throw new Error(`${where}: expected ${wanted ?? 'no more records'}`)
      count++
    }
  }
  const elapsedMs = performance.now() - startedMs
  if (count !== rows.length) throw new Error(`${topic}: ${rows.length} records were sent, ${count} were read`)
  return elapsedMs
}
