/*
 * A Kafka client on librdkafka, for macro/kafka: what rdkafka_performance does, with records like those of the native workloads
 * (src/cli/bench/record-pool.ts): random keys of 8 bytes and random values, every one touched; and a checksum that both ends have.
 *
 *   produce BROKER TOPIC PARTITIONS RECORDS BYTES      RECORDS of BYTES by key, acks=all; ends when all are acknowledged
 *   consume BROKER TOPIC PARTITIONS RECORDS 0          from offset 0 of each partition until RECORDS have come, CRCs checked
 *   latency BROKER TOPIC PARTITIONS RECORDS BYTES RATE at RATE a second: produce to acknowledgement, produce to the record in hand
 *
 *   version                                            of the library
 *
 * Words behind these, NAME=VALUE, are librdkafka's configuration. Prints one line of JSON; a failure is one line on stderr and exit code 1.
 *
 *   cc -O2 -o librdkafka-client librdkafka-client.c -lrdkafka -lpthread
 */
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define KEY_BYTES 8
#define POOL_RECORDS (1 << 14)
#define RANDOM_BYTES (8 << 20)
#define PARTITIONS_MAX 100000
#define BATCH_RECORDS 10000
#define QUIET_MS_MAX 60000
#define CHECK(call) ((call) ? fail(#call, rd_kafka_err2str(rd_kafka_last_error())) : (void)0)

static const char *broker, *topic;
static int partitions, record_bytes, setting_count;
static int64_t records, rate;
static char **settings;
static uint8_t *random_bytes;
static int64_t acked, arrived, checksum, warm_up;
/* Of the latency mode, by serial number, nanoseconds. */
static int64_t *sent_ns, *acked_ns, *arrived_ns;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "librdkafka-client: %s: %s\n", what, why);
  exit(1);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static double cpu_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void touch(const uint8_t *key, const uint8_t *value, size_t value_bytes) {
  checksum += key[0] + key[KEY_BYTES - 1] * 3 + value[0] * 5 + value[value_bytes - 1] * 7;
}

static void fill_random(void) {
  uint64_t state = 88172645463325252ULL;
  random_bytes = malloc(RANDOM_BYTES);
  for (size_t at = 0; at < RANDOM_BYTES; at += sizeof(state)) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    memcpy(random_bytes + at, &state, sizeof(state));
  }
}

/* So many bytes for record `serial`; the pool comes round, as the native one does. */
static uint8_t *cut(int64_t serial, int bytes) {
  return random_bytes + (uint64_t)((serial & (POOL_RECORDS - 1)) * 7919) * 64 % (RANDOM_BYTES - bytes);
}

static rd_kafka_t *client(rd_kafka_type_t type, void (*on_ack)(rd_kafka_t *, const rd_kafka_message_t *, void *)) {
  char text[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  const char *common[] = {"bootstrap.servers", broker, "client.id", "bench", "socket.nagle.disable", "true"};
  const char *producer[] = {"acks", "all", "partitioner", "murmur2_random", "queue.buffering.max.messages", "500000"};
  const char *consumer[] = {"group.id", "bench", "enable.auto.commit", "false", "check.crcs", "true"};
  const char **own = type == RD_KAFKA_PRODUCER ? producer : consumer;
  for (int at = 0; at < 6; at += 2) {
    if (rd_kafka_conf_set(conf, common[at], common[at + 1], text, sizeof(text))) fail(common[at], text);
    if (rd_kafka_conf_set(conf, own[at], own[at + 1], text, sizeof(text))) fail(own[at], text);
  }
  for (int at = 0; at < setting_count; at++) {
    char *name = strdup(settings[at]), *value = strchr(name, '=');
    if (!value) fail(name, "no NAME=VALUE");
    *value++ = 0;
    /* The latency mode has both kinds of client: a setting of the other kind is only warned of. */
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text))) fail(name, text);
    free(name);
  }
  if (on_ack) rd_kafka_conf_set_dr_msg_cb(conf, on_ack);
  rd_kafka_t *made = rd_kafka_new(type, conf, text, sizeof(text));
  if (!made) fail("a client", text);
  return made;
}

static void on_acked(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
  (void)rk, (void)opaque;
  if (message->err) fail("a record was not stored", rd_kafka_message_errstr(message));
  if (acked_ns) acked_ns[(intptr_t)message->_private] = now_ns();
  acked++;
}

static void send_one(rd_kafka_t *rk, rd_kafka_topic_t *to, int64_t serial, void *value, size_t bytes) {
  void *key = cut(serial + 1, KEY_BYTES);
  while (rd_kafka_produce(to, RD_KAFKA_PARTITION_UA, 0, value, bytes, key, KEY_BYTES, (void *)(intptr_t)serial)) {
    if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_poll(rk, 10);
  }
  touch(key, value, bytes);
}

static void await_acks(rd_kafka_t *rk, int64_t wanted) {
  int64_t quiet_since = now_ns(), seen = acked;
  while (acked < wanted) {
    rd_kafka_poll(rk, 100);
    if (acked != seen) seen = acked, quiet_since = now_ns();
    if (now_ns() - quiet_since > QUIET_MS_MAX * 1000000LL) fail("produce", "no acknowledgement for a minute");
  }
}

static void print_result(int64_t from_ns, double cpu, const char *more) {
  double seconds = (now_ns() - from_ns) / 1e9;
  printf("{\"records\":%lld,\"seconds\":%.6f,\"recordsPerSec\":%.1f,\"cpuSeconds\":%.6f,\"checksum\":%lld%s}\n", (long long)records,
         seconds, records / seconds, cpu_seconds() - cpu, (long long)checksum, more);
}

static void produce(void) {
  rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, on_acked);
  rd_kafka_topic_t *to = rd_kafka_topic_new(rk, topic, NULL);
  const struct rd_kafka_metadata *metadata;
  CHECK(rd_kafka_metadata(rk, 0, to, &metadata, 30000)); /* connected, and knows the leaders: as the native producer's ready() */
  rd_kafka_metadata_destroy(metadata);
  double cpu = cpu_seconds();
  int64_t from_ns = now_ns();
  for (int64_t serial = 0; serial < records; serial++) {
    send_one(rk, to, serial, cut(serial, record_bytes - KEY_BYTES), record_bytes - KEY_BYTES);
    if ((serial & 1023) == 0) rd_kafka_poll(rk, 0);
  }
  await_acks(rk, records);
  print_result(from_ns, cpu, "");
}

static rd_kafka_queue_t *assigned(rd_kafka_t *rk) {
  rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(partitions);
  for (int partition = 0; partition < partitions; partition++)
    rd_kafka_topic_partition_list_add(all, topic, partition)->offset = 0;
  if (rd_kafka_assign(rk, all)) fail("assign", "refused");
  rd_kafka_topic_partition_list_destroy(all);
  rd_kafka_poll_set_consumer(rk);
  return rd_kafka_queue_get_consumer(rk);
}

static void take(rd_kafka_message_t *message, int64_t *next) {
  if (message->err) fail("consume", rd_kafka_message_errstr(message));
  if (message->offset != next[message->partition] || message->key_len != KEY_BYTES) fail("consume", "a gap, or no key");
  next[message->partition]++;
  arrived++;
}

static void consume(void) {
  static int64_t next[PARTITIONS_MAX];
  static rd_kafka_message_t *messages[BATCH_RECORDS];
  double cpu = cpu_seconds();
  int64_t from_ns = now_ns();
  rd_kafka_queue_t *queue = assigned(client(RD_KAFKA_CONSUMER, NULL));
  while (arrived < records) {
    ssize_t count = rd_kafka_consume_batch_queue(queue, 100, messages, BATCH_RECORDS);
    for (ssize_t at = 0; at < count; at++) {
      take(messages[at], next);
      touch(messages[at]->key, messages[at]->payload, messages[at]->len);
      rd_kafka_message_destroy(messages[at]);
    }
  }
  print_result(from_ns, cpu, "");
}

static void *receive(void *queue) {
  static int64_t next[PARTITIONS_MAX];
  int64_t serial;
  while (arrived < records) {
    rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 100);
    if (!message) continue;
    int64_t at_ns = now_ns();
    memcpy(&serial, message->payload, sizeof(serial));
    arrived_ns[serial] = at_ns;
    take(message, next);
    rd_kafka_message_destroy(message);
  }
  return NULL;
}

static int ascending(const void *left, const void *right) {
  int64_t l = *(const int64_t *)left, r = *(const int64_t *)right;
  return (l > r) - (l < r);
}

static double percentile_ms(const int64_t *end_ns, double share) {
  int64_t count = records - warm_up, *times = malloc(count * sizeof(*times));
  for (int64_t at = 0; at < count; at++) times[at] = end_ns[warm_up + at] - sent_ns[warm_up + at];
  qsort(times, count, sizeof(*times), ascending);
  double ms = times[(int64_t)(count * share)] / 1e6;
  free(times);
  return ms;
}

static void latency(void) {
  char more[256];
  pthread_t receiver;
  warm_up = records / 10;
  sent_ns = calloc(records, sizeof(int64_t)), acked_ns = calloc(records, sizeof(int64_t));
  arrived_ns = calloc(records, sizeof(int64_t));
  rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, on_acked);
  rd_kafka_topic_t *to = rd_kafka_topic_new(rk, topic, NULL);
  if (pthread_create(&receiver, NULL, receive, assigned(client(RD_KAFKA_CONSUMER, NULL)))) fail("a thread", "none");
  uint8_t *values = malloc(records * (record_bytes - KEY_BYTES)); /* no copy is made: each lives until it is acknowledged */
  double cpu = cpu_seconds();
  int64_t from_ns = now_ns();
  for (int64_t serial = 0; serial < records; serial++) {
    uint8_t *value = values + serial * (record_bytes - KEY_BYTES);
    memcpy(value, cut(serial, record_bytes - KEY_BYTES), record_bytes - KEY_BYTES);
    memcpy(value, &serial, sizeof(serial));
    while (now_ns() - from_ns < serial * 1000000000LL / rate) rd_kafka_poll(rk, 1);
    sent_ns[serial] = now_ns();
    send_one(rk, to, serial, value, record_bytes - KEY_BYTES);
  }
  await_acks(rk, records);
  pthread_join(receiver, NULL);
  snprintf(more, sizeof(more), ",\"ackP50Ms\":%.4f,\"ackP99Ms\":%.4f,\"p50Ms\":%.4f,\"p99Ms\":%.4f", percentile_ms(acked_ns, 0.5),
           percentile_ms(acked_ns, 0.99), percentile_ms(arrived_ns, 0.5), percentile_ms(arrived_ns, 0.99));
  print_result(from_ns, cpu, more);
}

int main(int count, char **words) {
  if (count == 2 && strcmp(words[1], "version") == 0) return puts(rd_kafka_version_str()) < 0;
  if (count < 7) fail("usage", "MODE BROKER TOPIC PARTITIONS RECORDS BYTES [RATE] [NAME=VALUE …]");
  const char *mode = words[1];
  int used = strcmp(mode, "latency") == 0 ? 8 : 7;
  broker = words[2], topic = words[3], partitions = atoi(words[4]), records = atoll(words[5]), record_bytes = atoi(words[6]);
  if (used == 8) rate = count < 8 ? 0 : atoll(words[7]);
  if (partitions < 1 || partitions > PARTITIONS_MAX || records < 1) fail("usage", "PARTITIONS or RECORDS");
  if (strcmp(mode, "consume") && record_bytes < 2 * KEY_BYTES) fail("usage", "BYTES");
  if (used == 8 && rate < 1) fail("usage", "RATE");
  settings = words + used, setting_count = count - used;
  fill_random();
  if (strcmp(mode, "produce") == 0) produce();
  else if (strcmp(mode, "consume") == 0) consume();
  else if (strcmp(mode, "latency") == 0) latency();
  else fail("usage", "produce, consume or latency");
  return 0;
}
