/* stop.c: signal handlers that only note what was asked. Leaves the stopping to the loops
 * that look. */
#include "base/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HANDLER_STACK = 64 << 10 };

static atomic_int asked_by;          /* a signal; 0: none */
static atomic_llong deadline;        /* milliseconds of CLOCK_MONOTONIC; 0: none */
static atomic_llong noticed;         /* that it is asked, as `deadline`; 0: not yet */
static atomic_llong patience = 2000; /* milliseconds */
static long long installed;
static void (*clean_up)(void);

static long long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Handlers: async-signal-safe calls only. */

static void end_by(int signal_number)
{
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void on_request(int signal_number)
{
    int before = 0;
    bool first = atomic_compare_exchange_strong(&asked_by, &before, signal_number);
    if (first || signal_number != SIGINT)
        return;
    /* An earlier SIGTERM leaves a later SIGINT its first chance. */
    if (before != SIGINT) {
        atomic_store(&asked_by, SIGINT);
        return;
    }
    if (clean_up)
        clean_up();
    end_by(SIGINT);
}

static void on_crash(int signal_number)
{
    char text[96] = "diffens " DIFFENS_VERSION ": bug: signal ";
    size_t size = strlen(text);
    if (clean_up)
        clean_up();
    if (signal_number >= 10)
        text[size++] = (char)('0' + signal_number / 10);
    text[size++] = (char)('0' + signal_number % 10);
    static const char end[] = ", please report\n";
    memcpy(text + size, end, sizeof end - 1);
    size += sizeof end - 1;
    if (write(STDERR_FILENO, text, size) < 0)
        size = 0; /* there is nobody to tell */
    end_by(signal_number);
}

/* Installing */

static void handle(int signal_number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(signal_number, &action, NULL);
}

static bool is_ignored(int signal_number)
{
    struct sigaction action;
    return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void stop_install(void (*clean)(void))
{
    static const int requests[] = {SIGTERM, SIGUSR1, SIGHUP, SIGXCPU, SIGINT};
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    clean_up = clean;
    installed = now_ms();
    /* A stack that has overflowed has no room for its own handler. */
    static char stack[HANDLER_STACK];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        if (!is_ignored(requests[i]))
            handle(requests[i], on_request, SA_RESTART);
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        handle(crashes[i], on_crash, SA_ONSTACK | SA_NODEFER);
    handle(SIGPIPE, SIG_IGN, 0);
    handle(SIGXFSZ, SIG_IGN, 0);
}

void stop_set_time_limit(double seconds)
{
    atomic_store(&deadline, seconds > 0 ? installed + (long long)(seconds * 1000) : 0);
}

void stop_request(int signal_number)
{
    atomic_store(&asked_by, signal_number);
}

/* Asking */

static bool time_is_up(void)
{
    long long end = atomic_load(&deadline);
    return end != 0 && now_ms() >= end;
}

bool stop_asked(void)
{
    return atomic_load(&asked_by) != 0 || time_is_up();
}

const char *stop_reason(void)
{
    switch (atomic_load(&asked_by)) {
    case SIGTERM:
        return "SIGTERM";
    case SIGUSR1:
        return "SIGUSR1";
    case SIGHUP:
        return "SIGHUP";
    case SIGXCPU:
        return "SIGXCPU";
    case SIGINT:
        return "SIGINT";
    default:
        return time_is_up() ? "--time-limit" : NULL;
    }
}

bool stop_check(struct err *e)
{
    return !stop_asked() || err_set(e, ERR_STOPPED, "stopped by %s", stop_reason());
}

bool stop_check_overdue(struct err *e)
{
    if (!stop_asked()) {
        atomic_store(&noticed, 0);
        return true;
    }
    if (atomic_load(&noticed) == 0)
        atomic_store(&noticed, now_ms());
    return now_ms() - atomic_load(&noticed) < atomic_load(&patience) || stop_check(e);
}

void stop_set_patience(double seconds)
{
    atomic_store(&patience, (long long)(seconds * 1000));
}

void stop_interrupt(void)
{
    if (atomic_load(&asked_by) == SIGINT)
        end_by(SIGINT);
}
