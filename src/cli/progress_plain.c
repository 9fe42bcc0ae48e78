/* progress_plain.c: a report as a line for logs and as an object for programs. Leaves the
 * bar to progress_bar.c. */
#include "cli/progress_text.h"

#include "io/json_write.h"

#include <stdio.h>

const char *progress_duration(double seconds, char text[32])
{
    long long s = seconds < 0     ? 0
                  : seconds > 1e9 ? 1000000000
                                  : (long long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, 32, "%lld:%02lld", s / 60, s % 60);
    return text;
}

static void add_place(struct str *out, const struct progress_at *at)
{
    const char *between = " ";
    str_addf(out, "%s:", at->stage);
    if (at->model) {
        str_addf(out, " model %s", STR_SHOW(at->model));
        between = ", ";
    }
    if (at->cell) {
        str_addf(out, "%scase %s", between, STR_SHOW(at->cell));
        between = ", ";
    }
    if (at->cells > 1)
        str_addf(out, " and %lld more", (long long)at->cells - 1);
    if (at->steps > 0) {
        str_addf(out, "%sstep %lld/%lld", between, (long long)at->step,
                 (long long)at->steps);
        between = "; ";
    }
    if (at->total > 0)
        str_addf(out, "%s%lld of %lld done", between, (long long)at->done,
                 (long long)at->total);
}

void progress_add_plain(struct str *out, const struct progress_at *at,
                        const struct pace *p)
{
    char text[32];
    double rate = pace_rate(p, at), left = pace_left(p);
    add_place(out, at);
    if (at->detail)
        str_addf(out, ", %s", STR_SHOW(at->detail));
    if (rate > 0)
        str_addf(out, ", %.3g %s/s", rate, at->unit);
    str_addf(out, ", %s passed", progress_duration(p->now, text));
    if (left >= 0)
        str_addf(out, ", %s left", progress_duration(left, text));
}

static void write_known(struct json_writer *w, const char *key, double number, bool known)
{
    json_write_key(w, key);
    if (known)
        json_write_double(w, number);
    else
        json_write_null(w);
}

void progress_add_json(struct str *out, const struct progress_at *at,
                       const struct pace *p)
{
    struct json_writer w = {.out = out};
    double rate = pace_rate(p, at), left = pace_left(p);
    json_write_open_object(&w);
    json_member_text(&w, "type", "progress");
    write_known(&w, "seconds", p->now, true);
    json_member_text(&w, "stage", at->stage);
    json_member_text(&w, "model", at->model);
    json_member_text(&w, "case", at->cell);
    json_member_int(&w, "cases", at->cell ? at->cells > 1 ? at->cells : 1 : 0);
    json_member_int(&w, "step", at->step);
    json_member_int(&w, "steps", at->steps);
    json_member_int(&w, "done", at->done);
    json_member_int(&w, "total", at->total);
    write_known(&w, "part", p->part, true);
    json_member_text(&w, "unit", at->unit);
    write_known(&w, "units_per_second", rate, rate > 0);
    write_known(&w, "seconds_left", left, left >= 0);
    write_known(&w, "device_bytes", (double)at->memory, at->memory > 0);
    json_member_text(&w, "detail", at->detail);
    json_write_close(&w);
}
