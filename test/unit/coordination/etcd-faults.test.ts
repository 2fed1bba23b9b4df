/** The texts are those that etcd 3.4, etcd3 1.1.2 and grpc-js 1.14 give. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type EtcdFault, faultOf } from '../../../src/coordination/etcd-faults.ts'

const NONE = '14 UNAVAILABLE: No connection established. Last error: '
const NOTE = '. Resolution note: '

test('what an error means, and how it is told', () => {
  const rows: [text: string, kind: EtcdFault['kind'], reason: string][] = [
    [`${NONE}Error: connect ECONNREFUSED 127.0.0.1:1${NOTE}`, 'unsent', 'connection refused'],
    [`${NONE}Failed to connect (2026-01-02T03:04:05.678Z)${NOTE}`, 'unsent', 'the connection broke'],
    [
      `${NONE}Error: unable to verify the first certificate${NOTE}`,
      'unsent',
      'TLS: unable to verify the first certificate',
    ],
    [`${NONE}null${NOTE}`, 'unsent', ''],
    ['14 UNAVAILABLE: Name resolution failed for target dns:x:1', 'unsent', 'its name is not known'],
    [
      '4 DEADLINE_EXCEEDED: Deadline exceeded after 1.5s,name resolution: 0.006s,Waiting for LB pick',
      'unsent',
      'timeout: no answer',
    ],
    ['4 DEADLINE_EXCEEDED: Deadline exceeded after 1.5s,remote_addr=1.2.3.4', 'lost', 'timeout: no answer'],
    ['14 UNAVAILABLE: Channel closed before call started', 'unsent', 'Channel closed before call started'],
    ['14 UNAVAILABLE: Connection dropped', 'lost', 'the connection broke'],
    ['14 UNAVAILABLE: etcdserver: request timed out', 'lost', 'timeout: no answer'],
    ['14 UNAVAILABLE: etcdserver: leader changed', 'lost', 'etcdserver: leader changed'],
    ['14 UNAVAILABLE: etcdserver: no leader', 'lost', 'etcdserver: no leader'],
    ['8 RESOURCE_EXHAUSTED: etcdserver: too many requests', 'unsent', 'etcdserver: too many requests'],
    ['Lease 5 NOT_FOUND: etcdserver: requested lease not found is expired', 'lease-gone', 'the lease does not exist'],
    ['11 OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted', 'compacted', 'compacted'],
  ]
  for (const [text, kind, reason] of rows) {
    const fault = faultOf(new Error(text))
    assert.deepEqual([fault.kind, fault.reason], [kind, reason], text)
  }
})

test('what etcd refuses: with which code', () => {
  const rows: [text: string, code: string, reason: RegExp][] = [
    [
      '3 INVALID_ARGUMENT: etcdserver: authentication failed, invalid user ID or password',
      'BROKER_NOT_AVAILABLE',
      /password is wrong/,
    ],
    ['3 INVALID_ARGUMENT: etcdserver: user name is empty', 'BROKER_NOT_AVAILABLE', /wants a user/],
    ['7 PERMISSION_DENIED: etcdserver: permission denied', 'BROKER_NOT_AVAILABLE', /permission denied/],
    ['8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded', 'DISK_FULL', /full/],
    ['3 INVALID_ARGUMENT: etcdserver: request is too large', 'INVALID_ARGUMENT', /bounds/],
  ]
  for (const [text, code, reason] of rows) {
    const fault = faultOf(new Error(text))
    assert.equal(fault.kind === 'refused' && fault.code, code, text)
    assert.match(fault.reason, reason)
  }
})
