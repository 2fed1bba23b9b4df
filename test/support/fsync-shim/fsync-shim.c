/*
 * fsync-shim: an LD_PRELOAD library that makes storage calls of an unmodified process fail.
 *
 * Environment
 *   MILLRACE_SHIM_PATH     only descriptors whose path contains this text; without it the shim does nothing
 *   MILLRACE_SHIM_CALLS    comma list of fdatasync, fsync, pwrite, pwritev, ftruncate (default fdatasync,fsync)
 *   MILLRACE_SHIM_ERRNO    EIO (default), ENOSPC or EDQUOT
 *   MILLRACE_SHIM_AFTER    so many matching calls go through first (default 0)
 *   MILLRACE_SHIM_TIMES    then so many fail (default: all)
 *   MILLRACE_SHIM_TRIGGER  a file; calls are counted and fail only while it exists
 *
 * A failing call does nothing. The path of a descriptor is asked of /proc at each call, so that descriptors shared between
 * threads, renamed files and descriptors opened before a fault are all judged by the name they have now.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
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

static int path_matches(int fd) {
  const char *wanted = getenv("MILLRACE_SHIM_PATH");
  if (wanted == NULL || *wanted == '\0') return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return strstr(path, wanted) != NULL;
}

static long number_of(const char *name, long fallback) {
  const char *text = getenv(name);
  return text == NULL || *text == '\0' ? fallback : atol(text);
}

/* 0: let the call through; else the errno it fails with. */
static int fault_of(const char *call, int fd) {
  int saved = errno;
  int fault = 0;
  const char *trigger = getenv("MILLRACE_SHIM_TRIGGER");
  if (is_listed(call) && path_matches(fd) && (trigger == NULL || *trigger == '\0' || access(trigger, F_OK) == 0)) {
    long after = number_of("MILLRACE_SHIM_AFTER", 0);
    long seen = atomic_fetch_add(&calls_seen, 1);
    if (seen >= after && seen - after < number_of("MILLRACE_SHIM_TIMES", LONG_MAX)) {
      const char *name = getenv("MILLRACE_SHIM_ERRNO");
      fault = EIO;
      if (name != NULL && strcmp(name, "ENOSPC") == 0) fault = ENOSPC;
      if (name != NULL && strcmp(name, "EDQUOT") == 0) fault = EDQUOT;
    }
  }
  errno = saved;
  return fault;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL_OR(call, fd, forward)     \
  do {                                 \
    int fault = fault_of(call, fd);    \
    if (fault == 0) return (forward);  \
    errno = fault;                     \
    return -1;                         \
  } while (0)

int fdatasync(int fd) { FAIL_OR("fdatasync", fd, REAL(fdatasync)(fd)); }

int fsync(int fd) { FAIL_OR("fsync", fd, REAL(fsync)(fd)); }

/* Node is built for 64-bit files and calls the 64 names; the plain ones are for anybody else. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
  FAIL_OR("pwrite", fd, REAL(pwrite64)(fd, bytes, count, at));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
  FAIL_OR("pwrite", fd, REAL(pwrite)(fd, bytes, count, at));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  FAIL_OR("pwritev", fd, REAL(pwritev64)(fd, parts, count, at));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  FAIL_OR("pwritev", fd, REAL(pwritev)(fd, parts, count, at));
}

int ftruncate64(int fd, off64_t bytes) { FAIL_OR("ftruncate", fd, REAL(ftruncate64)(fd, bytes)); }

int ftruncate(int fd, off_t bytes) { FAIL_OR("ftruncate", fd, REAL(ftruncate)(fd, bytes)); }
