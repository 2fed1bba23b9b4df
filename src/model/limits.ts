/** Every maximum of the system that is not configuration: what can grow has its bound here. Bytes unless named otherwise. */

const KIB = 1024
const MIB = 1024 * KIB

/** Partitions of one topic. */
export const TOPIC_PARTITIONS_MAX = 10_000
/** Partitions of one broker (descriptor budget: at most one open file each, src/log/README.md). */
export const BROKER_PARTITIONS_MAX = 100_000
/** Default of `max.message.bytes`: a record batch as stored, header included. */
export const BATCH_BYTES_DEFAULT = 1 * MIB
/** Upper bound of `max.message.bytes`: the request rings of every broker of a cluster carry it (config/). */
export const BATCH_BYTES_MAX = 4 * MIB
/** A request frame before authentication. */
export const UNAUTHENTICATED_FRAME_BYTES_MAX = 64 * KIB
/** A request frame after authentication. */
export const FRAME_BYTES_MAX = 8 * MIB
/** A request of a Kafka client after authentication; its batches go into the rings one by one. */
export const KAFKA_FRAME_BYTES_MAX = 64 * MIB
/** Header (msgpack) of a request or reply. */
export const FRAME_HEADER_BYTES_MAX = 1 * MIB
/** Partitions named by one produce or fetch request. */
export const REQUEST_PARTITIONS_MAX = 10_000
/** Bytes a fetch may ask for, all partitions together. */
export const FETCH_BYTES_MAX = 64 * MIB
/** Long-poll wait a fetch may ask for, milliseconds. */
export const FETCH_WAIT_MS_MAX = 60_000
/** Timeout a produce may ask for, milliseconds. */
export const PRODUCE_TIMEOUT_MS_MAX = 300_000
/** Requests of one connection that have no reply yet. */
export const CONNECTION_REQUESTS_MAX = 1_000
/** Unauthenticated connections of a listener, and how long each may stay so. */
export const UNAUTHENTICATED_CONNECTIONS_MAX = 1_000
export const AUTHENTICATION_MS_MAX = 10_000
/** Records of one batch. */
export const BATCH_RECORDS_MAX = 4 * MIB
/** Records of one compressed batch once unpacked: a reader refuses more before it allocates. */
export const UNPACKED_BYTES_MAX = 64 * MIB
/** Batches of one producer whose sequence a partition remembers (Kafka's number). */
export const PRODUCER_BATCHES_REMEMBERED = 5
/** Producer ids of one partition. */
export const PARTITION_PRODUCERS_MAX = 100_000
/** Offsets are safe integers. */
export const OFFSET_MAX = Number.MAX_SAFE_INTEGER
/** A group id, in UTF-8. */
export const GROUP_ID_BYTES_MAX = 255
/** Member, instance, rack and client ids and the names of hosts and assignors, in UTF-8. */
export const GROUP_NAME_BYTES_MAX = 255
/** Groups of one partition of the offsets topic, those that hold only offsets included. */
export const COORDINATOR_GROUPS_MAX = 100_000
/** Members of all groups of one partition of the offsets topic. */
export const COORDINATOR_MEMBERS_MAX = 100_000
/** Members of one group. */
export const GROUP_MEMBERS_MAX = 5_000
/** Protocols that a member of the classic protocol may list. */
export const CLASSIC_PROTOCOLS_MAX = 100
/** What a classic member says with one of its protocols, and what it is assigned. */
export const CLASSIC_METADATA_BYTES_MAX = 512 * KIB
/** What all members of a classic group say of themselves: its leader is told in one reply, and half a batch of the group's log holds it. */
export const CLASSIC_GROUP_BYTES_MAX = 512 * KIB
/** The same of all classic groups of one partition of the offsets topic. */
export const COORDINATOR_CLASSIC_BYTES_MAX = 64 * MIB
/** Joins and syncs that wait for the others of their groups, of one partition of the offsets topic. */
export const COORDINATOR_PARKED_MAX = 50_000
/** Members of a classic group that have been given an id and have not joined with it. */
export const CLASSIC_PENDING_MEMBERS_MAX = 5_000
/** Topic names one member may subscribe to. */
export const MEMBER_TOPICS_MAX = 1_000
/** A pattern of topic names, in UTF-8, and the instructions of its compiled program. */
export const TOPIC_PATTERN_BYTES_MAX = 1024
export const TOPIC_PATTERN_PROGRAM_MAX = 512
/** Committed offsets of one group. */
export const GROUP_OFFSETS_MAX = 100_000
/** Offsets of open transactions that one partition of the offsets topic keeps, of all groups: some hundred bytes of memory each. */
export const COORDINATOR_PENDING_OFFSETS_MAX = 250_000
/** Metadata of a committed offset, in UTF-8 (Kafka's offset.metadata.max.bytes). */
export const OFFSET_METADATA_BYTES_MAX = 4096
/** The last epoch of a producer id (int16). It marks the end of the transaction before it and is given to nobody. */
export const PRODUCER_EPOCH_MAX = 0x7fff
/** A transactional id, in UTF-8. */
export const TRANSACTIONAL_ID_BYTES_MAX = 255
/** Transactional ids of one partition of the transaction topic. */
export const COORDINATOR_TRANSACTIONAL_IDS_MAX = 100_000
/** Partitions of one transaction. */
export const TRANSACTION_PARTITIONS_MAX = 10_000
/** Transactions that are open in one partition; well below PARTITION_PRODUCERS_MAX, since their producers are never forgotten. */
export const PARTITION_OPEN_TRANSACTIONS_MAX = 10_000
/** Aborted transactions told by one part of a fetch, and by one shard of one fetch: a range with more of them is cut short. */
export const FETCH_ABORTED_MAX = 10_000
/** Aborted transactions of one fetch reply: its header has room for them beside REQUEST_PARTITIONS_MAX parts. */
export const FETCH_REPLY_ABORTED_MAX = 2 * FETCH_ABORTED_MAX
/** Groups or members named by one request. */
export const REQUEST_GROUPS_MAX = 1_000
/** Users of a cluster, and the name of one, in UTF-8. */
export const USERS_MAX = 10_000
export const USER_NAME_BYTES_MAX = 249
/** Users of one request or one page of a reply, deletions and upsertions each: their names and errors fit a header. */
export const REQUEST_USERS_MAX = 500
/** A password, in UTF-8. */
export const PASSWORD_BYTES_MAX = 1024
/** Rounds of PBKDF2 in a SCRAM credential (Kafka's bounds), and those of one that names no number. */
export const SCRAM_ITERATIONS_MIN = 4096
export const SCRAM_ITERATIONS_MAX = 16_384
export const SCRAM_ITERATIONS_DEFAULT = 8192
/** A salt; a generated one has SCRAM_SALT_BYTES. */
export const SCRAM_SALT_BYTES_MAX = 256
export const SCRAM_SALT_BYTES = 16
/** A message of a SASL exchange. */
export const SASL_MESSAGE_BYTES_MAX = 16 * KIB
