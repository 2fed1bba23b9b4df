/**
 * `millrace cluster adopt --etcd URLS`: what a stopped single broker's data dir knows of topics goes into an empty etcd; the broker is
 * started with --etcd from then on.
 *
 * Ordering  data dir locked -> it gets an id of its own -> metadata written, the cluster's key last -> lock given back
 * Failure   repeated after a crash it goes on; records are not touched
 */
import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import { nodeTimers } from '../../base/node/node-timers.ts'
import { systemProcessProbe } from '../../base/node/process-probe.ts'
import { systemClock } from '../../base/node/system-clock.ts'
import { startTimer } from '../../base/node/system-timers.ts'
import { resolveConfig } from '../../config/index.ts'
import { type Adoption, adopt as adoptInto, planAdoption } from '../../coordination/adoption.ts'
import { EmbeddedMetadataStore } from '../../coordination/embedded-metadata-store.ts'
import type { MetadataStore } from '../../coordination/metadata-store.ts'
import { NodeDurableFiles } from '../../coordination/node-durable-files.ts'
import { openClusterStore } from '../../in-process/cluster-store.ts'
import { NodeFileSystem } from '../../io/node-file-system.ts'
import { holdDataDir } from '../../log/data-dir.ts'
import { type ConfigFlags, configInputOf } from '../config-input.ts'
import { UsageError } from '../errors.ts'
import { checkedFolder } from '../files.ts'
import type { Terminal } from '../terminal.ts'
import { counted } from '../words.ts'

export interface AdoptFlags extends ConfigFlags {
  readonly dryRun?: boolean
}

/** What of a terminal the command needs. */
export type AdoptOutput = Pick<Terminal, 'isJson' | 'writeJson' | 'say'>

const newId = (): string => randomBytes(16).toString('hex')

export async function adopt(terminal: Terminal, flags: AdoptFlags): Promise<void> {
  const config = resolveConfig(configInputOf(flags, process.env))
  if (config.cluster.etcdUrls.length === 0)
    throw new UsageError('cluster adopt: --etcd is missing: the URLs of an empty etcd, with commas')
  const dataDir = resolve(config.dataDir)
  checkedFolder('data dir', dataDir)
  const timers = { ...nodeTimers, startTimer }
  await adoptFrom(terminal, dataDir, flags.dryRun === true, () =>
    openClusterStore(config.cluster, { clock: systemClock, timers, newId }),
  )
}

/** `openStore` is called when the data dir is held and can be read. */
export async function adoptFrom(
  output: AdoptOutput,
  dataDir: string,
  dryRun: boolean,
  openStore: () => Promise<MetadataStore>,
): Promise<void> {
  const held = holdDataDir(new NodeFileSystem(), dataDir, systemProcessProbe())
  try {
    const { clusterId, nodeId, directoryId: known } = held.identity
    const directoryId = dryRun ? known : held.giveDirectoryId(newId())
    const plan = await readPlan(dataDir, { clusterId, nodeId, directoryId })
    const store = await openStore()
    try {
      const outcome = await adoptInto(store, plan, dryRun)
      tell(output, plan, dryRun && outcome !== 'already' ? 'would be' : outcome)
    } finally {
      await store.close()
    }
  } finally {
    held.release()
  }
}

async function readPlan(dataDir: string, broker: Parameters<typeof planAdoption>[1]): Promise<Adoption> {
  const embedded = await EmbeddedMetadataStore.open(new NodeDurableFiles(join(dataDir, 'metadata')), systemClock)
  try {
    return await planAdoption(embedded, broker)
  } finally {
    await embedded.close()
  }
}

function tell(output: AdoptOutput, plan: Adoption, outcome: 'would be' | 'adopted' | 'already'): void {
  const { clusterId, nodeId, topics, partitions } = plan
  if (output.isJson) output.writeJson({ clusterId, nodeId, topics, partitions, outcome })
  const what = `cluster ${clusterId}: ${counted(topics, 'topic')} with ${counted(partitions, 'partition')} of broker ${nodeId}`
  if (outcome === 'already') output.say(`${what} are in etcd already`)
  else if (outcome === 'adopted') output.say(`${what} are in etcd now; start it with --etcd from now on, never without`)
  else output.say(`${what} would be written to etcd; nothing is changed (--dry-run)`)
}
