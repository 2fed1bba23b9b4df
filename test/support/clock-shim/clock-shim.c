/*
 * clock-shim: an LD_PRELOAD library that moves the wall clock of an unmodified process, and no other clock of it.
 *
 * Environment
 *   MILLRACE_CLOCK_FILE    a file with a number: seconds added to the wall clock, from the next look on (it is read at most
 *                          every 10 ms). Without the file, or with something else in it: nothing
 *
 * gettimeofday, time and clock_gettime(CLOCK_REALTIME and its COARSE) are moved; CLOCK_MONOTONIC and all others are the system's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 10000000LL

static atomic_llong shift_seconds;
static atomic_llong next_look_ns;

static long long shift(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  long long now_ns = now.tv_sec * 1000000000LL + now.tv_nsec;
  if (now_ns < atomic_load(&next_look_ns)) return atomic_load(&shift_seconds);
  atomic_store(&next_look_ns, now_ns + LOOK_NS);
  long long seconds = 0;
  const char *file = getenv("MILLRACE_CLOCK_FILE");
  int fd = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    char text[32];
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length > 0) {
      text[length] = '\0';
      seconds = atoll(text);
    }
  }
  atomic_store(&shift_seconds, seconds);
  return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec real;
  if (clock_gettime(CLOCK_REALTIME, &real) != 0) return -1;
  now->tv_sec = real.tv_sec;
  now->tv_usec = real.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec real;
  clock_gettime(CLOCK_REALTIME, &real);
  if (out != NULL) *out = real.tv_sec;
  return real.tv_sec;
}
