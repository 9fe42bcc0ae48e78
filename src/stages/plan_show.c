/* plan_show.c: the plan of a run in words: networks, pictures, work, space. Leaves making
 * the plan to plan.c. */
#include "stages/plan_show.h"

#include "io/json_write.h"
#include "models/ensemble.h"
#include "run/record.h"
#include "stages/plan_work.h"

#include <string.h>
#include <sys/statvfs.h>

#define MAX_LOADS (OPTIONS_MAX_MODELS + 3)

/* A network family that is on the device at one time. */
struct load {
    const char *role, *name;
    uint64_t file_bytes;
    uint64_t weights;    /* numbers in it */
    uint64_t beforehand; /* of them those that have left when the others come */
};

struct sums {
    int load_count;
    struct load loads[MAX_LOADS];
    int64_t reused; /* pictures that a run before this one has made */
    int64_t drawn;  /* parents that are drawn, not brought */
    int64_t unet_runs, outer_runs, epochs;
    uint64_t disk, disk_free;       /* bytes; the latter 0 where it cannot be told */
    uint64_t weights_bytes;         /* of the largest load, as it will be on the device */
    uint64_t draw_bytes, mix_bytes; /* beside weights: of a picture, of a case */
    double operations;              /* floating-point ones */
    double seconds;                 /* of computing; below 0 where it was not measured */
};

static void add_file(struct load *load, const struct network *n)
{
    for (int i = 0; i < n->file.part_count; i++)
        load->file_bytes += n->file.parts[i].size;
    for (size_t i = 0; i < n->file.count; i++)
        load->weights +=
            n->file.entries[i].bytes / file_dtype_size(n->file.entries[i].dtype);
}

static struct load *add_load(struct sums *s, const char *role, const char *name)
{
    struct load *load = &s->loads[s->load_count++];
    *load = (struct load){.role = role, .name = name};
    return load;
}

static void add_loads(struct sums *s, const struct plan *p)
{
    for (int m = 0; p->diffusers && m < p->models; m++) {
        if (plan_model_is_done(p, m))
            continue;
        struct load *load = add_load(s, "diffuser", p->model_names[m]);
        add_file(load, &p->diffusers[m].text_network);
        load->beforehand = load->weights;
        add_file(load, &p->diffusers[m].unet_network);
        add_file(load, &p->diffusers[m].vae_network);
        if (p->diffusers[m].single_file) /* which was counted for each network */
            load->file_bytes = p->diffusers[m].unet_network.file.parts[0].size;
    }
    if (p->results == 0 || plan_results_are_done(p))
        return;
    add_file(add_load(s, "vqgan", "vqgan"), &p->vqgan.network);
    if (p->run->options->command != COMMAND_OPTIMIZE)
        return;
    add_file(add_load(s, "clip", "clip"), &p->clip.network);
    struct load *perceptual = add_load(s, "perceptual", "perceptual");
    add_file(perceptual, &p->perceptual.vgg_network);
    add_file(perceptual, &p->perceptual.heads_network);
}

/* The folder, or the one that it will be made in. */
static uint64_t free_bytes(const char *directory)
{
    struct statvfs disk;
    bool ok = statvfs(directory, &disk) == 0 || statvfs(".", &disk) == 0;
    return ok ? (uint64_t)disk.f_bavail * disk.f_frsize : 0;
}

static bool is_half(enum dtype_mode dtype)
{
    return dtype == DTYPE_FP16 || dtype == DTYPE_BF16;
}

/* The largest load: a diffuser, or what mixes, which is loaded together. */
static uint64_t largest_weights(const struct sums *s, enum dtype_mode dtype)
{
    uint64_t size = is_half(dtype) ? 2 : 4;
    uint64_t largest = 0, mixing = 0;
    for (int i = 0; i < s->load_count; i++) {
        uint64_t bytes = size * (s->loads[i].weights - s->loads[i].beforehand);
        if (strcmp(s->loads[i].role, "diffuser") != 0)
            mixing += 4 * s->loads[i].weights;
        else if (bytes > largest)
            largest = bytes;
    }
    return mixing > largest ? mixing : largest;
}

static double operations_of(const struct tc_work *w)
{
    return w->convolutions + w->products;
}

static bool estimate(struct sums *s, const struct plan *p, struct err *e)
{
    const struct options *o = p->run->options;
    struct plan_work work;
    s->seconds = -1;
    if (!plan_count_work(p, &work, e) ||
        (o->measure && !plan_measure(p, &work, &s->seconds, e)))
        return false;
    s->unet_runs = work.unet_runs;
    s->outer_runs = work.outer_runs;
    s->operations = operations_of(&work.draw) + operations_of(&work.mix);
    s->draw_bytes = (uint64_t)work.draw.peak / (is_half(o->dtype) ? 2 : 1);
    s->mix_bytes = (uint64_t)work.mix.peak;
    return true;
}

static struct sums sum_up(const struct plan *p)
{
    const struct options *o = p->run->options;
    struct sums s = {.reused = plan_cells_done(p)};
    add_loads(&s, p);
    for (int64_t n = 0; n < p->cases; n++) {
        for (int m = 0; p->diffusers && m < p->models; m++)
            s.drawn += !record_cell_is_done(p->run->record, plan_parent_cell(p, n, m));
        if (o->command == COMMAND_OPTIMIZE && !plan_case_is_done(p, n))
            s.epochs += o->optimize.epochs;
    }
    s.disk = plan_bytes_to_write(p);
    s.disk_free = free_bytes(p->run->record->directory);
    s.weights_bytes = largest_weights(&s, o->dtype);
    return s;
}

/* As text */

static void add_bytes(struct str *out, uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double size = (double)bytes;
    int unit = 0;
    for (; size >= 1000 && unit < 4; unit++)
        size /= 1000;
    str_addf(out, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

/* "12.3 Tflop", "1.5 min" */
static void add_time(struct str *out, const struct sums *s)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P", " E"};
    double count = s->operations, seconds = s->seconds;
    int unit = 0;
    for (; count >= 1000 && unit < 6; unit++)
        count /= 1000;
    if (s->operations == 0)
        return;
    str_addf(out, "           %.3g%sflop: ", count, units[unit]);
    if (seconds < 0)
        str_add(out, "--measure tells how long they take here\n");
    else if (seconds < 100)
        str_addf(out, "about %.2g s of computing on this machine\n", seconds);
    else if (seconds < 6000)
        str_addf(out, "about %.2g min of computing on this machine\n", seconds / 60);
    else
        str_addf(out, "about %.2g h of computing on this machine\n", seconds / 3600);
}

static void add_work(struct str *out, const struct plan *p, const struct sums *s)
{
    if (s->drawn > 0)
        str_addf(out, "work       %lld pictures drawn in %d steps: %lld runs of a UNet\n",
                 (long long)s->drawn, p->run->options->steps, (long long)s->unet_runs);
    if (s->outer_runs > 0)
        str_addf(out, "           %lld runs of its outermost layers alone\n",
                 (long long)s->outer_runs);
    if (s->epochs > 0)
        str_addf(out, "%s%lld epochs of the optimiser\n",
                 s->drawn > 0 ? "           " : "work       ", (long long)s->epochs);
    add_time(out, s);
}

static void add_count(struct str *out, int64_t count, const char *what)
{
    str_addf(out, "%lld %s%s", (long long)count, what, count == 1 ? "" : "s");
}

/* "           1 case x 3 models: 3 pictures of 128 x 128" */
static void add_row(struct str *out, const char *head, const struct plan *p, int each,
                    const char *of, int64_t height, int64_t width)
{
    str_addf(out, "%-11s", head);
    add_count(out, p->cases, "case");
    str_add(out, " x ");
    add_count(out, each, of);
    str_add(out, ": ");
    add_count(out, p->cases * each, "picture");
    str_addf(out, " of %lld x %lld\n", (long long)height, (long long)width);
}

static void add_pictures(struct str *out, const struct plan *p, const struct sums *s)
{
    add_row(out, "makes", p, p->models, "model", p->height, p->width);
    if (p->results > 0)
        add_row(out, "", p, p->results, "result", p->vq_height, p->vq_width);
    if (s->reused > 0)
        str_addf(out, "           %lld of them are there already\n",
                 (long long)s->reused);
}

static void add_files(struct str *out, const struct plan *p)
{
    const struct record *r = p->run->record;
    size_t folder = strlen(r->directory) + 1;
    char name[256];
    int last = plan_cell_count(p) - 1;
    str_addf(out, "files      %s ...\n", STR_SHOW(record_cell_path(r, 0) + folder));
    if (last > 0)
        str_addf(out, "           %s\n", STR_SHOW(record_cell_path(r, last) + folder));
    if (p->run->options->command == COMMAND_OPTIMIZE)
        str_addf(out, "           %s ...\n",
                 STR_SHOW(plan_losses_file(p, 0, name, sizeof name)));
    if (plan_animations(p) > 0)
        str_addf(out, "           %s ...\n",
                 STR_SHOW(plan_animation_file(p, 0, 0, name, sizeof name)));
    str_add(out, "           images.npy, figure.png, report.html, run.json\n");
}

static void add_peak(struct str *out, uint64_t bytes, const char *what)
{
    if (bytes == 0)
        return;
    str_add(out, "\n           and about ");
    add_bytes(out, bytes);
    str_addf(out, " for a %s", what);
}

static void add_text(struct str *out, const struct plan *p, const struct sums *s)
{
    const struct record *r = p->run->record;
    str_addf(out, "directory  %s\n", STR_SHOW(r->directory));
    if (s->load_count == 0)
        str_add(out, "loads      nothing\n");
    for (int i = 0; i < s->load_count; i++) {
        const struct load *load = &s->loads[i];
        bool named = strcmp(load->role, load->name) != 0;
        str_addf(out, "%s%s%s%s, ", i ? "           " : "loads      ", load->role,
                 named ? " " : "", named ? STR_SHOW(load->name) : "");
        add_bytes(out, load->file_bytes);
        str_add(out, "\n");
    }
    add_pictures(out, p, s);
    add_files(out, p);
    add_work(out, p, s);
    str_add(out, "disk       at most ");
    add_bytes(out, s->disk);
    if (s->disk_free > 0) {
        str_add(out, "; ");
        add_bytes(out, s->disk_free);
        str_add(out, " free");
    }
    str_add(out, "\nmemory     ");
    add_bytes(out, s->weights_bytes);
    str_add(out, " of weights at a time");
    add_peak(out, s->draw_bytes, "picture that is drawn");
    add_peak(out, s->mix_bytes,
             p->run->options->command == COMMAND_OPTIMIZE ? "case that is optimised"
                                                          : "picture that is mixed");
    str_add(out, "\n");
}

/* As an object */

static void write_pictures(struct json_writer *w, const char *key, int64_t count,
                           int64_t height, int64_t width)
{
    json_write_key(w, key);
    json_write_open_object(w);
    json_member_uint(w, "count", (uint64_t)count);
    json_member_uint(w, "height", (uint64_t)height);
    json_member_uint(w, "width", (uint64_t)width);
    json_write_close(w);
}

static void write_loads(struct json_writer *w, const struct sums *s)
{
    json_write_key(w, "loads");
    json_write_open_array(w);
    for (int i = 0; i < s->load_count; i++) {
        json_write_open_object(w);
        json_member_text(w, "role", s->loads[i].role);
        json_member_text(w, "name", s->loads[i].name);
        json_member_uint(w, "file_bytes", s->loads[i].file_bytes);
        json_member_uint(w, "parameters", s->loads[i].weights);
        json_write_close(w);
    }
    json_write_close(w);
}

static void add_json(struct str *out, const struct plan *p, const struct sums *s)
{
    struct json_writer w = {.out = out};
    const struct record *r = p->run->record;
    json_write_open_object(&w);
    json_member_text(&w, "directory", r->directory);
    write_loads(&w, s);
    json_member_uint(&w, "cases", (uint64_t)p->cases);
    write_pictures(&w, "parents", p->cases * p->models, p->height, p->width);
    write_pictures(&w, "results", p->cases * p->results, p->vq_height, p->vq_width);
    json_write_key(&w, "pictures");
    json_write_open_array(&w);
    for (int cell = 0; cell < plan_cell_count(p); cell++)
        json_write_string(&w, record_cell_path(r, cell));
    json_write_close(&w);
    json_member_uint(&w, "reused", (uint64_t)s->reused);
    json_member_uint(&w, "unet_runs", (uint64_t)s->unet_runs);
    json_member_uint(&w, "unet_outer_runs", (uint64_t)s->outer_runs);
    json_member_uint(&w, "epochs", (uint64_t)s->epochs);
    json_member_uint(&w, "disk_bytes", s->disk);
    json_member_uint(&w, "weights_bytes", s->weights_bytes);
    json_member_uint(&w, "draw_bytes", s->draw_bytes);
    json_member_uint(&w, "mix_bytes", s->mix_bytes);
    json_member_double(&w, "operations", s->operations);
    json_write_key(&w, "seconds");
    if (s->seconds < 0)
        json_write_null(&w);
    else
        json_write_double(&w, s->seconds);
    json_write_close(&w);
    str_add(out, "\n");
}

bool plan_show(const struct run *run, struct str *out, struct err *e)
{
    struct plan p = {0};
    bool complete, ok = plan_make(&p, run, e) &&
                        (!run->options->resume ||
                         record_resume(run->record, &complete, run->progress, e)) &&
                        plan_check_disk(&p, e);
    if (ok) {
        struct sums s = sum_up(&p);
        ok = estimate(&s, &p, e);
        if (ok && run->options->json)
            add_json(out, &p, &s);
        else if (ok)
            add_text(out, &p, &s);
    }
    plan_close(&p);
    return ok && (!out->failed || err_set(e, ERR_MEMORY, "--dry-run: out of memory"));
}
