/** Where a single executable keeps its native parts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nativeFolders } from '../../../src/executable/native-parts.ts'

const HASH = '0123456789abcdef'

test('beside the executable first, then below the cache of the user; builds have folders of their own', () => {
  const name = 'millrace-native-0123456789ab'
  assert.deepEqual(nativeFolders('/opt/millrace', { HOME: '/home/u' }, HASH), [
    `/opt/${name}`,
    `/home/u/.cache/${name}`,
  ])
  assert.equal(
    nativeFolders('/opt/millrace', { HOME: '/home/u', XDG_CACHE_HOME: '/var/cache' }, HASH)[1],
    `/var/cache/${name}`,
  )
  // As systemd and cron leave it: no HOME at all.
  assert.match(nativeFolders('/opt/millrace', {}, HASH)[1]!, /\.cache\/millrace-native-0123456789ab$/)
  assert.notDeepEqual(nativeFolders('/opt/millrace', {}, HASH), nativeFolders('/opt/millrace', {}, `f${HASH}`))
})
