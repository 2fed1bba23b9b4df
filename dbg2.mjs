import './dist/src/base/node/native-crc32c.js'
import { runReplicaSeed } from './dist/test/support/replica-simulation/replica-run.js'
const out = runReplicaSeed(Number(process.argv[2]))
console.log(out.failure)
console.log(out.log.slice(-40).join('\n'))
