/* optimize_driver.c: runs the image encoder, the perceptual network or a whole
 * optimisation on tensors from a file and writes what comes out, so that
 * test_clip_vision.py, test_lpips.py and test_optimize.py can hold it against the
 * reference packages. Leaves every comparison to them.
 *
 *   optimize_driver clip DIRECTORY INPUTS OUTPUTS
 *   optimize_driver lpips DIRECTORY INPUTS OUTPUTS
 *   optimize_driver optimize VQGAN CLIP PERCEPTUAL INPUTS OUTPUTS [SETTING=VALUE ...]
 *
 * With gradient=COUNT the loss of the start is differentiated, not optimised: its slopes
 * in COUNT random directions, by the gradient and by central differences of the function
 * that the straight-through gradient is the gradient of: f(z) = loss(decode(q0 + p(z) -
 * p0)), where p(z) is what goes into the codebook, and p0 and q0 are what goes in and
 * comes out at the start. */
#include "base/stop.h"
#include "base/str.h"
#include "diffens/optimize.h"
#include "io/safetensors.h"
#include "models/clip.h"
#include "models/perceptual.h"
#include "models/vqgan.h"
#include "stages/optimize_internal.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_RESULTS 64

static struct safetensors_tensor results[MAX_RESULTS];
static size_t result_count;

static void *keep_bytes(const char *name, enum file_dtype dtype, struct tc_shape shape)
{
    struct safetensors_tensor *r = &results[result_count++];
    size_t count = 1;
    r->name = name;
    r->dtype = dtype;
    r->rank = shape.rank;
    for (int i = 0; i < shape.rank; i++) {
        r->dim[i] = shape.dim[i];
        count *= (size_t)shape.dim[i];
    }
    void *data = calloc(count + 1, file_dtype_size(dtype));
    r->data = data;
    return data;
}

static void keep(tc_scope *s, const char *name, tc_tensor *x)
{
    struct tc_shape shape = {.rank = tc_rank(x)};
    for (int i = 0; i < shape.rank; i++)
        shape.dim[i] = tc_size(x, i);
    tc_to_host(s, x, TC_F64, keep_bytes(name, FILE_F64, shape), (size_t)tc_numel(x) * 8);
}

/* The input of that name, numbers as they are stored. */
static tc_tensor *input(tc_scope *s, const struct tensor_file *file, const char *name)
{
    const struct tensor_entry *entry = tensor_file_find(file, name);
    struct err e = {0};
    void *data = entry ? malloc(entry->bytes) : NULL;
    tc_tensor *x = NULL;
    if (!data || !tensor_file_read(file, entry, data, &e)) {
        tc_fail(s, ERR_INPUT, "%s: %s", name, e.message);
    } else {
        struct tc_shape shape = {.rank = entry->rank};
        memcpy(shape.dim, entry->dim, sizeof shape.dim);
        x = tc_from_host(s, entry->dtype == FILE_F64 ? TC_F64 : TC_F32, shape, data);
    }
    free(data);
    return x;
}

static bool run_clip(tc_scope *root, char **paths, const struct tensor_file *inputs,
                     struct err *e)
{
    struct clip clip = {0};
    bool ok = clip_open(&clip, paths[0], NULL, e) && clip_load(&clip, root, TC_F32, e);
    if (ok) {
        tc_tensor *x = input(root, inputs, "x");
        keep(root, "embeddings", clip_vision_forward(root, clip.w, &clip.config, x));
        float *constants = keep_bytes("normalisation", FILE_F32, SHAPE(2, 3));
        memcpy(constants, clip.mean, sizeof clip.mean);
        memcpy(constants + 3, clip.deviation, sizeof clip.deviation);
        ok = tc_check(root, e);
    }
    clip_close(&clip);
    return ok;
}

static bool run_lpips(tc_scope *root, char **paths, const struct tensor_file *inputs,
                      struct err *e)
{
    static const char *const names[] = {"map/0", "map/1", "map/2", "map/3", "map/4"};
    struct perceptual p = {0};
    bool ok =
        perceptual_open(&p, paths[0], NULL, e) && perceptual_load(&p, root, TC_F32, e);
    if (ok) {
        tc_tensor *a[VGG_TAPS], *b[VGG_TAPS];
        vgg_unit_maps(root, p.vgg, &p.config, input(root, inputs, "a"), a);
        vgg_unit_maps(root, p.vgg, &p.config, input(root, inputs, "b"), b);
        for (int i = 0; i < VGG_TAPS; i++)
            keep(root, names[i], a[i]);
        keep(root, "l2", lpips_distance(root, (weights){NULL}, a, b));
        if (p.has_heads)
            keep(root, "lpips", lpips_distance(root, p.heads, a, b));
        ok = tc_check(root, e);
    }
    perceptual_close(&p);
    return ok;
}

/* A whole optimisation */

struct job {
    struct optimize_settings settings;
    int64_t until; /* epochs to run now */
    const char *save, *restore;
    bool report, count;
    int directions, threads, poison; /* poison: the epoch before which z is broken */
    int together;                    /* cases that share the parents among them */
    bool poison_kept;
    bool stops; /* each epoch is broken off once, each at another place */
    enum tc_dtype dtype;
};

static int choose(const char *value, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(value, names[i]) == 0)
            return i;
    fprintf(stderr, "optimize_driver: found %s\n", value);
    exit(ERR_USAGE);
}

#define CHOOSE(type, ...) (type) choose(value, (const char *const[]){__VA_ARGS__, NULL})

static bool set(struct job *job, const char *name, const char *value, struct err *e)
{
    struct optimize_settings *t = &job->settings;
    if (strcmp(name, "layer") == 0)
        t->layer = CHOOSE(enum layer, "preconv", "prequant", "postquant");
    else if (strcmp(name, "distance") == 0)
        t->distance = CHOOSE(enum clip_distance, "spherical", "cosine", "mse");
    else if (strcmp(name, "pairing") == 0)
        t->pairing = CHOOSE(enum crop_pairing, "aligned", "all");
    else if (strcmp(name, "perceptual") == 0)
        t->perceptual = CHOOSE(enum perceptual_kind, "lpips", "l2");
    else if (strcmp(name, "seed") == 0)
        t->seed = CHOOSE(enum optimize_seed, "noise", "gaussian", "input");
    else if (strcmp(name, "dtype") == 0)
        job->dtype =
            choose(value, (const char *const[]){"f32", "f64", NULL}) ? TC_F64 : TC_F32;
    else if (strcmp(name, "epochs") == 0)
        t->epochs = atoi(value);
    else if (strcmp(name, "until") == 0)
        job->until = atoi(value);
    else if (strcmp(name, "save") == 0)
        job->save = value;
    else if (strcmp(name, "restore") == 0)
        job->restore = value;
    else if (strcmp(name, "report") == 0)
        job->report = true;
    else if (strcmp(name, "count") == 0)
        job->count = true;
    else if (strcmp(name, "poison") == 0)
        job->poison = atoi(value);
    else if (strcmp(name, "poison_kept") == 0)
        job->poison_kept = true;
    else if (strcmp(name, "stops") == 0)
        job->stops = true;
    else if (strcmp(name, "threads") == 0)
        job->threads = atoi(value);
    else if (strcmp(name, "gradient") == 0)
        job->directions = atoi(value);
    else if (strcmp(name, "crop_batch") == 0)
        t->crop_batch = atoi(value);
    else if (strcmp(name, "random_seed") == 0)
        t->random_seed = (uint64_t)atoi(value);
    else if (strcmp(name, "together") == 0)
        job->together = atoi(value);
    else if (strcmp(name, "augment") == 0)
        t->augment = (unsigned)atoi(value);
    else if (strcmp(name, "tv_weight") == 0)
        t->tv_weight = atof(value);
    else if (strcmp(name, "average") == 0)
        t->average = atof(value);
    else if (strcmp(name, "pool") == 0)
        t->pool = atoi(value);
    else if (strcmp(name, "rate") == 0)
        t->rate = atof(value);
    else if (strcmp(name, "decay_every") == 0)
        t->decay_every = atoi(value);
    else if (strcmp(name, "clip_weight") == 0)
        t->clip_weight = atof(value);
    else if (strcmp(name, "perceptual_weight") == 0)
        t->perceptual_weight = atof(value);
    else if (strcmp(name, "crops") == 0)
        return crop_spec_parse(&t->crops, value, e);
    else if (strcmp(name, "shares") == 0)
        for (; *value; value += strcspn(value, ","), value += *value == ',')
            t->shares[t->share_count++] = atof(value);
    else
        return err_set(e, ERR_USAGE, "optimize_driver: found %s", name);
    return true;
}

static bool read_parents(const struct tensor_file *inputs, struct image *parents,
                         int *count, struct err *e)
{
    const struct tensor_entry *entry = tensor_file_find(inputs, "parents");
    uint8_t *bytes = entry ? malloc(entry->bytes) : NULL;
    if (!bytes || !tensor_file_read(inputs, entry, bytes, e))
        return err_set(e, ERR_INPUT, "parents: not there");
    *count = (int)entry->dim[0];
    size_t one = entry->bytes / (size_t)*count;
    for (int m = 0; m < *count; m++) {
        parents[m] = (struct image){(int)entry->dim[2], (int)entry->dim[1], malloc(one)};
        memcpy(parents[m].rgb, bytes + (size_t)m * one, one);
    }
    free(bytes);
    return true;
}

static void keep_windows(const struct optimize *o, int64_t epochs)
{
    const struct crops *c = &o->crops;
    int64_t *pool = keep_bytes("pool", FILE_I64, SHAPE(c->pool, 3));
    for (int g = 0; g < c->group_count; g++) {
        for (int i = c->group[g].first; i < c->group[g].first + c->group[g].pool; i++) {
            pool[3 * i] = c->top[i];
            pool[3 * i + 1] = c->left[i];
            pool[3 * i + 2] = c->group[g].side;
        }
    }
    int *windows = malloc((size_t)c->total * sizeof *windows);
    int64_t *drawn = keep_bytes("windows", FILE_I64, SHAPE(epochs, c->total));
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        crops_draw(c, o->settings.random_seed, epoch, windows);
        for (int i = 0; i < c->total; i++)
            *drawn++ = windows[i];
    }
    free(windows);
    double *shares = keep_bytes("crop_shares", FILE_F64, SHAPE(c->total));
    crops_shares(c, shares);
}

static void put_losses(double *row, const struct optimize_losses *l, int parents)
{
    row[0] = l->total;
    memcpy(row + 1, l->clip, (size_t)parents * sizeof *row);
    memcpy(row + 1 + parents, l->perceptual, (size_t)parents * sizeof *row);
}

static double seconds_on(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Floating-point operations of an epoch, from the shapes: the forward run, and as many
 * for the gradient of all but the search of the codebook. */
static bool count_operations(struct optimize *o, struct err *e)
{
    struct tc_work all = {0}, search = {0};
    struct optimize_slope slope;
    tc_tensor *gradient;
    tc_scope *s = tc_push(o->scope);
    tc_count(s, &all);
    bool ok = optimize_differentiate(s, 1, &o, &gradient, &slope) || tc_check(s, e);
    tc_count(s, &search);
    candidate_quantize(s, o, o->now.z);
    tc_count(s, NULL);
    tc_pop(s, NULL);
    *(double *)keep_bytes("operations", FILE_F64, SHAPE(1)) =
        2 * (all.convolutions + all.products) - search.convolutions - search.products;
    return ok && tc_check(o->scope, e);
}

static void stop_at_tap(tc_scope *s, const char *name, tc_tensor *x, void *user)
{
    int64_t *taps = user;
    (void)s, (void)name, (void)x;
    if ((*taps)-- == 0)
        stop_request(SIGTERM);
}

/* Begins the epoch that is due and stops within it; false where it was done all the same.
 */
static bool break_off(struct optimize *o, int64_t *taps)
{
    struct optimize_row row;
    struct err e = {0};
    int64_t epoch = optimize_epochs_done(o);
    stop_set_patience(0);
    tc_set_tap(o->scope, stop_at_tap, taps);
    bool done = optimize_epoch(o, &row, &e);
    tc_set_tap(o->scope, NULL, NULL);
    stop_request(0);
    return !done && e.code == ERR_STOPPED && optimize_epochs_done(o) == epoch;
}

static bool loop(const struct job *job, struct optimize *o, struct err *e)
{
    int width = 1 + 2 * o->parents;
    int64_t first = optimize_epochs_done(o), end = job->until;
    double *losses = keep_bytes("losses", FILE_F64, SHAPE(end - first, width));
    double *seconds = keep_bytes("seconds", FILE_F64, SHAPE(end - first, 2));
    double *rates = keep_bytes("rates", FILE_F64, SHAPE(end - first));
    for (int64_t i = first; i < end; i++) {
        double wall = seconds_on(CLOCK_MONOTONIC);
        double processor = seconds_on(CLOCK_PROCESS_CPUTIME_ID);
        struct optimize_row row;
        if (job->poison && i == job->poison)
            o->now.z = tc_scale(o->scope, o->now.z, NAN);
        if (job->poison_kept && i == job->poison)
            o->kept.z = tc_scale(o->scope, o->kept.z, NAN);
        if (job->stops && !break_off(o, &(int64_t){i}))
            return err_set(e, ERR_BUG, "epoch %lld was not broken off", (long long)i);
        if (!optimize_epoch(o, &row, e))
            return false;
        *seconds++ = seconds_on(CLOCK_MONOTONIC) - wall;
        *seconds++ = seconds_on(CLOCK_PROCESS_CPUTIME_ID) - processor;
        put_losses(losses, &row.losses, o->parents);
        losses += width;
        *rates++ = row.skipped ? 0 : row.rate;
    }
    const struct str nothing = {0};
    return (!job->count || count_operations(o, e)) &&
           (!job->save || optimize_save(o, job->save, "driver", &nothing, e));
}

static bool keep_report(struct optimize *o, struct err *e)
{
    struct optimize_report r;
    int width = 1 + 2 * o->parents;
    if (!optimize_report(o, &r, e))
        return false;
    double *rows = keep_bytes("report", FILE_F64, SHAPE(4 + o->parents, width));
    put_losses(rows, &r.latest, o->parents);
    put_losses(rows + width, &r.best, o->parents);
    put_losses(rows + 2 * width, &r.average, o->parents);
    put_losses(rows + 3 * width, &r.blend, o->parents);
    for (int m = 0; m < o->parents; m++)
        put_losses(rows + (4 + m) * width, &r.reconstruction[m], o->parents);
    return true;
}

static bool finish(struct optimize *o, const struct job *job, struct err *e)
{
    struct image picture = {0};
    if (!optimize_picture(o, OPTIMIZE_LATEST, &picture, e))
        return false;
    memcpy(keep_bytes("picture", FILE_U8, SHAPE(picture.height, picture.width, 3)),
           picture.rgb, (size_t)picture.height * (size_t)picture.width * 3);
    image_free(&picture);
    keep(o->scope, "end", o->now.z);
    keep(o->scope, "shown", state_shown(&o->now));
    return (!job->report || keep_report(o, e)) && tc_check(o->scope, e);
}

/* What goes into the codebook; behind it, the candidate itself. */
static tc_tensor *before_codebook(tc_scope *s, const struct optimize *o, tc_tensor *z)
{
    const struct vqgan *v = o->networks.vqgan;
    return o->settings.layer == PRECONV ? vqgan_quant_conv(s, v->w, &v->config, z) : z;
}

static bool surrogate(struct optimize *o, tc_tensor *z, tc_tensor *p0, tc_tensor *q0,
                      double *loss, struct err *e)
{
    double values[2 * OPTIMIZE_MAX_PARENTS + 1];
    struct optimize_losses losses;
    struct comparison c = {.count = 1, .cases = &o, .draws = {o->epoch}};
    tc_scope *s = tc_push(o->scope);
    tc_tensor *moved = tc_sub(s, before_codebook(s, o, z), p0);
    tc_tensor *x = candidate_picture(s, o, tc_add(s, q0, moved));
    struct objective part = objective_of(s, &c, x, false);
    size_t bytes = (2 * (size_t)o->parents + 1) * sizeof *values;
    bool ok = tc_to_host(s, part.values, TC_F64, values, bytes) || tc_check(s, e);
    if (ok)
        objective_total(o, values, &losses);
    *loss = losses.total;
    tc_pop(s, NULL);
    return ok;
}

static bool check_gradient(struct optimize *o, int directions, struct err *e)
{
    const double h = 1e-6;
    tc_scope *s = o->scope;
    tc_tensor *z = o->now.z, *gradient;
    struct optimize_slope slope;
    bool ok;
    tc_tensor *p0 = before_codebook(s, o, z), *q0 = candidate_quantize(s, o, z);
    keep(s, "decoded", candidate_picture(s, o, q0));
    double *slopes = keep_bytes("slopes", FILE_F64, SHAPE(directions, 2));
    ok = optimize_differentiate(s, 1, &o, &gradient, &slope) || tc_check(s, e);
    tc_rng *rng = tc_rng_new(s, 1);
    for (int i = 0; ok && i < directions; i++) {
        struct tc_shape shape = SHAPE(1, tc_size(z, 1), tc_size(z, 2), tc_size(z, 3));
        tc_tensor *d = tc_cast(s, tc_randn(s, rng, shape), o->dtype);
        tc_tensor *along = tc_reshape(s, tc_mul(s, gradient, d), SHAPE(-1));
        double above = 0, below = 0;
        ok = tc_to_host(s, tc_sum(s, along, 0), TC_F64, &slopes[2 * i], 8) &&
             surrogate(o, tc_add(s, z, tc_scale(s, d, h)), p0, q0, &above, e) &&
             surrogate(o, tc_add(s, z, tc_scale(s, d, -h)), p0, q0, &below, e);
        slopes[2 * i + 1] = (above - below) / (2 * h);
    }
    return ok && tc_check(s, e);
}

/* Several cases, computed together: each has its part of the parents and a random seed of
 * its own; the second is the one that is poisoned. Losses: [epochs,cases,1+2M] */
static bool run_together(tc_scope *root, const struct job *job,
                         const struct optimize_networks *networks, int count,
                         const struct image *parents, struct err *e)
{
    static const char *const ends[] = {"end/0", "end/1", "end/2", "end/3"};
    struct optimize *cases[4] = {NULL};
    struct optimize_row rows[4];
    int own = count / job->together;
    bool ok = job->together <= 4;
    for (int g = 0; ok && g < job->together; g++) {
        struct optimize_settings t = job->settings;
        t.random_seed += (uint64_t)g;
        cases[g] = optimize_open(root, networks, &t, own, parents + g * own,
                                 parents[0].height, parents[0].width, NULL, e);
        ok = cases[g] != NULL;
    }
    double *losses = keep_bytes("losses", FILE_F64,
                                SHAPE(job->settings.epochs, job->together, 1 + 2 * own));
    for (int64_t i = 0; ok && i < job->settings.epochs; i++) {
        if (job->poison && i == job->poison)
            cases[1]->now.z = tc_scale(cases[1]->scope, cases[1]->now.z, NAN);
        if (job->poison_kept && i == job->poison)
            cases[1]->kept.z = tc_scale(cases[1]->scope, cases[1]->kept.z, NAN);
        memset(rows, 0, sizeof rows);
        ok = optimize_epochs(job->together, cases, rows, e);
        for (int g = 0; ok && g < job->together; g++, losses += 1 + 2 * own)
            put_losses(losses, &rows[g].losses, own);
    }
    for (int g = 0; g < job->together && cases[g]; g++) {
        keep(cases[g]->scope, ends[g], cases[g]->now.z);
        optimize_close(cases[g]);
    }
    return ok && tc_check(root, e);
}

static bool run_optimize(tc_scope *root, char **paths, const struct tensor_file *inputs,
                         struct job *job, struct err *e)
{
    struct vqgan vqgan = {0};
    struct clip clip = {0};
    struct perceptual perceptual = {0};
    struct image parents[OPTIMIZE_MAX_PARENTS] = {{0}};
    struct optimize_networks networks = {&vqgan, &clip, &perceptual};
    struct optimize *o = NULL;
    struct str text = {0};
    int count = 0;
    bool found = true;
    bool ok = read_parents(inputs, parents, &count, e) &&
              vqgan_open(&vqgan, paths[0], NULL, e) &&
              clip_open(&clip, paths[1], NULL, e) &&
              perceptual_open(&perceptual, paths[2], NULL, e) &&
              vqgan_load(&vqgan, root, job->dtype, e) &&
              clip_load(&clip, root, job->dtype, e) &&
              perceptual_load(&perceptual, root, job->dtype, e);
    if (ok && job->together) {
        ok = run_together(root, job, &networks, count, parents, e);
        goto done;
    }
    if (ok)
        o = optimize_open(root, &networks, &job->settings, count, parents,
                          parents[0].height, parents[0].width, NULL, e);
    ok = o != NULL;
    if (ok && job->restore)
        ok = optimize_restore(o, job->restore, "driver", &text, &found, NULL, e);
    if (ok) {
        job->until = job->until ? job->until : job->settings.epochs;
        keep(root, "start", o->now.z);
        keep_windows(o, job->until);
        ok = job->directions ? check_gradient(o, job->directions, e)
                             : found && loop(job, o, e) && finish(o, job, e);
    }
done:
    str_free(&text);
    optimize_close(o);
    perceptual_close(&perceptual);
    clip_close(&clip);
    vqgan_close(&vqgan);
    for (int m = 0; m < count; m++)
        image_free(&parents[m]);
    return ok;
}

int main(int argc, char **argv)
{
    bool whole = argc > 1 && strcmp(argv[1], "optimize") == 0;
    int paths = whole ? 3 : 1;
    struct job job = {.settings = optimize_defaults(), .dtype = TC_F32, .threads = 1};
    struct tensor_file inputs = {0};
    struct err e = {0};
    if (argc < 4 + paths) {
        fprintf(stderr, "optimize_driver: see the head of optimize_driver.c\n");
        return ERR_USAGE;
    }
    bool ok = tensor_file_open(&inputs, argv[2 + paths], &e);
    for (int i = 4 + paths; ok && i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (value)
            *value = 0;
        ok = set(&job, argv[i], value ? value + 1 : "", &e);
    }
    struct tc_settings machine = {.device = "cpu", .threads = job.threads};
    tc_scope *root = ok ? tc_open(&machine, &e) : NULL;
    ok = root && (whole ? run_optimize(root, argv + 2, &inputs, &job, &e)
                        : (strcmp(argv[1], "clip") == 0 ? run_clip : run_lpips)(
                              root, argv + 2, &inputs, &e));
    tc_close(root);
    tensor_file_close(&inputs);
    ok = ok && safetensors_write(argv[3 + paths], results, result_count, NULL, 0, &e);
    for (size_t i = 0; i < result_count; i++)
        free((void *)(uintptr_t)results[i].data);
    if (ok)
        return tc_live_tensors() == 0 ? 0 : ERR_BUG;
    fprintf(stderr, "optimize_driver: %s\n", e.message);
    return e.code;
}
