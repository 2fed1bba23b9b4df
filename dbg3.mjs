import './dist/src/base/node/native-crc32c.js'
import { runReplicaSeed } from './dist/test/support/replica-simulation/replica-run.js'
import { FolderReplay } from './dist/src/log/folder-replay.js'
import { PartitionLog } from './dist/src/log/partition-log.js'
import { LogCut } from './dist/src/worker/log-cut.js'
import { CommitJournal } from './dist/src/log/commit-journal.js'
const lines = []
const ids = new Map(); const id = (o) => { if (!ids.has(o)) ids.set(o, ids.size); return ids.get(o) }
const run = FolderReplay.prototype.run
import { planRecovery } from './dist/src/log/recovery-plan.js'
for (const [cls, names] of [[PartitionLog, ['truncateTo', 'restartAt', 'completeCheckpoint', 'advanceLogStart']], [CommitJournal, ['addTruncate', 'addLogStart']]])
  for (const n of names) { const f = cls.prototype[n]; cls.prototype[n] = function (...a) { const r = f.apply(this, a); lines.push(`${cls.name}${id(this)}.${n} ${JSON.stringify(a)} -> ${JSON.stringify(r)} ${this.logEndOffset ?? ''} ${this.syncedEndOffset ?? ''}`); return r } }
FolderReplay.prototype.run = function () { const r = run.apply(this); lines.push(`recovery ends: start ${this.logStartOffset} next ${this.nextOffset} fault ${this.fault} lower ${this.lowerFault} snap ${this.snapshotOffset}`); return r }
const settle = FolderReplay.prototype.settle
import * as rec from './dist/src/log/log-recovery.js'
const out = runReplicaSeed(Number(process.argv[2]))
console.log(out.failure?.split('\n').slice(0,3).join('\n'))
console.log(lines.slice(-Number(process.argv[3] ?? 40)).join('\n'))
