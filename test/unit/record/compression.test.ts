import assert from 'node:assert/strict'
import { test } from 'node:test'
import zlib from 'node:zlib'
import fc from 'fast-check'
import { bytesOfHex, utf8Encode } from '../../../src/base/bytes.ts'
import { isMillraceError } from '../../../src/model/errors.ts'
import {
  CODEC_NAMES,
  codecNameOf,
  codecNumberOf,
  countedCodecs,
  NO_CODECS,
  requireCodec,
} from '../../../src/record/compression.ts'
import { lz4FrameBytesMax } from '../../../src/record/lz4-frame.ts'
import { nodeCodecs } from '../../../src/record/node-codecs.ts'
import { zstdBytesMin } from '../../../src/record/zstd-frame.ts'

const codecs = nodeCodecs()
const names = ['gzip', 'snappy', 'lz4', 'zstd'] as const

/** The code of the MillraceError that `work` throws. */
function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (isMillraceError(error)) return error.code
    throw error
  }
  return 'nothing was thrown'
}

test('names and numbers', () => {
  assert.deepEqual(CODEC_NAMES.map(codecNumberOf), [0, 1, 2, 3, 4])
  assert.equal(codecNameOf(3), 'lz4')
  assert.equal(codecNameOf(5), undefined)
  assert.equal(codecNumberOf('brotli'), undefined)
  for (const number of [0, 1, 5, 7])
    assert.equal(
      codeOf(() => requireCodec(NO_CODECS, number)),
      'UNSUPPORTED_COMPRESSION_TYPE',
    )
})

for (const name of names) {
  const codec = codecs.find(name)!

  test(`${name}: what is packed unpacks the same, within exactly its own size`, () => {
    const content = fc.oneof(
      fc.uint8Array({ maxLength: 2000 }),
      fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), fc.nat(20_000)).map(([unit, times]) => {
        const bytes = new Uint8Array(unit.length * times)
        for (let at = 0; at < bytes.length; at++) bytes[at] = unit[at % unit.length]!
        return bytes
      }),
    )
    fc.assert(
      fc.property(content, (bytes) => {
        const packed = codec.compress(bytes)
        assert.ok(Buffer.from(codec.decompress(packed, bytes.length)).equals(Buffer.from(bytes)))
        // gzip has no bound below one byte.
        if (bytes.length > 1)
          assert.equal(
            codeOf(() => codec.decompress(packed, bytes.length - 1)),
            'RECORD_LIST_TOO_LARGE',
          )
      }),
      { numRuns: 60 },
    )
  })

  test(`${name}: a bomb is refused and costs no memory`, () => {
    const bomb = codec.compress(new Uint8Array(96 * 1024 * 1024))
    const before = process.memoryUsage()
    assert.equal(
      codeOf(() => codec.decompress(bomb, 1024 * 1024)),
      'RECORD_LIST_TOO_LARGE',
    )
    const after = process.memoryUsage()
    const grown = after.external + after.arrayBuffers - before.external - before.arrayBuffers
    assert.ok(grown < 32 * 1024 * 1024, `${grown} bytes were allocated`)
  })

  test(`${name}: what is not its format is CORRUPT_MESSAGE, also cut`, () => {
    const packed = codec.compress(utf8Encode('some content, some content, some content, some content'.repeat(20)))
    const junk = [new Uint8Array(0), new Uint8Array(40), new Uint8Array(40).fill(0xff), packed.subarray(0, 3)]
    for (const bytes of junk)
      assert.equal(
        codeOf(() => codec.decompress(bytes, 1_000_000)),
        'CORRUPT_MESSAGE',
        `${bytes.length} bytes`,
      )
  })
}

test('snappy: a declared length that the bytes cannot hold is refused before anything is allocated', () => {
  const codec = codecs.find('snappy')!
  assert.equal(
    codeOf(() => codec.decompress(bytesOfHex('ffffff1f00000000'), 2 ** 30)),
    'CORRUPT_MESSAGE',
  )
})

test('snappy: a xerial stream whose block reaches past the end is refused', () => {
  const stream = Uint8Array.from(codecs.find('snappy')!.compress(utf8Encode('x'.repeat(100))))
  stream[19]! += 1
  assert.equal(
    codeOf(() => codecs.find('snappy')!.decompress(stream, 1000)),
    'CORRUPT_MESSAGE',
  )
})

test('lz4: the sequences are counted exactly when the bound of the blocks is too coarse', () => {
  const content = utf8Encode('abcdefgh'.repeat(5000) + Array.from({ length: 3000 }, (_, index) => index * index).join())
  const packed = codecs.find('lz4')!.compress(content)
  assert.equal(lz4FrameBytesMax(packed, content.length), content.length)
  assert.ok(lz4FrameBytesMax(packed, content.length - 1)! > content.length - 1)
  assert.ok(lz4FrameBytesMax(packed, 1_000_000)! >= content.length)
  assert.equal(lz4FrameBytesMax(packed.subarray(0, -1), 1_000_000), undefined)
})

test('lz4: two frames are refused, not read by half', () => {
  const frame = codecs.find('lz4')!.compress(utf8Encode('hello hello hello'))
  const two = new Uint8Array(2 * frame.length)
  two.set(frame)
  two.set(frame, frame.length)
  assert.equal(
    codeOf(() => codecs.find('lz4')!.decompress(two, 1000)),
    'CORRUPT_MESSAGE',
  )
})

test('gzip: several members are read as one', () => {
  const two = Buffer.concat([zlib.gzipSync('abc'), zlib.gzipSync('def')])
  assert.equal(Buffer.from(codecs.find('gzip')!.decompress(two, 6)).toString(), 'abcdef')
})

test('zstd: a declared size beyond the bound is refused by its header alone', () => {
  // Single segment, 8-byte content size of 2^40, one empty last block.
  const frame = bytesOfHex('28b52ffde00000000000010000010000')
  assert.equal(
    codeOf(() => codecs.find('zstd')!.decompress(frame, 1_000_000)),
    'RECORD_LIST_TOO_LARGE',
  )
})

test('zstd: blocks that only repeat a byte are counted before they are unpacked', () => {
  // No content size; 100 blocks of 128 KiB of one byte, in 404 bytes.
  const block = (isLast: boolean) => `${isLast ? '03' : '02'}001000`
  const frame = bytesOfHex(`28b52ffd0058${block(false).repeat(99)}${block(true)}`)
  assert.equal(zstdBytesMin(frame), 100 * 128 * 1024)
  assert.equal(codecs.find('zstd')!.decompress(frame, 100 * 128 * 1024).length, 100 * 128 * 1024)
  assert.equal(
    codeOf(() => codecs.find('zstd')!.decompress(frame, 100 * 128 * 1024 - 1)),
    'RECORD_LIST_TOO_LARGE',
  )
})

test('zstd: a frame cut at any byte is refused, and the next one is read whole', () => {
  const codec = codecs.find('zstd')!
  const content = utf8Encode(Array.from({ length: 500 }, (_, index) => `record ${index * 7919}`).join())
  const packed = codec.compress(content)
  for (let end = 0; end < packed.length; end += 7) {
    assert.equal(
      codeOf(() => codec.decompress(packed.subarray(0, end), 100_000)),
      'CORRUPT_MESSAGE',
    )
    // A stream that threw halfway must not leave its state to the next.
    const damaged = Uint8Array.from(packed)
    damaged[end]! ^= 0x55
    try {
      codec.decompress(damaged, 100_000)
    } catch {
      // Some damage shows, some only the checksum of the batch would tell.
    }
    assert.deepEqual(codec.decompress(packed, 100_000), content)
  }
})

test('zstd: several frames are read as one, frames to skip are skipped, junk behind them is refused', () => {
  const codec = codecs.find('zstd')!
  const [first, second] = [codec.compress(utf8Encode('first ')), codec.compress(utf8Encode('second'))]
  const skippable = bytesOfHex('502a4d1803000000aabbcc')
  const both = Buffer.concat([first, skippable, second])
  assert.deepEqual(codec.decompress(both, 12), utf8Encode('first second'))
  assert.equal(
    codeOf(() => codec.decompress(Buffer.concat([both, Uint8Array.of(1, 2, 3)]), 100)),
    'CORRUPT_MESSAGE',
  )
})

test('zstd: unpacking many batches does not pile up contexts', () => {
  const codec = codecs.find('zstd')!
  const packed = codec.compress(new Uint8Array(400_000).map((_, index) => (index * index) >> 7))
  const before = process.memoryUsage().rss
  for (let round = 0; round < 300; round++) assert.equal(codec.decompress(packed, 400_000).length, 400_000)
  const grown = process.memoryUsage().rss - before
  assert.ok(grown < 400 * 1024 * 1024, `${grown} bytes more are resident`)
})

test('zstd: frames after one another use one compressor', () => {
  const codec = codecs.find('zstd')!
  for (let round = 0; round < 5; round++) {
    const content = utf8Encode(`round ${round} `.repeat(50 + round))
    assert.deepEqual(codec.decompress(codec.compress(content), 10_000), content)
  }
})

test('counted codecs tell of every call, of those that throw too', () => {
  const made: number[] = []
  const counted = requireCodec(
    countedCodecs(nodeCodecs(), (bytes) => void made.push(bytes)),
    1,
  )
  const packed = counted.compress(new Uint8Array(1000))
  assert.equal(counted.decompress(packed, 1000).length, 1000)
  assert.throws(() => counted.decompress(packed, 10))
  assert.throws(() => counted.decompress(packed.subarray(5), 1000))
  assert.deepEqual(made, [packed.length, 1000, 0, 0])
})
