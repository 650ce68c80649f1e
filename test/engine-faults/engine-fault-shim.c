/*
 * LD_PRELOAD library for tests of engines, whose own I/O does not pass through our file layer. Below
 * one directory it writes down every call that changes what a later process may find (a trace, from
 * which the test computes what a power loss leaves), and lets one of them fail.
 *
 * The process under test steers it by faults_begin() and faults_end(). One lock is held around each
 * call and its trace record, so that the order of the trace is the order of the effects. Synced is
 * what the trace says was synced: the real fsync is left out, which saves most of the time.
 *
 * A trace is records of a line and the bytes that it announces, one after the other. A file is known
 * by its inode from C or M on until another C or M has the same inode; B names the directory itself.
 *
 *   B <inode> 0                    begin
 *   C <inode> <n>   path           a file was created       M <inode> <n>   path   a directory
 *   W <inode> <position> <n> bytes written                  T <inode> <size> 0     truncated
 *   S <inode> 0                    file or directory synced F <inode> 0     that sync failed
 *   N <n>   from NUL to            renamed                  L <n>   from NUL to    linked
 *   U <n>   path                   unlinked or removed      A <n>   text    written to descriptor 1
 *
 * What is written through mmap or stdio is not seen: SQLite's -shm file and RocksDB's LOG, neither of
 * which is durable state.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static volatile int active;
static char root[PATH_MAX];
static int trace = -1;
static struct {
  char kind[16];
  int countdown; /* 1: the next one; 0 or less: it has happened */
  int code;
  int always; /* it goes on failing */
  int full;   /* a short write was made of it: the next write fails */
} fault;

/* Records */

static void record(const void *bytes, size_t size, const char *format, ...) {
  char line[128];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  snprintf(line + length, sizeof line - length, " %zu\n", size);
  struct iovec parts[2] = {{line, strlen(line)}, {(void *)bytes, size}};
  ssize_t all = (ssize_t)(parts[0].iov_len + size);
  if (syscall(SYS_writev, trace, parts, 2) != all) {
    fprintf(stderr, "engine-fault-shim: the trace cannot be written\n");
    abort();
  }
}

static void record_pair(char kind, const char *from, const char *to) {
  char both[2 * PATH_MAX];
  size_t first = strlen(from) + 1;
  memcpy(both, from, first);
  strcpy(both + first, to);
  record(both, first + strlen(to), "%c", kind);
}

static unsigned long inode_of(const char *path) {
  struct stat found;
  return lstat(path, &found) == 0 ? found.st_ino : 0;
}

/* What is watched */

static int inside(const char *path) {
  size_t length = strlen(root);
  return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* Holds the lock until leave(), unless the trace has ended meanwhile. */
static int enter(void) {
  pthread_mutex_lock(&lock);
  if (active) return 1;
  pthread_mutex_unlock(&lock);
  return 0;
}

/* The path with its directory; watched only when it lies below the root. Locks when watched. */
static int enter_path(int directory, const char *path, char *full) {
  if (!active) return 0;
  if (path[0] == '/' || directory == AT_FDCWD) {
    snprintf(full, PATH_MAX, "%s", path);
  } else {
    char link[64], base[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return 0;
    base[length] = 0;
    if (snprintf(full, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
  }
  return inside(full) && enter();
}

/* Locks when watched; the inode of the file. */
static unsigned long enter_file(int fd) {
  if (!active) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  struct stat found;
  if (!inside(path) || fstat(fd, &found) != 0) return 0;
  return enter() ? found.st_ino : 0;
}

static long leave(long result) {
  int kept = errno;
  pthread_mutex_unlock(&lock);
  errno = kept;
  return result;
}

/* The fault */

/* Whether this call is to fail; errno is set. */
static int fails(const char *kind) {
  if (strcmp(kind, fault.kind) != 0) return 0;
  fault.countdown -= 1;
  if (fault.countdown != 0 && !(fault.always && fault.countdown < 0)) return 0;
  errno = fault.code;
  return 1;
}

int faults_begin(const char *directory, const char *trace_path) {
  snprintf(root, sizeof root, "%s", directory);
  int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
  trace = (int)syscall(SYS_openat, AT_FDCWD, trace_path, flags, 0644);
  if (trace < 0) return -1;
  memset(&fault, 0, sizeof fault); /* Nobody looks at it while inactive. */
  record(NULL, 0, "B %lu", inode_of(root));
  active = 1;
  return 0;
}

/* From now on the nth call of this kind fails with this errno; once, or always from there. */
void faults_fail(const char *kind, int nth, int code, int always) {
  pthread_mutex_lock(&lock);
  snprintf(fault.kind, sizeof fault.kind, "%s", kind);
  fault.countdown = nth;
  fault.code = code;
  fault.always = always;
  pthread_mutex_unlock(&lock);
}

/* Whether the call that was to fail has been made. */
int faults_happened(void) { return fault.kind[0] != 0 && fault.countdown <= 0; }

void faults_end(void) {
  pthread_mutex_lock(&lock);
  active = 0;
  syscall(SYS_close, trace);
  pthread_mutex_unlock(&lock);
}

/* Names */

static int open_watched(const char *path, int flags, mode_t mode) {
  unsigned long before = inode_of(path);
  int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
  if (writes && fails("open")) return -1;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  if (fd < 0) return fd;
  struct stat found;
  fstat(fd, &found);
  if (before == 0) record(path, strlen(path), "C %lu", found.st_ino);
  else if (flags & O_TRUNC) record(NULL, 0, "T %lu 0", found.st_ino);
  return fd;
}

static int open_any(int directory, const char *path, int flags, mode_t mode) {
  char full[PATH_MAX];
  if (!enter_path(directory, path, full)) {
    return (int)syscall(SYS_openat, directory, path, flags, mode);
  }
  return (int)leave(open_watched(full, flags, mode));
}

#include "open-calls.h"

int creat(const char *path, mode_t mode) {
  return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int mkdirat(int directory, const char *path, mode_t mode) {
  char full[PATH_MAX];
  if (!enter_path(directory, path, full)) {
    return (int)syscall(SYS_mkdirat, directory, path, mode);
  }
  if (fails("mkdir")) return (int)leave(-1);
  int result = (int)syscall(SYS_mkdirat, AT_FDCWD, full, mode);
  if (result == 0) record(full, strlen(full), "M %lu", inode_of(full));
  return (int)leave(result);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int directory, const char *path, int flags) {
  char full[PATH_MAX];
  if (!enter_path(directory, path, full)) {
    return (int)syscall(SYS_unlinkat, directory, path, flags);
  }
  if (fails("unlink")) return (int)leave(-1);
  int result = (int)syscall(SYS_unlinkat, AT_FDCWD, full, flags);
  if (result == 0) record(full, strlen(full), "U");
  return (int)leave(result);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

/* Both names lie below the root, or neither does. */
static int two_names(char kind, const char *from, const char *to) {
  int number = kind == 'N' ? SYS_renameat : SYS_linkat;
  char full[PATH_MAX];
  if (!enter_path(AT_FDCWD, from, full)) {
    return (int)syscall(number, AT_FDCWD, from, AT_FDCWD, to, 0);
  }
  if (fails(kind == 'N' ? "rename" : "link")) return (int)leave(-1);
  int result = (int)syscall(number, AT_FDCWD, from, AT_FDCWD, to, 0);
  if (result == 0) record_pair(kind, from, to);
  return (int)leave(result);
}
int rename(const char *from, const char *to) { return two_names('N', from, to); }
int link(const char *from, const char *to) { return two_names('L', from, to); }

/* Content */

/* At most `size` bytes of the parts, in one piece. */
static char *gather(const struct iovec *parts, int count, size_t size) {
  char *bytes = malloc(size + 1);
  size_t done = 0;
  for (int i = 0; i < count && done < size; i++) {
    size_t part = parts[i].iov_len < size - done ? parts[i].iov_len : size - done;
    memcpy(bytes + done, parts[i].iov_base, part);
    done += part;
  }
  return bytes;
}

static off_t position_of(int fd) {
  struct stat found;
  if ((fcntl(fd, F_GETFL) & O_APPEND) == 0) return lseek(fd, 0, SEEK_CUR);
  return fstat(fd, &found) == 0 ? found.st_size : 0;
}

static ssize_t write_watched(int fd, unsigned long inode, const struct iovec *parts, int count,
                             off_t position) {
  size_t size = 0;
  for (int i = 0; i < count; i++) size += parts[i].iov_len;
  if (fault.full) {
    fault.full = fault.always;
    errno = fault.code;
    return -1;
  }
  if (fails("write")) {
    /* A disk that fills up first takes a part. */
    if (fault.code != ENOSPC || size < 2) return -1;
    fault.full = 1;
    size /= 2;
  }
  off_t at = position < 0 ? position_of(fd) : position;
  char *bytes = gather(parts, count, size);
  ssize_t done = position < 0 ? syscall(SYS_write, fd, bytes, size)
                              : syscall(SYS_pwrite64, fd, bytes, size, position);
  if (done > 0) record(bytes, (size_t)done, "W %lu %lld", inode, (long long)at);
  free(bytes);
  return done;
}

static ssize_t write_any(int fd, const struct iovec *parts, int count, off_t position) {
  unsigned long inode = enter_file(fd);
  if (inode != 0) return leave(write_watched(fd, inode, parts, count, position));
  if (position >= 0) return syscall(SYS_pwritev, fd, parts, count, position, 0L);
  return syscall(SYS_writev, fd, parts, count);
}

ssize_t write(int fd, const void *bytes, size_t size) {
  if (fd == STDOUT_FILENO && enter()) {
    record(bytes, size, "A");
    leave(0);
  }
  struct iovec part = {(void *)bytes, size};
  return write_any(fd, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return write_any(fd, parts, count, -1);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t position) {
  struct iovec part = {(void *)bytes, size};
  return write_any(fd, &part, 1, position);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t position) {
  return pwrite64(fd, bytes, size, position);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t position) {
  return write_any(fd, parts, count, position);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t position) {
  return write_any(fd, parts, count, position);
}

int ftruncate64(int fd, off64_t size) {
  unsigned long inode = enter_file(fd);
  if (inode == 0) return (int)syscall(SYS_ftruncate, fd, size);
  if (fails("truncate")) return (int)leave(-1);
  int result = (int)syscall(SYS_ftruncate, fd, size);
  if (result == 0) record(NULL, 0, "T %lu %lld", inode, (long long)size);
  return (int)leave(result);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int truncate64(const char *path, off64_t size) {
  char full[PATH_MAX];
  if (!enter_path(AT_FDCWD, path, full)) return (int)syscall(SYS_truncate, path, size);
  if (fails("truncate")) return (int)leave(-1);
  int result = (int)syscall(SYS_truncate, full, size);
  if (result == 0) record(NULL, 0, "T %lu %lld", inode_of(full), (long long)size);
  return (int)leave(result);
}
int truncate(const char *path, off_t size) { return truncate64(path, size); }

static int sync_any(int fd, long number) {
  unsigned long inode = enter_file(fd);
  if (inode == 0) return (int)syscall(number, fd);
  int failed = fails("sync");
  record(NULL, 0, "%c %lu", failed ? 'F' : 'S', inode);
  return (int)leave(failed ? -1 : 0);
}
int fsync(int fd) { return sync_any(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_any(fd, SYS_fdatasync); }

/* Makes nothing durable: it neither writes metadata nor empties the disk's cache. */
int sync_file_range(int fd, off64_t from, off64_t size, unsigned int flags) {
  if (enter_file(fd) == 0) return (int)syscall(SYS_sync_file_range, fd, from, size, flags);
  return (int)leave(fails("sync") ? -1 : 0);
}
