/* losses.c: writes losses down. Leaves when and where to optimizing.c. */
#include "stages/losses.h"

#include "io/config.h"
#include "run/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The table */

/* A name as a field of CSV (RFC 4180). */
static void add_name(struct str *csv, const char *prefix, const char *name)
{
    bool quoted = strpbrk(name, ",\"\n\r") != NULL;
    str_addf(csv, ",%s%s_", quoted ? "\"" : "", prefix);
    for (const char *c = name; *c; c++) {
        str_add_bytes(csv, c, 1);
        if (*c == '"')
            str_add(csv, "\"");
    }
    str_add(csv, quoted ? "\"" : "");
}

void losses_add_header(struct str *csv, const struct plan *p)
{
    str_add(csv, "epoch,rate,total");
    for (int m = 0; m < p->models; m++) {
        add_name(csv, "clip", p->model_names[m]);
        add_name(csv, "perceptual", p->model_names[m]);
    }
    str_add(csv, p->settings.tv_weight > 0 ? ",variation\n" : "\n");
}

void losses_add_row(struct str *csv, const struct plan *p, const struct optimize_row *row)
{
    str_addf(csv, "%lld,%.9g,%.9g", (long long)row->epoch, row->rate, row->losses.total);
    for (int m = 0; m < p->models; m++)
        str_addf(csv, ",%.9g,%.9g", row->losses.clip[m], row->losses.perceptual[m]);
    if (p->settings.tv_weight > 0)
        str_addf(csv, ",%.9g", row->losses.variation);
    str_add(csv, "\n");
}

/* run.json */

static void write_numbers(struct json_writer *w, const char *key, const double *numbers,
                          int count)
{
    json_write_key(w, key);
    json_write_open_array(w);
    for (int i = 0; i < count; i++)
        json_write_double(w, numbers[i]);
    json_write_close(w);
}

static void write_losses(struct json_writer *w, const char *key,
                         const struct optimize_losses *losses, int parents)
{
    json_write_key(w, key);
    json_write_open_object(w);
    json_member_double(w, "total", losses->total);
    write_numbers(w, "clip", losses->clip, parents);
    write_numbers(w, "perceptual", losses->perceptual, parents);
    json_member_double(w, "variation", losses->variation);
    json_write_close(w);
}

static const char *best_baseline(const struct plan *p, const struct optimize_report *r,
                                 const char **of)
{
    *of = strcmp(r->best_baseline, "reconstruction") == 0 ? p->model_names[r->best_parent]
                                                          : NULL;
    return r->best_baseline;
}

void losses_write_outcome(struct json_writer *w, const void *user)
{
    const struct losses_case *of_case = user;
    const struct plan *p = of_case->p;
    int64_t n = of_case->index_case;
    const struct outcome *o = p->outcomes[n];
    const struct optimize_report *r = &o->report;
    const char *of;
    json_write_open_object(w);
    json_member_text(w, "case", p->case_names[n]);
    json_member_int(w, "epochs", o->epochs);
    json_member_int(w, "skipped", o->skipped);
    write_losses(w, "final", &r->latest, r->parents);
    write_losses(w, "best", &r->best, r->parents);
    json_write_key(w, "baselines");
    json_write_open_object(w);
    write_losses(w, "average", &r->average, r->parents);
    write_losses(w, "blend", &r->blend, r->parents);
    json_write_key(w, "reconstructions");
    json_write_open_object(w);
    for (int m = 0; m < r->parents; m++)
        write_losses(w, p->model_names[m], &r->reconstruction[m], r->parents);
    json_write_close(w);
    json_write_close(w);
    json_member_text(w, "best_baseline", best_baseline(p, r, &of));
    json_write_key(w, "best_baseline_of");
    if (of)
        json_write_string(w, of);
    else
        json_write_null(w);
    json_write_close(w);
}

/* The verdict */

static const struct optimize_losses *baseline_losses(const struct optimize_report *r)
{
    if (strcmp(r->best_baseline, "average") == 0)
        return &r->average;
    return strcmp(r->best_baseline, "blend") == 0 ? &r->blend
                                                  : &r->reconstruction[r->best_parent];
}

/* Of one parent, before its share. */
static double parent_loss(const struct plan *p, const struct optimize_losses *losses,
                          int m)
{
    return p->settings.clip_weight * losses->clip[m] +
           p->settings.perceptual_weight * losses->perceptual[m];
}

static void add_difference(struct str *line, double found, double baseline)
{
    double percent = baseline > 0 ? 100 * (found / baseline - 1) : 0;
    str_addf(line, "%.1f %% %s", percent < 0 ? -percent : percent,
             percent < 0 ? "below" : "above");
}

void losses_add_verdict(struct str *line, const struct plan *p, int64_t n)
{
    const struct optimize_report *r = &p->outcomes[n]->report;
    const struct optimize_losses *baseline = baseline_losses(r);
    const char *of;
    const char *name = best_baseline(p, r, &of);
    str_addf(line, "case %s: final loss %.4g, ", STR_SHOW(p->case_names[n]),
             r->latest.total);
    add_difference(line, r->latest.total, baseline->total);
    str_addf(line, " the best baseline (%s%s%s, %.4g)", name, of ? " of " : "",
             of ? STR_SHOW(of) : "", baseline->total);
    /* Of the average in any case: a parent's reconstruction is next to that parent. */
    for (int m = 0; m < r->parents; m++) {
        str_addf(line, "%s%s ", m ? ", " : "; for ", STR_SHOW(p->model_names[m]));
        add_difference(line, parent_loss(p, &r->latest, m),
                       parent_loss(p, &r->average, m));
    }
    str_add(line, " the average");
}

/* Charts */

static bool add_level(struct loss_levels *levels, const char *name, const char *of,
                      const struct json *losses, struct err *e)
{
    int i = levels->totals;
    snprintf(levels->total[i].name, sizeof levels->total[i].name, "%s%s", name, of);
    return config_need_double(losses, "total", -INFINITY, INFINITY,
                              &levels->total[levels->totals++].total, e);
}

static bool read_numbers(const struct json *losses, const char *key, double *out,
                         struct err *e)
{
    const struct json *array;
    int count = 0;
    if (!config_need_array(losses, key, 1, LOSS_PARENTS, &array, e))
        return false;
    for (const struct json *v = array->child; v; v = v->next)
        if (!config_as_double(v, -INFINITY, INFINITY, &out[count++], e))
            return false;
    return true;
}

/* The reconstruction that comes nearest to all parents. */
static bool add_nearest(struct loss_levels *levels, const struct json *all, struct err *e)
{
    const struct json *nearest = NULL;
    double lowest = INFINITY, total;
    for (const struct json *v = all->child; v; v = v->next) {
        if (!config_need_double(v, "total", -INFINITY, INFINITY, &total, e))
            return false;
        if (!nearest || total < lowest) {
            nearest = v;
            lowest = total;
        }
    }
    return !nearest || add_level(levels, "reconstruction of ", nearest->key, nearest, e);
}

static bool read_levels(struct loss_levels *levels, const struct json *outcome,
                        struct err *e)
{
    const struct json *baselines, *average, *blend, *all;
    return config_need_object(outcome, "baselines", &baselines, e) &&
           config_need_object(baselines, "average", &average, e) &&
           config_need_object(baselines, "blend", &blend, e) &&
           config_need_object(baselines, "reconstructions", &all, e) &&
           add_level(levels, "pixel average", "", average, e) &&
           add_level(levels, "blend", "", blend, e) && add_nearest(levels, all, e) &&
           read_numbers(average, "clip", levels->clip, e) &&
           read_numbers(average, "perceptual", levels->perceptual, e);
}

bool losses_levels(const struct plan *p, int64_t n, struct loss_levels *levels,
                   struct err *e)
{
    struct json_document d = {0};
    struct err why = {0};
    const char *outcome = record_outcome(p->run->record, n);
    *levels = (struct loss_levels){0};
    bool ok = outcome && json_parse(&d, "outcome", outcome, strlen(outcome), &why) &&
              read_levels(levels, d.root, &why);
    json_free(&d);
    if (!ok)
        *levels = (struct loss_levels){0};
    return why.code != ERR_MEMORY || err_set(e, why.code, "%s", why.message);
}
