import './dist/src/base/node/native-crc32c.js'
import { runReplicaSeed } from './dist/test/support/replica-simulation/replica-run.js'
import { MemoryFileSystem } from './dist/src/io/memory-file-system.js'
const seed = Number(process.argv[2])
const lines = []
const filter = new RegExp(process.argv[3] ?? 'snapshot')
let ids = new Map()
const id = (o) => { if (!ids.has(o)) ids.set(o, ids.size); return ids.get(o) }
for (const name of ['remove', 'rename', 'open']) {
  const f = MemoryFileSystem.prototype[name]
  MemoryFileSystem.prototype[name] = function (...args) { if (filter.test(args.join(' ')) && !(name==='open' && args[1]==='read')) lines.push(`${id(this)} ${name} ${args.join(' ')} @ ${new Error().stack.split('\n').slice(2,7).map(l=>l.trim().replace(/file:.*\//,'')).join(' < ')}`); return f.apply(this, args) }
}
const c = MemoryFileSystem.prototype.crash
MemoryFileSystem.prototype.crash = function (...args) { const r = c.apply(this, args); lines.push(`${id(this)} crashes to ${id(r)} ${JSON.stringify(args[1])}`); return r }
const out = runReplicaSeed(seed)
console.log(out.failure)
for (const l of lines.slice(-Number(process.argv[4] ?? 25))) console.log(l)
