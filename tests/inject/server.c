/* server.c: runs the program as often as it is asked to, each time in a process of its
 * own, without paying for the loading of libtorch: it forks. Leaves which calls fail to
 * faults.c, and what is asked to tests/serving.py.
 *
 * A request on standard input is a number of texts, each ended by NUL: that number, the
 * folder to run in, files for standard output and error, the fault ("", "hiccup" or
 * "KIND AT once|onward"), the seconds after which the process is killed, how many
 * NAME=VALUE to add to the environment, these, and the arguments. The answer is a line:
 * the exit status (a signal: negative), then how often each kind of call was made. */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#ifdef DIFFENS_COVERAGE
#include <gcov.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TEXTS_MAX = 256 };
enum text { FOLDER, OUTPUT, ERRORS, FAULT, SECONDS, VARIABLES, FIRST };

int diffens_main(int argc, char **argv); /* main() of src/main.c */

static char *texts[TEXTS_MAX + 1];

static void read_text(char **out)
{
    size_t size = 0;
    free(*out);
    *out = NULL;
    if (getdelim(out, &size, 0, stdin) < 0)
        exit(0);
}

static int read_request(void)
{
    char *number = NULL;
    read_text(&number);
    int count = atoi(number);
    free(number);
    if (count <= FIRST || count > TEXTS_MAX)
        exit(1);
    for (int i = 0; i < count; i++)
        read_text(&texts[i]);
    return count;
}

static void set_faults(struct faults *f, const char *text)
{
    char kind[16] = "", how[16] = "";
    *f = (struct faults){.kind = FAULT_KINDS, .hiccup = strcmp(text, "hiccup") == 0};
    if (sscanf(text, "%15s %ld %15s", kind, &f->at, how) == 3) {
        f->kind = (int)fault_kind_of(kind);
        f->onward = strcmp(how, "onward") == 0;
    }
}

static void redirect(int fd, const char *path, int flags)
{
    int file = open(path, flags, 0666);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(99);
    close(file);
}

/* The forked process. It ends without the exit handlers: libtorch's take longer than all
 * the rest of a short run. */
static void run(int count, struct faults *shared)
{
    int variables = atoi(texts[VARIABLES]);
    signal(SIGINT, SIG_DFL);
    redirect(STDIN_FILENO, "/dev/null", O_RDONLY);
    redirect(STDOUT_FILENO, texts[OUTPUT], O_WRONLY | O_CREAT | O_TRUNC);
    redirect(STDERR_FILENO, texts[ERRORS], O_WRONLY | O_CREAT | O_TRUNC);
    if (chdir(texts[FOLDER]) != 0 || FIRST + variables > count)
        _exit(99);
    for (int i = 0; i < variables; i++)
        putenv(texts[FIRST + i]);
    char **argv = texts + FIRST + variables;
    argv[count - FIRST - variables] = NULL;
    faults = shared;
    int status = diffens_main(count - FIRST - variables, argv);
    faults = NULL;
    fflush(NULL);
#ifdef DIFFENS_COVERAGE
    __gcov_dump();
#endif
    _exit(status);
}

/* The exit status as Python's subprocess has it. */
static int wait_for(pid_t child, double seconds)
{
    const struct timespec pause = {0, 200000};
    struct timespec start, now;
    int status;
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (waitpid(child, &status, WNOHANG) == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        double passed = (double)(now.tv_sec - start.tv_sec) +
                        1e-9 * (double)(now.tv_nsec - start.tv_nsec);
        if (passed >= seconds)
            kill(child, SIGKILL);
        nanosleep(&pause, NULL);
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void)
{
    struct faults *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 1;
    signal(SIGINT, SIG_IGN);
    for (;;) {
        int count = read_request();
        double seconds = strtod(texts[SECONDS], NULL);
        set_faults(shared, texts[FAULT]);
        pid_t child = fork();
        if (child == 0)
            run(count, shared);
        printf("%d", child < 0 ? -99 : wait_for(child, seconds));
        for (int kind = 0; kind < FAULT_KINDS; kind++)
            printf(" %ld", atomic_load(&shared->calls[kind]));
        printf("\n");
        fflush(stdout);
    }
}
