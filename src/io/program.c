/* program.c: starts, feeds and awaits another program. Leaves what it makes of its input
 * to the callers. */
#include "io/program.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

bool program_is_there(const char *name)
{
    const char *path = getenv("PATH");
    bool found = false;
    while (path && *path && !found) {
        size_t length = strcspn(path, ":");
        struct str file = {0};
        str_addf(&file, "%.*s/%s", (int)length, path, name);
        found = length > 0 && access(str_text(&file), X_OK) == 0;
        str_free(&file);
        path += length + (path[length] == ':');
    }
    return found;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What this program ignores, the other one need not. */
static int set_attributes(posix_spawnattr_t *attributes)
{
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    sigaddset(&defaults, SIGXFSZ);
    int error = posix_spawnattr_setsigdefault(attributes, &defaults);
    if (!error)
        error = posix_spawnattr_setpgroup(attributes, 0);
    if (!error)
        error = posix_spawnattr_setflags(attributes,
                                         POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return error;
}

static int set_streams(posix_spawn_file_actions_t *actions, int input, int messages)
{
    int error = posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, messages, STDOUT_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, messages, STDERR_FILENO);
    return error;
}

/* Returns an errno. */
static int spawn(struct program *p, char *const *arguments, int input)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attributes);
    if (!error) {
        error = set_attributes(&attributes);
        if (!error)
            error = set_streams(&actions, input, p->messages);
        if (!error)
            error = posix_spawnp(&p->pid, arguments[0], &actions, &attributes, arguments,
                                 environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

bool program_start(struct program *p, char *const *arguments, struct err *e)
{
    int ends[2] = {-1, -1};
    *p = (struct program){.name = arguments[0], .input = -1, .messages = -1};
    int error = pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
    if (!error && (p->messages = memfd_create(p->name, MFD_CLOEXEC)) < 0)
        error = errno;
    if (!error)
        error = spawn(p, arguments, ends[0]);
    close_one(&ends[0]);
    p->input = ends[1];
    if (!error)
        return true;
    p->pid = 0;
    program_abandon(p);
    return err_set(e, ERR_OUTPUT, "%s: cannot start: %s", arguments[0], strerror(error));
}

bool program_write(const struct program *p, const void *bytes, size_t size)
{
    const char *from = bytes;
    while (size > 0) {
        ssize_t put = write(p->input, from, size);
        if (put < 0 && errno != EINTR)
            return false;
        from += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
    }
    return true;
}

static int await(struct program *p)
{
    int status = 0;
    while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
        ;
    p->pid = 0;
    return status;
}

/* The first says what was wrong, the others what came of it. */
static void read_first_line(const struct program *p, char *line, size_t size)
{
    ssize_t got = pread(p->messages, line, size - 1, 0);
    line[got > 0 ? got : 0] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
}

static bool explain(const struct program *p, int status, const char *path, struct err *e)
{
    char line[256];
    read_first_line(p, line, sizeof line);
    if (WIFSIGNALED(status))
        return err_set(e, ERR_OUTPUT, "%s: %s was ended by signal %d", STR_SHOW(path),
                       p->name, WTERMSIG(status));
    return err_set(e, ERR_OUTPUT, "%s: %s ended with status %d%s%s", STR_SHOW(path),
                   p->name, WEXITSTATUS(status), line[0] ? ": " : "", STR_SHOW(line));
}

bool program_end(struct program *p, const char *path, struct err *e)
{
    close_one(&p->input);
    int status = await(p);
    bool ok =
        (WIFEXITED(status) && WEXITSTATUS(status) == 0) || explain(p, status, path, e);
    close_one(&p->messages);
    return ok;
}

void program_abandon(struct program *p)
{
    if (!p->name)
        return;
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        await(p);
    }
    close_one(&p->input);
    close_one(&p->messages);
}
