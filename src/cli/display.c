/* display.c: what appears when: reports, notes, the paths of results, the last error.
 * Leaves how a report looks to the progress files. */
#include "cli/display.h"

#include "base/str.h"
#include "cli/output.h"
#include "cli/progress_text.h"
#include "cli/run_log.h"
#include "io/json_write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINE_SECONDS 10
#define LINE_PART 0.1
#define JSON_SECONDS 1
#define BAR_SECONDS 0.1

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) +
           (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

/* Notes */

static void show_note_json(const struct display *d, enum note_level level,
                           const char *line)
{
    static const char *const levels[] = {"warning", "info", "detail", "finding"};
    struct str out = {0};
    struct json_writer w = {.out = &out};
    json_write_open_object(&w);
    json_member_text(&w, "type", "note");
    json_member_double(&w, "seconds", seconds_since(&d->started));
    json_member_text(&w, "level", levels[level]);
    json_member_text(&w, "text", line);
    json_write_close(&w);
    fprintf(stderr, "%s\n", str_text(&out));
    str_free(&out);
}

static void show_note(struct display *d, enum note_level level, const char *line)
{
    bool warning = level == NOTE_WARNING, color = warning && d->terminal.color;
    terminal_clear(&d->terminal);
    if (d->mode == PROGRESS_JSON)
        show_note_json(d, level, line);
    else
        fprintf(stderr, "diffens: %s%s%s%s\n", color ? "\033[33m" : "",
                warning ? "warning: " : "", color ? "\033[0m" : "", line);
}

static void on_note(void *user, enum note_level level, const char *line)
{
    struct display *d = user;
    struct str text = {0};
    if (level == NOTE_WARNING ||
        (!d->options->quiet && (level == NOTE_INFO || d->options->verbose)))
        show_note(d, level, line);
    str_addf(&text, "diffens: %s%s", level == NOTE_WARNING ? "warning: " : "", line);
    run_log_line(str_text(&text));
    str_free(&text);
}

/* Reports */

static void draw_bar(struct display *d, const struct progress_at *at)
{
    struct str line = {0};
    const struct bar_style style = {.columns = terminal_columns(),
                                    .utf8 = d->terminal.utf8,
                                    .color = d->terminal.color};
    int columns = progress_add_bar(&line, at, &d->pace, &style);
    terminal_draw(&d->terminal, &line, columns);
    str_free(&line);
    d->drawn = d->pace.now;
}

/* A line in the log and, unless the bar says it, on standard error. */
static void write_lines(struct display *d, const struct progress_at *at)
{
    struct str line = {0}, json = {0};
    str_add(&line, "diffens: ");
    progress_add_plain(&line, at, &d->pace);
    run_log_line(str_text(&line));
    if (d->mode == PROGRESS_PLAIN)
        fprintf(stderr, "%s\n", str_text(&line));
    if (d->mode == PROGRESS_JSON) {
        progress_add_json(&json, at, &d->pace);
        fprintf(stderr, "%s\n", str_text(&json));
    }
    str_free(&line);
    str_free(&json);
    d->shown = d->pace.now;
    d->shown_part = d->pace.part;
}

static void on_place(void *user, const struct progress_at *at)
{
    struct display *d = user;
    bool elsewhere = pace_update(&d->pace, at, seconds_since(&d->started));
    bool complete = d->pace.part >= 1 && d->shown_part < 1;
    double due = d->mode == PROGRESS_JSON ? JSON_SECONDS : LINE_SECONDS;
    if (elsewhere || complete || d->pace.part - d->shown_part >= LINE_PART ||
        d->pace.now - d->shown >= due)
        write_lines(d, at);
    if (d->mode == PROGRESS_BAR &&
        (elsewhere || complete || d->pace.now - d->drawn >= BAR_SECONDS ||
         d->terminal.drawn == 0))
        draw_bar(d, at);
}

/* Results */

void display_result(struct display *d, const char *text)
{
    terminal_clear(&d->terminal);
    if (!output_write(text, strlen(text)) && !d->results_errno)
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

void display_error(const struct options *o, const struct err *e)
{
    struct str out = {0};
    struct json_writer w = {.out = &out};
    const char *kind = e->code == ERR_STOPPED ? "stopped" : "error";
    str_addf(&out, "diffens: %s: %s%s%s", kind, e->message, e->hint[0] ? "; " : "",
             e->hint);
    run_log_line(str_text(&out));
    str_clear(&out);
    if (o->progress != PROGRESS_JSON) {
        fprintf(stderr, "diffens: %s: %s\n", kind, e->message);
        if (e->hint[0])
            fprintf(stderr, "  %s\n", e->hint);
        str_free(&out);
        return;
    }
    json_write_open_object(&w);
    json_member_text(&w, "type", kind);
    json_member_int(&w, "status", e->code);
    json_member_text(&w, "text", e->message);
    json_member_text(&w, "hint", e->hint);
    json_write_close(&w);
    fprintf(stderr, "%s\n", str_text(&out));
    str_free(&out);
}

/* A bar needs a terminal that can draw it. */
static enum progress_mode choose_mode(const struct display *d)
{
    enum progress_mode asked = d->options->progress;
    if (d->options->quiet)
        return PROGRESS_NONE;
    if (asked == PROGRESS_AUTO || asked == PROGRESS_BAR)
        return d->terminal.usable ? PROGRESS_BAR : PROGRESS_PLAIN;
    return asked;
}

bool display_open(struct display *d, const struct options *o, struct err *e)
{
    d->options = o;
    d->progress =
        (struct progress){.at = on_place, .note = on_note, .made = on_made, .user = d};
    terminal_open(&d->terminal);
    d->mode = choose_mode(d);
    clock_gettime(CLOCK_MONOTONIC, &d->started);
    return run_log_open(o, e);
}

bool display_close(struct display *d, struct err *e)
{
    terminal_clear(&d->terminal);
    int log_errno = d->options ? run_log_errno() : 0;
    if (d->results_errno)
        return err_set(e, ERR_OUTPUT, "standard output: cannot write: %s",
                       strerror(d->results_errno));
    if (log_errno)
        return err_set(e, ERR_OUTPUT, "%s: cannot write: %s", STR_SHOW(d->options->log),
                       strerror(log_errno));
    return true;
}
