// The four names of open, each by open_any of whoever includes this:
//   static int open_any(int directory, const char *path, int flags, mode_t mode);
#include <fcntl.h>
#include <stdarg.h>

#define MODE_OF(flags)                                                  \
  mode_t mode = 0;                                                      \
  if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) {          \
    va_list rest;                                                       \
    va_start(rest, flags);                                              \
    mode = va_arg(rest, mode_t);                                        \
    va_end(rest);                                                       \
  }

int open(const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(AT_FDCWD, path, flags, mode);
}
int openat(int directory, const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(directory, path, flags, mode);
}
int openat64(int directory, const char *path, int flags, ...) {
  MODE_OF(flags)
  return open_any(directory, path, flags, mode);
}
