/**
 * Writes what is generated: the files of config/ and the table of docs/kafka.md: `npm run generate`. With --check (`npm run check`) nothing is
 * written, and what is not as it would be written fails.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import '../src/config/write-files.ts'
import { withKafkaTable } from './kafka-table.ts'

const file = new URL('../../docs/kafka.md', import.meta.url)
const text = readFileSync(file, 'utf8')
const wanted = withKafkaTable(text)
if (wanted !== text && process.argv.includes('--check')) {
  process.stderr.write('the table of docs/kafka.md is stale: npm run generate writes it\n')
  process.exitCode = 1
} else if (wanted !== text) {
  writeFileSync(file, wanted)
  process.stdout.write('wrote docs/kafka.md\n')
}
