/* animate.c: which pictures an animation shows, and for how long. Leaves the file to
 * run/animation.h. */
#include "stages/animate.h"

#include "run/animation.h"
#include "run/record.h"

#include <string.h>

/* A pass lasts about so long where --fps does not say otherwise. */
#define PASS_SECONDS 4
#define SLOWEST 2 /* frames a second */
#define FASTEST 25

/* What one animation shows: a pass over `shown` pictures. */
struct sequence {
    const struct plan *p;
    int64_t n;
    int row; /* of the case's results */
    int shown;
    int hold;   /* frames more that an end is shown */
    bool turns; /* goes back to its beginning */
};

static bool is_optimized(const struct plan *p)
{
    return p->run->options->command == COMMAND_OPTIMIZE;
}

/* Pictures of a pass. */
static int count_shown(const struct plan *p)
{
    return is_optimized(p) ? p->results - RESULT_PREVIEW + 1 : p->mixture_count;
}

static int rate_of(const struct plan *p)
{
    int asked = p->run->options->frame_rate, fit = count_shown(p) / PASS_SECONDS;
    return asked > 0 ? asked : fit < SLOWEST ? SLOWEST : fit > FASTEST ? FASTEST : fit;
}

/* The record's cell of picture `i` of a pass. */
static int cell_of(const struct sequence *q, int i)
{
    if (!is_optimized(q->p))
        return plan_mixture_cell(q->p, q->n, q->row, i);
    bool last = i == q->shown - 1;
    return plan_result_cell(q->p, q->n, last ? RESULT_FINAL : RESULT_PREVIEW + i);
}

/* A sweep: first, ..., last, ..., second, with both ends held; an optimisation: start,
 * ..., result, held. */
static int count_frames(const struct sequence *q)
{
    return q->shown + q->hold + (q->turns ? q->hold + q->shown - 2 : 0);
}

static int picture_of(const struct sequence *q, int frame)
{
    int i = q->turns ? frame - q->hold : frame, last = q->shown - 1;
    if (i < 0)
        return 0;
    if (i <= last + q->hold)
        return i < last ? i : last;
    return last - (i - last - q->hold);
}

static bool fetch(void *user, int frame, struct image *out, struct err *e)
{
    const struct sequence *q = user;
    int cell = cell_of(q, picture_of(q, frame));
    return image_read(out, record_cell_path(q->p->run->record, cell), NULL, e);
}

static bool has_pictures(const struct sequence *q)
{
    for (int i = 0; i < q->shown; i++)
        if (!record_cell_is_done(q->p->run->record, cell_of(q, i)))
            return false;
    return true;
}

static bool make_one(const struct plan *p, int64_t n, int row, struct err *e)
{
    struct record *r = p->run->record;
    int rate = rate_of(p);
    struct sequence q = {.p = p,
                         .n = n,
                         .row = row,
                         .shown = count_shown(p),
                         .hold = is_optimized(p) ? rate : rate / 2,
                         .turns = !is_optimized(p)};
    const struct animation a = {.format = p->run->options->animate,
                                .frames = count_frames(&q),
                                .height = (int)p->vq_height,
                                .width = (int)p->vq_width,
                                .rate = rate,
                                .frame = fetch,
                                .user = &q};
    char file[256];
    plan_animation_file(p, n, row, file, sizeof file);
    if (!has_pictures(&q))
        return true;
    if (!record_file_is_done(r, file) &&
        (!animation_write(&a, record_file_path(r, file), e) ||
         !record_file_done(r, file, e)))
        return false;
    progress_made(p->run->progress, record_file_path(r, file));
    return true;
}

static void report(const struct plan *p, int64_t n)
{
    progress_at(p->run->progress,
                &(struct progress_at){.stage = "animate",
                                      .cell = n < p->cases ? p->case_names[n] : NULL,
                                      .done = n,
                                      .total = p->cases,
                                      .unit = "animations",
                                      .units = plan_animations(p)});
}

static bool make_all(const struct plan *p, int rows, struct err *e)
{
    for (int64_t n = 0; n < p->cases; n++) {
        report(p, n);
        for (int row = 0; row < rows; row++)
            if (!make_one(p, n, row, e))
                return false;
    }
    report(p, p->cases);
    return true;
}

bool animate_make(const struct plan *p, struct err *failure, struct err *e)
{
    int rows = plan_animations(p);
    if (rows == 0 || make_all(p, rows, failure))
        return true;
    if (failure->code == ERR_OUTPUT) {
        err_hint(failure, "all pictures are there; --resume tries the animation again");
        return true;
    }
    *e = *failure;
    return false;
}

static bool check_shown(const struct plan *p, struct err *e)
{
    if (p->results == 0) /* merge alone comes here: generate has no --animate */
        return err_set(e, ERR_USAGE,
                       "--animate: found a run of generate, expected one of blend or "
                       "optimize");
    if (count_shown(p) >= 2)
        return true;
    return is_optimized(p)
               ? err_set(e, ERR_USAGE,
                         "--animate: found no previews to show, expected --save-every "
                         "above 0")
               : err_set(e, ERR_USAGE,
                         "--animate: found one mixture a case, expected several, such as "
                         "--gamma 0:1:17");
}

bool animate_plan(const struct plan *p, struct err *e)
{
    int rows = plan_animations(p);
    char file[256];
    if (p->run->options->animate == ANIMATION_NONE)
        return true;
    if (!check_shown(p, e) || !animation_check(e))
        return false;
    for (int64_t n = 0; n < p->cases; n++)
        for (int row = 0; row < rows; row++)
            if (!record_add_file(p->run->record,
                                 plan_animation_file(p, n, row, file, sizeof file), e))
                return false;
    return true;
}
