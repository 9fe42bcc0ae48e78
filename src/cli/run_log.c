/* run_log.c: opens --log without waiting for anybody, and appends lines to it. Leaves
 * which files a log must not be to out_check.h. */
#include "cli/run_log.h"

#include "base/str.h"
#include "cli/out_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Of the program, as its standard streams are: errors reach main() without a display. */
static FILE *file;
static int first_errno;

/* Opening waits for nobody; writing to a pipe whose reader is slow does. */
static int open_now(const char *path, struct err *e)
{
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct stat st;
    int fd = open(path, flags, 0666);
    if (fd >= 0 && fcntl(fd, F_SETFL, O_APPEND) == 0)
        return fd;
    if (fd < 0 && errno == ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
        err_set(e, ERR_OUTPUT, "%s: found a pipe that nobody reads, expected a reader",
                STR_SHOW(path));
    else
        err_set(e, ERR_OUTPUT, "%s: cannot write: %s", STR_SHOW(path), strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool check_kind(const struct options *o, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return err_set(e, ERR_OUTPUT, "%s: cannot look at: %s", STR_SHOW(o->log),
                       strerror(errno));
    if (S_ISREG(st.st_mode))
        return out_check_log(o, &st, e);
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode))
        return true;
    return err_set(e, ERR_OUTPUT,
                   "%s: found neither file, pipe nor terminal, expected one of them",
                   STR_SHOW(o->log));
}

bool run_log_open(const struct options *o, struct err *e)
{
    struct stat st;
    if (!o->log || o->print_config || o->dry_run)
        return true;
    bool made = lstat(o->log, &st) != 0 && errno == ENOENT;
    int fd = open_now(o->log, e);
    if (fd < 0)
        return false;
    bool ok = check_kind(o, fd, e);
    if (ok && !(file = fdopen(fd, "a")))
        ok = err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(o->log));
    if (ok)
        return true;
    close(fd);
    if (made)
        unlink(o->log);
    return false;
}

void run_log_line(const char *line)
{
    char stamp[32];
    struct tm local;
    time_t now = time(NULL);
    if (!file)
        return;
    localtime_r(&now, &local);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S%z", &local);
    if ((fprintf(file, "%s %s\n", stamp, line) < 0 || fflush(file) != 0) && !first_errno)
        first_errno = errno;
}

/* Network file systems say only when a file is closed that it could not be written. */
int run_log_errno(void)
{
    int copy = file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 0) : -1;
    if (copy >= 0 && close(copy) != 0 && !first_errno)
        first_errno = errno;
    return first_errno;
}
