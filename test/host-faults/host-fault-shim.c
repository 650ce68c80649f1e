/*
 * LD_PRELOAD library that makes a running storage host's disk fail or be slow, and its clock jump,
 * while a test changes what is wrong. Engines' own calls are reached too.
 *
 * The file that HOST_FAULTS names says what is wrong now, a fault a line:
 *
 *   write|sync|change <errno> <milliseconds> <directory>
 *   clock 0 <milliseconds> /
 *
 * `write` is every growth of a file: content, size, a new file or directory. `sync` is fsync and its
 * like, and a write to a file that was opened with O_DSYNC, which fails when it has been made.
 * `change` is everything that needs a writable file system. Below the directory such a call takes
 * so long, then fails with the errno; 0: it goes on. `clock` is how far the wall clock is off.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The file as it is now; it is replaced by a rename. */
static int read_faults(char *text, size_t size) {
  const char *file = getenv("HOST_FAULTS");
  if (file == NULL) return 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  ssize_t length = syscall(SYS_read, fd, text, size - 1);
  syscall(SYS_close, fd);
  text[length < 0 ? 0 : length] = 0;
  return length > 0;
}

static int lies_below(const char *path, const char *directory) {
  size_t length = strlen(directory);
  return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* Whether a call of this kind is to fail, after its delay; errno is set. A sync changes nothing. */
static int fails(const char *kind, const char *path) {
  char text[4096], found[16], directory[PATH_MAX], *next;
  int code, milliseconds, kept = errno;
  if (!read_faults(text, sizeof text)) return 0;
  for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
    if (sscanf(line, "%15s %d %d %4095s", found, &code, &milliseconds, directory) != 4) continue;
    int concerns = strcmp(found, kind) == 0 ||
                   (strcmp(found, "change") == 0 && strcmp(kind, "sync") != 0);
    if (!concerns || !lies_below(path, directory)) continue;
    usleep((useconds_t)milliseconds * 1000);
    errno = code;
    if (code != 0) return 1;
  }
  errno = kept;
  return 0;
}

static int fails_at(const char *kind, int directory, const char *path) {
  char full[PATH_MAX], link[64];
  if (path[0] == '/' || directory == AT_FDCWD) return fails(kind, path);
  snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
  ssize_t length = readlink(link, full, sizeof full - 1);
  if (length < 0) return 0;
  snprintf(full + length, sizeof full - (size_t)length, "/%s", path);
  return fails(kind, full);
}

static int fails_on(const char *kind, int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0 || path[0] != '/') return 0;
  path[length] = 0;
  return fails(kind, path);
}

/* Names */

static int open_any(int directory, const char *path, int flags, mode_t mode) {
  int is_new = (flags & O_CREAT) && faccessat(directory, path, F_OK, 0) != 0;
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  if (is_new && fails_at("write", directory, path)) return -1;
  if (!is_new && writes && fails_at("change", directory, path)) return -1;
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

#include "../engine-faults/open-calls.h"

int mkdir(const char *path, mode_t mode) {
  if (fails("write", path)) return -1;
  return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
int unlink(const char *path) {
  if (fails("change", path)) return -1;
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
int rename(const char *from, const char *to) {
  if (fails("change", from)) return -1;
  return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* Content */

/* Of a write that was made: whether it was to be durable, and is not. */
static ssize_t synced(int fd, ssize_t written) {
  int kept = errno;
  if (written < 0 || (fcntl(fd, F_GETFL) & O_DSYNC) == 0) {
    errno = kept;
    return written;
  }
  return fails_on("sync", fd) ? -1 : written;
}

ssize_t write(int fd, const void *bytes, size_t size) {
  if (fails_on("write", fd)) return -1;
  return synced(fd, syscall(SYS_write, fd, bytes, size));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (fails_on("write", fd)) return -1;
  return synced(fd, syscall(SYS_writev, fd, parts, count));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t position) {
  if (fails_on("write", fd)) return -1;
  return synced(fd, syscall(SYS_pwrite64, fd, bytes, size, position));
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t position) {
  return pwrite64(fd, bytes, size, position);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t position) {
  if (fails_on("write", fd)) return -1;
  return synced(fd, syscall(SYS_pwritev, fd, parts, count, position, 0L));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t position) {
  return pwritev64(fd, parts, count, position);
}
int ftruncate64(int fd, off64_t size) {
  if (fails_on("write", fd)) return -1;
  return (int)syscall(SYS_ftruncate, fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int fallocate64(int fd, int mode, off64_t from, off64_t size) {
  if (fails_on("write", fd)) return -1;
  return (int)syscall(SYS_fallocate, fd, mode, from, size);
}
int fallocate(int fd, int mode, off_t from, off_t size) {
  return fallocate64(fd, mode, from, size);
}
int fsync(int fd) { return fails_on("sync", fd) ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fails_on("sync", fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }

/* The wall clock */

static long long clock_off_ms(void) {
  char text[4096];
  long long milliseconds = 0;
  if (!read_faults(text, sizeof text)) return 0;
  char *line = strstr(text, "clock 0 ");
  if (line != NULL) sscanf(line, "clock 0 %lld", &milliseconds);
  return milliseconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    now->tv_sec += clock_off_ms() / 1000;
  }
  return result;
}
int gettimeofday(struct timeval *now, void *zone) {
  int result = (int)syscall(SYS_gettimeofday, now, zone);
  if (result == 0) now->tv_sec += clock_off_ms() / 1000;
  return result;
}
