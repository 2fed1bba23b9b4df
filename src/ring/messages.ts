/**
 * The messages that cross between gateway, shard and disk thread: one table, fixed layouts for the hot ones, msgpack for
 * the rest. Little-endian (one machine, one process); offsets and timestamps are float64 (safe integers).
 *
 * A message is a ring frame: `type` is the frame's type word, the layout below its payload. Field constants are byte
 * distances from the payload's start; variable parts follow the fixed part. Only code and text of an error cross.
 *
 * Direction  gateway -> shard (request ring: PRODUCE, CONTROL, REPLICA_APPEND; read ring: FETCH, FETCH_FINISH, FETCH_CANCEL,
 *            REPLICA_PROGRESS),
 *            shard -> gateway (reply ring), shard -> disk, disk -> shard
 * Ordering   a ring is FIFO: control that changes a partition travels in order with data, the end of a fetch behind the fetch.
 *            A fetch has a ring of its own, so that it does not queue behind megabytes of produce; it needs no order with
 *            them: it reads what is visible when it is served, and whoever has seen an acknowledgement finds the record
 *            visible. A partition's handle is used in a fetch only between the answers to its opening and its closing; one
 *            that is overtaken by the close gets UNKNOWN_TOPIC_OR_PARTITION, and a handle is given away again only after
 *            REPLICA_PROGRESS lies there for the same reason: acknowledgements wait for it, and what it tells was first made possible by
 *            an answer to a fetch under the epoch it names
 * Priority   `control` frames may use the reserved quarter of a ring; `data` frames (PRODUCE, FETCH) may not.
 *            Replication is `control`: producers that fill the ring may not keep a follower from what it follows
 * Reply room every request names `requestId`, the gateway's slot; each request gets exactly one final reply; REPLICA_PROGRESS has
 *            none and names none
 */

export const MessageType = {
  // gateway -> shard, request ring: PRODUCE, CONTROL, REPLICA_APPEND; read ring: FETCH, FETCH_FINISH, FETCH_CANCEL, REPLICA_PROGRESS
  PRODUCE: 1,
  FETCH: 2,
  FETCH_FINISH: 3,
  FETCH_CANCEL: 4,
  CONTROL: 5,
  REPLICA_APPEND: 6,
  REPLICA_PROGRESS: 7,
  // shard -> gateway
  PRODUCE_REPLY: 33,
  FETCH_REPLY: 34,
  CONTROL_REPLY: 35,
  NOTICE: 36,
  REPLICA_APPENDED: 37,
  REPLICA_SYNCED: 38,
  // shard -> disk thread
  DISK_SYNC: 65,
  DISK_READ: 66,
  DISK_STOP: 67,
  // disk thread -> shard
  DISK_SYNC_DONE: 97,
  DISK_READ_DONE: 98,
} as const
export type MessageType = (typeof MessageType)[keyof typeof MessageType]

export const ACKS_NONE = 0
export const ACKS_LEADER = 1
export const ACKS_ALL = -1
export type Acks = typeof ACKS_NONE | typeof ACKS_LEADER | typeof ACKS_ALL

/** How durable a record is, as told in receipts. Replicated: on the in-sync replicas, synced by each, or written by each (fsync interval). */
export const Durability = { NONE: 0, WRITTEN: 1, FSYNCED: 2, REPLICATED: 3, REPLICATED_WRITTEN: 4 } as const
export type Durability = (typeof Durability)[keyof typeof Durability]

// PRODUCE: one partition's batches of one request. Batches follow the fixed part, `batchBytes` long, one or more whole ones.
// | at | size | field        |
// |  0 |    4 | requestId    | u32; 0 with acks=none: no reply is sent, errors become a NOTICE 'produce-failed'
// |  4 |    4 | partitionRef | u32
// |  8 |    4 | leaderEpoch  | i32; -1 = not checked
// | 12 |    4 | acks         | i32
// | 16 |    4 | timeoutMs    | u32
// | 20 |    4 | batchBytes   | u32
// | 24 |      | batches      |
export const PRODUCE_REQUEST_ID_AT = 0
export const PRODUCE_PARTITION_REF_AT = 4
export const PRODUCE_LEADER_EPOCH_AT = 8
export const PRODUCE_ACKS_AT = 12
export const PRODUCE_TIMEOUT_MS_AT = 16
export const PRODUCE_BATCH_BYTES_AT = 20
export const PRODUCE_BATCHES_AT = 24

// PRODUCE_REPLY
// |  0 |    4 | requestId       | u32
// |  4 |    4 | partitionRef    | u32
// |  8 |    4 | errorNumber     | i32
// | 12 |    4 | durability      | i32
// | 16 |    8 | baseOffset      | f64; -1 on error
// | 24 |    8 | logAppendTimeMs | f64; -1 with CreateTime
// | 32 |    8 | logStartOffset  | f64
// | 40 |    4 | leaderEpoch     | i32
// | 44 |    4 | textBytes       | u32; what was wrong, UTF-8, empty when there is nothing to add
// | 48 |      | text            |
export const PRODUCE_REPLY_REQUEST_ID_AT = 0
export const PRODUCE_REPLY_PARTITION_REF_AT = 4
export const PRODUCE_REPLY_ERROR_AT = 8
export const PRODUCE_REPLY_DURABILITY_AT = 12
export const PRODUCE_REPLY_BASE_OFFSET_AT = 16
export const PRODUCE_REPLY_APPEND_TIME_AT = 24
export const PRODUCE_REPLY_LOG_START_AT = 32
export const PRODUCE_REPLY_LEADER_EPOCH_AT = 40
export const PRODUCE_REPLY_TEXT_BYTES_AT = 44
export const PRODUCE_REPLY_TEXT_AT = 48

// FETCH: what one client request, or a replica, wants from the partitions of one shard.
// |  0 |    4 | requestId      | u32
// |  4 |    4 | waitMs         | u32; 0 = answer at once
// |  8 |    4 | minBytes       | u32
// | 12 |    4 | maxBytes       | u32; over all its partitions; the first batch is sent even if it is larger
// | 16 |    4 | isolation      | i32; 0 read_uncommitted, 1 read_committed
// | 20 |    4 | partitionCount | u32
// | 24 |    4 | replicaNodeId  | i32; -1 = a consumer; else reads go to the log end, and tell how far that replica's log reaches
// | 28 |    4 | anyReplica     | u32; 1 = a follower answers too, up to its high watermark
// | 32 |    8 | replicaIncarnation | f64; of the replica's broker; -1 = a consumer
// | 40 |    4 | allPartitions  | u32; 1 = of a consumer: the reply has a line for each partition, in the request's order; where they are so
//                               many that a frame would have no room beside their lines, as without
// | 44 |    4 | 0              | u32
// | 48 | 24 each | partitions  | partitionRef u32, leaderEpoch i32 (-1 = not checked), fetchOffset f64, maxBytes u32,
//                               lastEpoch i32 (of the last batch that a replica has, or that a consumer took; -1 = none, or not told)
export const FETCH_REQUEST_ID_AT = 0
export const FETCH_WAIT_MS_AT = 4
export const FETCH_MIN_BYTES_AT = 8
export const FETCH_MAX_BYTES_AT = 12
export const FETCH_ISOLATION_AT = 16
export const FETCH_PARTITION_COUNT_AT = 20
export const FETCH_REPLICA_NODE_ID_AT = 24
export const FETCH_ANY_REPLICA_AT = 28
export const FETCH_REPLICA_INCARNATION_AT = 32
export const FETCH_ALL_PARTITIONS_AT = 40
export const FETCH_PARTITIONS_AT = 48
export const FETCH_PARTITION_REF_AT = 0
export const FETCH_PARTITION_LEADER_EPOCH_AT = 4
export const FETCH_PARTITION_OFFSET_AT = 8
export const FETCH_PARTITION_MAX_BYTES_AT = 16
export const FETCH_PARTITION_LAST_EPOCH_AT = 20
export const FETCH_PARTITION_BYTES = 24

// FETCH_FINISH (answer now with what there is) and FETCH_CANCEL (the connection is gone; an empty FETCH_REPLY still comes)
// |  0 |    4 | requestId | u32
export const FETCH_END_BYTES = 4

// FETCH_REPLY: partitions that have data, an error or a moved watermark, or all (allPartitions); then, for each in turn, its page fragments.
// |  0 |    4 | requestId      | u32
// |  4 |    4 | partitionCount | u32
// |  8 | 64 each | partitions  | partitionRef u32, errorNumber i32, highWatermark f64, lastStableOffset f64, logStartOffset f64,
//                               fragmentCount u32, leaderEpoch i32, batchBytes u32 (sum of its fragments), abortedCount u32,
//                               divergingEpoch i32 (-1 = the histories agree, or were not compared), 0 u32, divergingEndOffset f64
//      | 12 each | fragments   | page u32, from u32, to u32: bytes [from, to) of the page; each holds one reference to its page
//      | 16 each | aborted     | after all fragments, of each partition in turn: producerId f64, firstOffset f64
export const FETCH_REPLY_REQUEST_ID_AT = 0
export const FETCH_REPLY_PARTITION_COUNT_AT = 4
export const FETCH_REPLY_PARTITIONS_AT = 8
export const FETCH_REPLY_PARTITION_REF_AT = 0
export const FETCH_REPLY_PARTITION_ERROR_AT = 4
export const FETCH_REPLY_PARTITION_HIGH_WATERMARK_AT = 8
export const FETCH_REPLY_PARTITION_LAST_STABLE_AT = 16
export const FETCH_REPLY_PARTITION_LOG_START_AT = 24
export const FETCH_REPLY_PARTITION_FRAGMENTS_AT = 32
export const FETCH_REPLY_PARTITION_LEADER_EPOCH_AT = 36
export const FETCH_REPLY_PARTITION_BATCH_BYTES_AT = 40
export const FETCH_REPLY_PARTITION_ABORTED_AT = 44
export const FETCH_REPLY_PARTITION_DIVERGING_EPOCH_AT = 48
export const FETCH_REPLY_PARTITION_DIVERGING_END_AT = 56
export const FETCH_REPLY_PARTITION_BYTES = 64
export const FRAGMENT_PAGE_AT = 0
export const FRAGMENT_FROM_AT = 4
export const FRAGMENT_TO_AT = 8
export const FRAGMENT_BYTES = 12
export const ABORTED_PRODUCER_ID_AT = 0
export const ABORTED_FIRST_OFFSET_AT = 8
export const ABORTED_BYTES = 16

// CONTROL, CONTROL_REPLY
// |  0 |    4 | requestId | u32; 0 = no reply
// |  4 |    4 | operation (CONTROL) or errorNumber (CONTROL_REPLY) | i32
// |  8 |    4 | bodyBytes | u32
// | 12 |      | body      | msgpack: control-messages.ts names its type by operation; on error a text. Of a GROUP_REQUEST the layout
//                           below, and of its reply the bytes of the header that goes to the client
export const CONTROL_REQUEST_ID_AT = 0
export const CONTROL_OPERATION_AT = 4
export const CONTROL_BODY_BYTES_AT = 8
export const CONTROL_BODY_AT = 12

// The body of a GROUP_REQUEST: thousands of heartbeats a second are relayed, and none is worth an object of msgpack's.
// |  0 |    4 | partitionRef    | u32
// |  4 |    4 | api             | u32
// |  8 |    4 | headerBytes     | u32
// | 12 |    4 | clientIdBytes   | u32
// | 16 |    4 | clientHostBytes | u32
// | 20 |    4 | connectionId    | u32; of whoever asks, for NOTICE 'group-changed'; 0 = none
// | 24 |    4 | isSteady        | u32; 1 = a heartbeat that says nothing new: its like will come again, byte for byte
// | 28 |      | header, clientId, clientHost | the texts are UTF-8
export const GROUP_PARTITION_REF_AT = 0
export const GROUP_API_AT = 4
export const GROUP_HEADER_BYTES_AT = 8
export const GROUP_CLIENT_ID_BYTES_AT = 12
export const GROUP_CLIENT_HOST_BYTES_AT = 16
export const GROUP_CONNECTION_ID_AT = 20
export const GROUP_IS_STEADY_AT = 24
export const GROUP_HEADER_AT = 28

// REPLICA_APPEND: what a leader answered to a follower's fetch: batches to append as they are, or where their histories part; and in
// either case the leader's high watermark and log start. Batches may be none.
// |  0 |    4 | requestId          | u32
// |  4 |    4 | partitionRef       | u32
// |  8 |    4 | leaderEpoch        | i32; under which it was fetched
// | 12 |    4 | divergingEpoch     | i32; -1 = none
// | 16 |    8 | divergingEndOffset | f64; where that epoch ended at the leader
// | 24 |    8 | highWatermark      | f64; the leader's
// | 32 |    8 | logStartOffset     | f64; the leader's
// | 40 |    4 | batchBytes         | u32
// | 44 |    4 | 0                  | u32
// | 48 |      | batches            |
export const REPLICA_APPEND_REQUEST_ID_AT = 0
export const REPLICA_APPEND_PARTITION_REF_AT = 4
export const REPLICA_APPEND_LEADER_EPOCH_AT = 8
export const REPLICA_APPEND_DIVERGING_EPOCH_AT = 12
export const REPLICA_APPEND_DIVERGING_END_AT = 16
export const REPLICA_APPEND_HIGH_WATERMARK_AT = 24
export const REPLICA_APPEND_LOG_START_AT = 32
export const REPLICA_APPEND_BATCH_BYTES_AT = 40
export const REPLICA_APPEND_BATCHES_AT = 48

// REPLICA_APPENDED: written, not synced yet; or cut; or refused.
// |  0 |    4 | requestId     | u32
// |  4 |    4 | partitionRef  | u32
// |  8 |    4 | errorNumber   | i32
// | 12 |    4 | lastEpoch     | i32; of the last batch; -1 = it has none
// | 16 |    8 | logEndOffset  | f64; what to fetch next
// | 24 |    8 | highWatermark | f64; the follower's
// | 32 |    4 | textBytes     | u32
// | 36 |      | text          |
export const REPLICA_APPENDED_REQUEST_ID_AT = 0
export const REPLICA_APPENDED_PARTITION_REF_AT = 4
export const REPLICA_APPENDED_ERROR_AT = 8
export const REPLICA_APPENDED_LAST_EPOCH_AT = 12
export const REPLICA_APPENDED_LOG_END_AT = 16
export const REPLICA_APPENDED_HIGH_WATERMARK_AT = 24
export const REPLICA_APPENDED_TEXT_BYTES_AT = 32
export const REPLICA_APPENDED_TEXT_AT = 36

// REPLICA_PROGRESS: what followers have told of their synced ends. One way.
// |  0 |    4 | count | u32
// |  4 |    4 | 0     | u32
// |  8 | 32 each | rows | partitionRef u32, leaderEpoch i32, nodeId u32, 0 u32, incarnation f64, syncedEndOffset f64
export const REPLICA_PROGRESS_COUNT_AT = 0
export const REPLICA_PROGRESS_ROWS_AT = 8
export const REPLICA_PROGRESS_ROW_REF_AT = 0
export const REPLICA_PROGRESS_ROW_EPOCH_AT = 4
export const REPLICA_PROGRESS_ROW_NODE_ID_AT = 8
export const REPLICA_PROGRESS_ROW_INCARNATION_AT = 16
export const REPLICA_PROGRESS_ROW_SYNCED_END_AT = 24
export const REPLICA_PROGRESS_ROW_BYTES = 32

// REPLICA_SYNCED: how far the device has the logs that follow, after a sync; not msgpack, for acks=all waits for it.
// |  0 |    4 | count | u32
// |  4 |    4 | 0     | u32
// |  8 | 16 each | rows | partitionRef u32, leaderEpoch i32 (under which it follows), syncedEndOffset f64
export const REPLICA_SYNCED_COUNT_AT = 0
export const REPLICA_SYNCED_ROWS_AT = 8
export const REPLICA_SYNCED_ROW_REF_AT = 0
export const REPLICA_SYNCED_ROW_EPOCH_AT = 4
export const REPLICA_SYNCED_ROW_SYNCED_END_AT = 8
export const REPLICA_SYNCED_ROW_BYTES = 16

// NOTICE: what a shard has to say by itself.
// |  0 |    4 | bodyBytes | u32
// |  4 |      | body      | msgpack: Notice (control-messages.ts)
export const NOTICE_BODY_BYTES_AT = 0
export const NOTICE_BODY_AT = 4

// DISK_SYNC: fdatasync each descriptor.
// |  0 |    4 | syncId  | u32
// |  4 |    4 | fdCount | u32
// |  8 |    4 | isLong  | u32; 1 = no acknowledgement waits for it, and it may last
// | 12 | 4 each | fds  | i32
// DISK_SYNC_DONE
// |  0 |    4 | syncId       | u32
// |  4 |    4 | failedFd     | i32; -1 = all are synced
// |  8 |    8 | microseconds | f64; time the device took
// | 16 |    4 | codeBytes    | u32
// | 20 |      | code         | EIO, …
export const DISK_SYNC_ID_AT = 0
export const DISK_SYNC_COUNT_AT = 4
export const DISK_SYNC_IS_LONG_AT = 8
export const DISK_SYNC_FDS_AT = 12
export const DISK_SYNC_DONE_FAILED_FD_AT = 4
export const DISK_SYNC_DONE_MICROSECONDS_AT = 8
export const DISK_SYNC_DONE_CODE_BYTES_AT = 16
export const DISK_SYNC_DONE_CODE_AT = 20

// DISK_READ: fill bytes [from, to) of a page from a file. The page is referenced by the shard until DISK_READ_DONE.
// |  0 |    4 | readId | u32
// |  4 |    4 | fd     | i32
// |  8 |    8 | filePosition | f64
// | 16 |    4 | page   | u32
// | 20 |    4 | from   | u32
// | 24 |    4 | to     | u32
// DISK_READ_DONE
// |  0 |    4 | readId    | u32
// |  4 |    4 | bytesRead | i32; fewer than asked = end of file; -1 = error
// |  8 |    4 | codeBytes | u32
// | 12 |      | code      |
export const DISK_READ_ID_AT = 0
export const DISK_READ_FD_AT = 4
export const DISK_READ_POSITION_AT = 8
export const DISK_READ_PAGE_AT = 16
export const DISK_READ_FROM_AT = 20
export const DISK_READ_TO_AT = 24
export const DISK_READ_BYTES = 28
export const DISK_READ_DONE_COUNT_AT = 4
export const DISK_READ_DONE_CODE_BYTES_AT = 8
export const DISK_READ_DONE_CODE_AT = 12
