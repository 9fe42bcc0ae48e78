/* display.c: plain progress lines, notes, and the paths of results. Leaves errors to
 * main.c. */
#include "cli/display.h"

#include "base/str.h"

#include <errno.h>
#include <string.h>

#define LINE_SECONDS 10
#define LINE_PART 0.1

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) +
           (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

static void write_log(struct display *d, const char *line)
{
    char stamp[32];
    struct tm local;
    time_t now = time(NULL);
    if (!d->log)
        return;
    localtime_r(&now, &local);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S%z", &local);
    if ((fprintf(d->log, "%s %s\n", stamp, line) < 0 || fflush(d->log) != 0) &&
        !d->log_errno)
        d->log_errno = errno;
}

static void show(struct display *d, const char *line)
{
    fprintf(stderr, "%s\n", line);
    write_log(d, line);
}

static void on_note(void *user, enum note_level level, const char *line)
{
    struct display *d = user;
    char text[2200];
    snprintf(text, sizeof text, "diffens: %s%s", level == NOTE_WARNING ? "warning: " : "",
             line);
    bool shown = level == NOTE_WARNING ||
                 (!d->options->quiet && (level == NOTE_INFO || d->options->verbose));
    if (shown)
        show(d, text);
    else
        write_log(d, text);
}

static bool same_place(const struct display *d, const struct progress_at *at)
{
    return d->stage && strcmp(d->stage, at->stage) == 0 &&
           strcmp(d->model, at->model ? at->model : "") == 0;
}

static double part_done(const struct progress_at *at)
{
    double within = at->steps > 0 ? (double)at->step / (double)at->steps : 0;
    return at->total > 0 ? ((double)at->done + within) / (double)at->total : 0;
}

/* Seconds that the rest of the stage takes at its pace so far; -1 while that is unknown.
 */
static double seconds_left(const struct display *d, double part)
{
    double passed = seconds_since(&d->place_started);
    return part > d->place_part && passed >= 1
               ? passed * (1 - part) / (part - d->place_part)
               : -1;
}

/* "generate: model poster, case 003, step 20/50; 3 of 12 done, 41 s, 82 s left" */
static void format_place(const struct display *d, const struct progress_at *at,
                         struct str *line)
{
    str_addf(line, "diffens: %s:", at->stage);
    const char *between = " ";
    if (at->model) {
        str_addf(line, " model %s", STR_SHOW(at->model));
        between = ", ";
    }
    if (at->cell) {
        str_addf(line, "%scase %s", between, STR_SHOW(at->cell));
        between = ", ";
    }
    if (at->steps > 0) {
        str_addf(line, "%sstep %lld/%lld", between, (long long)at->step,
                 (long long)at->steps);
        between = "; ";
    }
    if (at->total > 0)
        str_addf(line, "%s%lld of %lld done", between, (long long)at->done,
                 (long long)at->total);
    if (at->detail)
        str_addf(line, ", %s", at->detail);
    str_addf(line, ", %.0f s", seconds_since(&d->started));
    double left = seconds_left(d, part_done(at));
    if (left >= 0)
        str_addf(line, ", %.0f s left", left);
}

static void on_place(void *user, const struct progress_at *at)
{
    struct display *d = user;
    double part = part_done(at);
    bool new_place = !same_place(d, at);
    bool complete = at->total > 0 && at->done >= at->total && d->shown_part < 1;
    if (!new_place && !complete && part - d->shown_part < LINE_PART &&
        seconds_since(&d->shown) < LINE_SECONDS)
        return;
    if (new_place) {
        clock_gettime(CLOCK_MONOTONIC, &d->place_started);
        d->place_part = part;
    }
    d->stage = at->stage;
    snprintf(d->model, sizeof d->model, "%s", at->model ? at->model : "");
    d->shown_part = part;
    clock_gettime(CLOCK_MONOTONIC, &d->shown);
    struct str line = {0};
    format_place(d, at, &line);
    if (d->options->quiet || d->options->progress == PROGRESS_NONE)
        write_log(d, str_text(&line));
    else
        show(d, str_text(&line));
    str_free(&line);
}

void display_result(struct display *d, const char *text)
{
    if ((fputs(text, stdout) < 0 || fflush(stdout) != 0) && !d->results_errno)
        d->results_errno = errno;
}

static void on_made(void *user, const char *path)
{
    struct display *d = user;
    if (d->options->json)
        return;
    display_result(d, path);
    display_result(d, "\n");
}

bool display_open(struct display *d, const struct options *o, struct err *e)
{
    d->options = o;
    d->progress =
        (struct progress){.at = on_place, .note = on_note, .made = on_made, .user = d};
    clock_gettime(CLOCK_MONOTONIC, &d->started);
    d->shown = d->started;
    if (!o->log || o->print_config)
        return true;
    d->log = fopen(o->log, "ae");
    if (!d->log)
        return err_set(e, ERR_OUTPUT, "%s: cannot write: %s", STR_SHOW(o->log),
                       strerror(errno));
    return true;
}

bool display_close(struct display *d, struct err *e)
{
    if (d->log && fclose(d->log) != 0 && !d->log_errno)
        d->log_errno = errno;
    if (d->results_errno)
        return err_set(e, ERR_OUTPUT, "standard output: cannot write: %s",
                       strerror(d->results_errno));
    if (d->log_errno)
        return err_set(e, ERR_OUTPUT, "%s: cannot write: %s", STR_SHOW(d->options->log),
                       strerror(d->log_errno));
    return true;
}
