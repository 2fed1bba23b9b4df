/** The other thread of the ring stress test: echoes every frame's check words, lends nothing, gives pages back; or writes until it is killed. */
import { workerData } from 'node:worker_threads'
import { openDiskSide, openShardSide, type ShardChannel } from '../../src/ring/shard-channel.ts'
import { checkFrame, fillFrame, STRESS_END, STRESS_FRAME, STRESS_PAGE } from './ring-frames.ts'

const { channel, role } = workerData as { readonly channel: ShardChannel; readonly role: 'echo' | 'disk' | 'flood' }

if (role === 'echo') echo()
else if (role === 'disk') returnPages()
else flood()

/** Shard's side: checks each frame and answers its sequence and length; a full reply ring is waited for on the signal. */
function echo(): void {
  const { requests, replies, signal, doorbell } = openShardSide(channel)
  let expected = 0
  for (;;) {
    const sequence = signal.sequence()
    while (requests.next()) {
      const isEnd = requests.type === STRESS_END
      if (!isEnd) checkFrame(requests, expected++)
      for (;;) {
        const before = signal.sequence()
        const at = replies.claim(requests.type, 8, 'data')
        if (at >= 0) {
          replies.view.setUint32(at, expected, true)
          replies.view.setUint32(at + 4, requests.length, true)
          break
        }
        replies.publish()
        doorbell.ring()
        signal.wait(before, 5000)
      }
      if (expected % 5 === 0 && requests.release()) doorbell.ring()
      if (isEnd) {
        replies.publish()
        doorbell.ring()
        return
      }
    }
    const isWanted = requests.release()
    replies.publish()
    if (isWanted || !replies.hasRoom(0, 'data') || replies.usedBytes() > 0) doorbell.ring()
    signal.wait(sequence, 5000)
  }
}

/** Disk thread's side: reads the mark of each lent page, checks that it stays while it holds the page, gives it back. */
function returnPages(): void {
  const { requests, signal, shardSignal, pages } = openDiskSide(channel)
  for (;;) {
    const sequence = signal.sequence()
    while (requests.next()) {
      if (requests.type !== STRESS_PAGE) return
      const page = requests.view.getUint32(requests.at, true)
      const mark = requests.view.getUint32(requests.at + 4, true) & 255
      if (!pages.view(page, 0, pages.pageBytes).every((byte) => byte === mark))
        throw new Error(`page ${page} changed while lent`)
      pages.release(page)
      requests.release()
      shardSignal.ring()
    }
    signal.wait(sequence, 5000)
  }
}

/** Shard's side: writes frames for ever, until it is terminated. */
function flood(): void {
  const { replies, signal, doorbell } = openShardSide(channel)
  for (let frame = 0; ; frame++) {
    const payloadBytes = 8 + ((frame * 40) % 400)
    let at = -1
    while (at < 0) {
      const sequence = signal.sequence()
      at = replies.claim(STRESS_FRAME, payloadBytes, 'data')
      if (at < 0) signal.wait(sequence, 5000)
    }
    fillFrame(replies, { at, payloadBytes, sequence: frame })
    replies.publish()
    doorbell.ring()
  }
}
