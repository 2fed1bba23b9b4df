/**
 * DiskDamage: what happens to the disk of a broker that does not run: bits flip, files are cut, folders are gone; and what its owner does
 * about it: `millrace verify --repair` where a start would not see it.
 *
 * Invariants checked   verify finds nothing in what a crash leaves; a start or verify finds every damage of a segment
 * Not here             damage that nobody can tell: of the last batches behind what the power left of the synced ends (they look like a torn
 *                      tail), of a leader epoch behind the recovery point (outside its checksum, and only batches say what it is)
 */
import type { Prng } from '../../../src/base/prng.ts'
import type { FileSystem } from '../../../src/io/file-system.ts'
import type { MemoryFileSystem } from '../../../src/io/memory-file-system.ts'
import { listPartitionFolders, openDataDir, type ProcessProbe, readIdentity } from '../../../src/log/data-dir.ts'
import { recoverDataDir } from '../../../src/log/data-dir-recovery.ts'
import { verifyDataDir } from '../../../src/log/log-verify.ts'
import { boundsByFolder, planRecovery } from '../../../src/log/recovery-plan.ts'
import { batchBytesAt, PARTITION_LEADER_EPOCH_AT } from '../../../src/record/batch-layout.ts'
import { verifyLog } from '../../../src/tools/verify-log.ts'
import { pick } from '../simulation/seed-plan.ts'
import { DATA_DIR } from '../simulation/simulated-broker.ts'
import { SimulatedCrash, type SimulatedMachine } from '../simulation/simulated-machine.ts'
import type { ClusterEvent } from './cluster-reach.ts'

const KINDS = [
  'bit flipped',
  'bit flipped',
  'bit flipped',
  'segment cut',
  'index cut',
  'folder lost',
  'disk lost',
] as const
const INDEX_NAME = /\.(index|timeindex|txnindex)$/

const ATTEMPTS_MAX = 5

interface Struck {
  readonly kind: Exclude<(typeof KINDS)[number], 'disk lost'>
  readonly folder: string
  readonly what: string
}

export interface DamagedNode {
  readonly machine: SimulatedMachine
  readonly prng: Prng
  /** The process ended in any way but with the machine's power: everything it wrote is in the files. */
  readonly isPageCacheWhole: boolean
  readonly count: (event: ClusterEvent) => void
  readonly say: (text: string) => void
}

/** What a start and verify find. */
interface Found {
  /** Folders that a start finds damaged. */
  readonly byStart: ReadonlySet<string>
  /** Folders in which verify finds damage, or a leader epoch that is not the batch's. */
  readonly byVerify: ReadonlySet<string>
  /** Where a start says that logs end. */
  readonly ends: ReadonlyMap<string, number>
  readonly text: string
}

export class DiskDamage {
  readonly #node: DamagedNode

  constructor(node: DamagedNode) {
    this.#node = node
  }

  /** Damages one thing and has it repaired where no start would find it. Answers folders that must be set aside, never removed. */
  strike(): string[] {
    const { machine, prng, count, say } = this.#node
    const { disk, probe } = machine
    if (readIdentity(disk, DATA_DIR) === undefined) return []
    const before = disk.clone()
    const sound = findIn(before, probe)
    if (sound.byVerify.size > 0 || sound.byStart.size > 0)
      throw new Error(`before any damage something is found: ${sound.text}`)
    const struck = this.#strikeSomething()
    if (struck === undefined) return []
    const { kind, folder } = struck
    const found = findIn(disk, probe)
    const isFound = found.byStart.has(folder) || found.byVerify.has(folder)
    if (!isFound && !this.#node.isPageCacheWhole && endOf(found, folder) < endOf(sound, folder)) {
      machine.replaceDisk(before)
      return []
    }
    count(kind)
    say(`${kind}: ${folder}: ${struck.what}`)
    if (found.byStart.has(folder)) count('found by a start')
    const isHidden = [...found.byVerify].some((each) => !found.byStart.has(each))
    if (isHidden) count('found by verify alone')
    const mustBeKept = isFound && hasBytes(disk, folder) ? [folder] : []
    if (!isHidden && prng.below(3) > 0) return mustBeKept
    const repaired = this.#repair()
    return isHidden && !repaired.has(folder) ? [] : mustBeKept
  }

  /** Not every kind finds something to do. */
  #strikeSomething(): Struck | undefined {
    const { machine, prng, count, say } = this.#node
    for (let attempts = 0; attempts < ATTEMPTS_MAX; attempts++) {
      const kind = pick(prng, KINDS)
      if (kind === 'disk lost') {
        machine.loseDisk()
        count(kind)
        say('the disk is lost')
        return undefined
      }
      const folder = this.#someFolder()
      const what = folder === undefined ? undefined : this.#damage(kind, folder)
      if (folder !== undefined && what !== undefined) return { kind, folder, what }
    }
    return undefined
  }

  #someFolder(): string | undefined {
    const { machine, prng } = this.#node
    const folders = listPartitionFolders(machine.disk, DATA_DIR).filter(({ name }) => hasBytes(machine.disk, name))
    return folders.length === 0 ? undefined : pick(prng, folders).name
  }

  /** Answers what it did; undefined when there is nothing to do it to. */
  #damage(kind: Struck['kind'], folder: string): string | undefined {
    const { machine, prng } = this.#node
    const { disk } = machine
    const path = `${DATA_DIR}/${folder}`
    const names = disk.list(path).filter((name) => disk.contentOf(`${path}/${name}`).length > 0)
    if (kind === 'folder lost') {
      for (const name of disk.list(path)) disk.remove(`${path}/${name}`)
      disk.removeFolder(path)
      disk.syncFolder(DATA_DIR)
      return 'it is gone'
    }
    const files = names.filter((name) => (kind === 'index cut' ? INDEX_NAME.test(name) : name.endsWith('.log')))
    if (files.length === 0) return undefined
    const name = pick(prng, files)
    const bytes = disk.contentOf(`${path}/${name}`)
    const at = prng.below(bytes.length)
    if (kind !== 'bit flipped') {
      cut(disk, `${path}/${name}`, at)
      return `${name} is cut to ${at} of ${bytes.length}`
    }
    const baseOffset = offsetIfEpoch(bytes, at)
    const bounds = boundsByFolder(planRecovery(disk, { dataDir: DATA_DIR, incarnation: Number.MAX_SAFE_INTEGER }))
    if (baseOffset !== undefined && baseOffset >= (bounds.get(folder)?.recoveryPoint ?? 0)) return undefined
    disk.damage(`${path}/${name}`, at, Uint8Array.of(bytes[at]! ^ (1 << prng.below(8))))
    return `a bit of byte ${at} of ${bytes.length} of ${name}`
  }

  /** Sometimes it is killed in the middle, and done again. Answers the folders that it cut. */
  #repair(): Set<string> {
    const { machine, prng, count, say } = this.#node
    count('repaired')
    const repaired = new Set<string>()
    const write = (line: string): void => {
      say(`verify: ${line}`)
      const { type, folder } = JSON.parse(line) as { type: string; folder: string }
      if (type === 'repaired') repaired.add(folder)
    }
    const run = (files: FileSystem) =>
      verifyLog({ files, dataDir: DATA_DIR, probe: machine.probe, repair: true, write })
    if (prng.below(3) === 0) {
      machine.dieAtOperation(prng.below(40), pick(prng, ['kill', 'power']))
      try {
        run(machine.files)
      } catch (error) {
        if (!(error instanceof SimulatedCrash)) throw error
        count('repair killed')
      }
      machine.files.heal()
    }
    const { damages } = run(machine.files)
    if (damages > 0) throw new Error(`${damages} damages are left after a repair`)
    return repaired
  }
}

function findIn(disk: MemoryFileSystem, probe: ProcessProbe): Found {
  const { findings } = verifyDataDir(disk, { dataDir: DATA_DIR, probe })
  const image = disk.clone()
  const { nodeId } = readIdentity(image, DATA_DIR)!
  const { identity, previousRun } = openDataDir(image, { path: DATA_DIR, nodeId, newClusterId: '', probe })
  const { incarnation } = identity
  const { results } = recoverDataDir(image, { dataDir: DATA_DIR, incarnation, previousRun })
  const isDamage = ({ kind, file }: (typeof findings)[number]) =>
    kind === 'damage' || (kind === 'rebuildable' && file.endsWith('.log'))
  const damages = findings.filter(isDamage)
  const damaged = results.filter(({ recovered }) => recovered?.damaged != null)
  return {
    byVerify: new Set(damages.map(({ file }) => file.split('/')[0]!)),
    byStart: new Set(damaged.map(({ folder }) => folder)),
    text: JSON.stringify([damages, damaged.map(({ folder, recovered }) => [folder, recovered?.damaged])]),
    ends: new Map(results.map(({ folder, recovered }) => [folder, recovered?.logEndOffset ?? 0])),
  }
}

function endOf({ ends }: Found, folder: string): number {
  return ends.get(folder) ?? 0
}

function hasBytes(disk: MemoryFileSystem, folder: string): boolean {
  const path = `${DATA_DIR}/${folder}`
  if (disk.stat(path).kind !== 'folder') return false
  return disk.list(path).some((name) => name.endsWith('.log') && disk.contentOf(`${path}/${name}`).length > 0)
}

function cut(disk: MemoryFileSystem, path: string, bytes: number): void {
  const fd = disk.open(path, 'write')
  disk.truncate(fd, bytes)
  disk.fsync(fd)
  disk.close(fd)
}

/** The base offset of the batch whose leader epoch byte `at` belongs to. */
function offsetIfEpoch(segment: Uint8Array, at: number): number | undefined {
  let batchAt = 0
  for (;;) {
    const total = batchBytesAt(segment, batchAt, segment.length)
    if (total < 0 || at < batchAt + total) break
    batchAt += total
  }
  const epochAt = batchAt + PARTITION_LEADER_EPOCH_AT
  if (at < epochAt || at >= epochAt + 4) return undefined
  return Number(new DataView(segment.buffer, segment.byteOffset).getBigInt64(batchAt))
}
