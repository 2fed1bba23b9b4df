/*
 * fsync-shim: an LD_PRELOAD library that makes storage calls of an unmodified process fail, or makes its disk slow.
 *
 * Environment
 *   MILLRACE_SHIM_PATH     only descriptors whose path contains this text; without it the shim does nothing
 *   MILLRACE_SHIM_CALLS    comma list of fdatasync, fsync, pwrite, pwritev, ftruncate (default fdatasync,fsync)
 *   MILLRACE_SHIM_ERRNO    EIO (default), ENOSPC or EDQUOT
 *   MILLRACE_SHIM_AFTER    so many matching calls go through first (default 0)
 *   MILLRACE_SHIM_TIMES    then so many fail (default: all)
 *   MILLRACE_SHIM_TRIGGER  a file; calls are counted and fail only while it exists. When it is not empty, each of its lines is
 *                          a text of which a path must contain one, besides MILLRACE_SHIM_PATH
 *   MILLRACE_SHIM_LOG      a file; every fdatasync and fsync of a matching path made while the trigger exists, and every call
 *                          that fails, is appended to it: `call result path`
 *   MILLRACE_SHIM_RATE     bytes a second that the device behind the matching paths takes, while the trigger exists; 0 or
 *                          nothing = as it is. Nothing fails then: fdatasync and fsync last until the device has taken all that
 *                          was written before, and
 *   MILLRACE_SHIM_DIRTY    writes wait while the device is more than so many bytes behind (default 16 MiB), as the kernel's do
 *
 * A failing call does nothing. The path of a descriptor is asked of /proc at each call, so that descriptors shared between
 * threads, renamed files and descriptors opened before a fault are all judged by the name they have now.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls_seen;

static int is_listed(const char *call) {
  const char *list = getenv("MILLRACE_SHIM_CALLS");
  if (list == NULL || *list == '\0') list = "fdatasync,fsync";
  size_t length = strlen(call);
  for (const char *at = list; at != NULL; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, call, length) == 0 && (at[length] == ',' || at[length] == '\0')) return 1;
  }
  return 0;
}

/* The path of a descriptor as it is called now; 0 when there is none. */
static int path_of(int fd, char *path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, size - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return 1;
}

static int path_matches(const char *path) {
  const char *wanted = getenv("MILLRACE_SHIM_PATH");
  return wanted != NULL && *wanted != '\0' && strstr(path, wanted) != NULL;
}

static long number_of(const char *name, long fallback) {
  const char *text = getenv(name);
  return text == NULL || *text == '\0' ? fallback : atol(text);
}

/* Whether the trigger is there (or none is asked for) and names the path (or nothing). */
static int is_triggered(const char *path, int *is_named) {
  const char *trigger = getenv("MILLRACE_SHIM_TRIGGER");
  *is_named = 1;
  if (trigger == NULL || *trigger == '\0') return 1;
  int fd = open(trigger, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[4096];
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return 1;
  text[length] = '\0';
  *is_named = 0;
  char *rest = NULL;
  for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
    if (strstr(path, line) != NULL) *is_named = 1;
  return 1;
}

static void log_call(const char *call, int fault, const char *path) {
  const char *log = getenv("MILLRACE_SHIM_LOG");
  if (log == NULL || *log == '\0') return;
  int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  char line[PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%s %s %s\n", call, fault == 0 ? "ok" : "failed", path);
  if (length > 0 && write(fd, line, (size_t)length) < 0) errno = 0;
  close(fd);
}

/* 0: let the call through; else the errno it fails with. */
static int decide_fault(const char *call, const char *path) {
  int is_named = 0;
  if (number_of("MILLRACE_SHIM_RATE", 0) > 0 || !is_triggered(path, &is_named)) return 0;
  int fault = 0;
  if (is_named && is_listed(call)) {
    long after = number_of("MILLRACE_SHIM_AFTER", 0);
    long seen = atomic_fetch_add(&calls_seen, 1);
    if (seen >= after && seen - after < number_of("MILLRACE_SHIM_TIMES", LONG_MAX)) {
      const char *name = getenv("MILLRACE_SHIM_ERRNO");
      fault = EIO;
      if (name != NULL && strcmp(name, "ENOSPC") == 0) fault = ENOSPC;
      if (name != NULL && strcmp(name, "EDQUOT") == 0) fault = EDQUOT;
    }
  }
  if (fault != 0 || strstr(call, "sync") != NULL) log_call(call, fault, path);
  return fault;
}

static int fault_of(const char *call, int fd) {
  int saved = errno;
  char path[PATH_MAX];
  int fault = path_of(fd, path, sizeof path) && path_matches(path) ? decide_fault(call, path) : 0;
  errno = saved;
  return fault;
}

/* The slow device: when it will have taken everything written so far, in nanoseconds of the monotonic clock. */
static pthread_mutex_t device_lock = PTHREAD_MUTEX_INITIALIZER;
static long long device_free_ns;

static long long now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_until(long long until_ns) {
  struct timespec until = {until_ns / 1000000000LL, until_ns % 1000000000LL};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
}

/* `bytes` more for the device; waits until it is at most `behind_bytes` behind. */
static void wait_for_device(int fd, long long bytes, long long behind_bytes) {
  long long rate = number_of("MILLRACE_SHIM_RATE", 0);
  if (rate <= 0) return;
  int saved = errno;
  char path[PATH_MAX];
  int is_named = 0;
  if (path_of(fd, path, sizeof path) && path_matches(path) && is_triggered(path, &is_named) && is_named) {
    pthread_mutex_lock(&device_lock);
    long long now = now_ns();
    if (device_free_ns < now) device_free_ns = now;
    device_free_ns += bytes * 1000000000LL / rate;
    long long until = device_free_ns - behind_bytes * 1000000000LL / rate;
    pthread_mutex_unlock(&device_lock);
    if (until > now) sleep_until(until);
  }
  errno = saved;
}

static void before_write(int fd, long long bytes) {
  wait_for_device(fd, bytes, number_of("MILLRACE_SHIM_DIRTY", 16 * 1024 * 1024));
}

static long long bytes_of(const struct iovec *parts, int count) {
  long long bytes = 0;
  for (int index = 0; index < count; index++) bytes += (long long)parts[index].iov_len;
  return bytes;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_OR(call, fd, forward)     \
  do {                                 \
    int fault = fault_of(call, fd);    \
    if (fault == 0) return (forward);  \
    errno = fault;                     \
    return -1;                         \
  } while (0)

int fdatasync(int fd) {
  wait_for_device(fd, 0, 0);
  FAIL_OR("fdatasync", fd, REAL(fdatasync)(fd));
}

int fsync(int fd) {
  wait_for_device(fd, 0, 0);
  FAIL_OR("fsync", fd, REAL(fsync)(fd));
}

/* Node is built for 64-bit files and calls the 64 names; the plain ones are for anybody else. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  before_write(fd, (long long)count);
  FAIL_OR("pwrite", fd, REAL(pwrite64)(fd, bytes, count, at));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  before_write(fd, (long long)count);
  FAIL_OR("pwrite", fd, REAL(pwrite)(fd, bytes, count, at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  before_write(fd, bytes_of(parts, count));
  FAIL_OR("pwritev", fd, REAL(pwritev64)(fd, parts, count, at));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  before_write(fd, bytes_of(parts, count));
  FAIL_OR("pwritev", fd, REAL(pwritev)(fd, parts, count, at));
}

int ftruncate64(int fd, off64_t bytes) { FAIL_OR("ftruncate", fd, REAL(ftruncate64)(fd, bytes)); }

int ftruncate(int fd, off_t bytes) { FAIL_OR("ftruncate", fd, REAL(ftruncate)(fd, bytes)); }
