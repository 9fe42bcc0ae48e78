/* progress_pace.c: times a stage by its reports. Leaves showing to the other progress
 * files. */
#include "cli/progress_pace.h"

#include <stdio.h>
#include <string.h>

#define STOPPED_FACTOR 20 /* a pause as long as so many reports, */
#define STOPPED_SECONDS 5 /* and this, is no work: Ctrl-Z, a laptop's lid */

static double part_done(const struct progress_at *at)
{
    double within = at->steps > 0 ? (double)at->step / (double)at->steps : 0;
    double cells = at->cells > 1 ? (double)at->cells : 1;
    double part =
        at->total > 0 ? ((double)at->done + cells * within) / (double)at->total : 0;
    return part > 1 ? 1 : part;
}

static bool is_elsewhere(const struct pace *p, const struct progress_at *at)
{
    return strncmp(p->stage, at->stage, sizeof p->stage - 1) != 0 ||
           strncmp(p->model, at->model ? at->model : "", sizeof p->model - 1) != 0;
}

static double whole(const struct pace *p)
{
    return p->part > p->from && p->worked > 0 ? p->worked / (p->part - p->from)
                                              : p->former;
}

static void move(struct pace *p, const struct progress_at *at, double now)
{
    bool same_stage = strncmp(p->stage, at->stage, sizeof p->stage - 1) == 0;
    struct pace next = {.former = same_stage ? whole(p) : 0, .now = now};
    snprintf(next.stage, sizeof next.stage, "%s", at->stage);
    snprintf(next.model, sizeof next.model, "%s", at->model ? at->model : "");
    *p = next;
}

bool pace_update(struct pace *p, const struct progress_at *at, double now)
{
    double part = part_done(at), passed = now - p->now;
    bool elsewhere = is_elsewhere(p, at);
    if (elsewhere)
        move(p, at, now);
    if (!p->stepping) { /* loading is not part of the pace */
        p->from = part;
        p->stepping = at->steps == 0 || at->step > 0;
    } else {
        double usual = p->updates > 2 ? p->worked / (double)p->updates : passed;
        bool stopped = passed > STOPPED_FACTOR * usual + STOPPED_SECONDS;
        p->worked += stopped ? usual : passed;
        p->updates++;
    }
    p->part = part;
    p->now = now;
    return elsewhere;
}

double pace_left(const struct pace *p)
{
    double seconds = whole(p);
    return seconds > 0 ? seconds * (1 - p->part) : -1;
}

double pace_rate(const struct pace *p, const struct progress_at *at)
{
    double seconds = whole(p);
    return at->unit && seconds > 0 ? at->units * (double)at->total / seconds : 0;
}
