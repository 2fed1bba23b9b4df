import './dist/src/base/node/native-crc32c.js'
import { ReplicaHandler } from './dist/src/worker/replica-handler.js'
import { ReplicaFixture } from './dist/test/support/replica-fixture.js'
import { PartitionLog } from './dist/src/log/partition-log.js'
const lines = []
const ids = new Map(); const id = (o) => { if (!ids.has(o)) ids.set(o, ids.size); return ids.get(o) }
for (const n of ['truncateTo', 'restartAt', 'advanceLogStart']) { const f = PartitionLog.prototype[n]; PartitionLog.prototype[n] = function (...a) { const before = JSON.stringify([this.logStartOffset, this.logEndOffset, this.epochs.toEntries()]); const r = f.apply(this, a); lines.push(`log${id(this)}.${n} ${JSON.stringify(a)} ${before} -> ${JSON.stringify([this.logStartOffset, this.logEndOffset, this.epochs.toEntries()])}`); return r } }
const open = PartitionLog.open
PartitionLog.open = function (c, o) { const r = open.call(this, c, o); lines.push(`open log${id(r)} ${JSON.stringify([r.logStartOffset, r.logEndOffset, r.epochs.toEntries()])}`); return r }
const create = PartitionLog.create
PartitionLog.create = function (c, o) { const r = create.call(this, c, o); lines.push(`create log${id(r)}`); return r }
const tellOne = ReplicaFixture.prototype.tellOne
ReplicaFixture.prototype.tellOne = function (node, p) { const r = tellOne.call(this, node, p); lines.push(`tell ${node.nodeId} leader ${this.leader} epoch ${this.leaderEpoch} in ${JSON.stringify(this.inSync)} ends ${node.logEndOffset}/${node.lastEpoch}`); return r }
const { runReplicaSeed } = await import('./dist/test/support/replica-simulation/replica-run.js')
const out = runReplicaSeed(Number(process.argv[2]))
console.log(out.failure?.split('\n').slice(0,3).join('\n'))
console.log(lines.slice(-Number(process.argv[3] ?? 40)).join('\n'))
