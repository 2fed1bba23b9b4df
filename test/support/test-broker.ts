/** A real broker for one test: a temporary data dir, a free port, both gone afterwards. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BrokerProcess, type BrokerProcessOptions } from './broker-process.ts'

export async function withTestBroker(
  options: Omit<BrokerProcessOptions, 'dataDir'>,
  body: (broker: BrokerProcess, dataDir: string) => Promise<void>,
): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-test-'))
  try {
    const broker = await BrokerProcess.start({ ...options, dataDir })
    try {
      await body(broker, dataDir)
    } finally {
      await broker.stop()
    }
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}
