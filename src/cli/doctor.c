/* doctor.c: `diffens doctor`: what this machine has, what is missing, and the command
 * that helps. Leaves the models to src/survey. */
#include "cli/commands.h"

#include "base/str.h"
#include "cli/help.h"
#include "cli/machine.h"
#include "cli/models.h"
#include "cli/table.h"
#include "diffens/tc.h"
#include "diffens/tc_machine.h"

#include <stdio.h>
#include <string.h>

#define DEVICES_MAX 16
#define ENSEMBLES_MAX 64

/* A device that `--device` takes. */
struct device {
    char name[32];
    struct tc_memory memory;
    char failure[200]; /* why it cannot be used; "" where it can */
};

struct ensemble_state {
    char name[64];
    bool whole;
    uint64_t bytes;
    char problem[400]; /* the first */
};

struct findings {
    struct machine machine;
    int threads;
    const char *accelerator; /* that libtorch was built for, or NULL */
    int accelerator_count;
    struct device devices[DEVICES_MAX];
    int device_count;
    struct ensemble_state ensembles[ENSEMBLES_MAX];
    int ensemble_count;
};

static void look_at_device(struct findings *f, const char *name)
{
    struct device *d = &f->devices[f->device_count++];
    struct err failure = {0};
    snprintf(d->name, sizeof d->name, "%s", name);
    tc_scope *root = tc_open(&(struct tc_settings){.device = name}, &failure);
    if (root)
        d->memory = tc_memory_stats(root);
    else
        snprintf(d->failure, sizeof d->failure, "%.190s", failure.message);
    tc_close(root);
}

static void look_at_devices(struct findings *f)
{
    look_at_device(f, "cpu");
    f->threads = tc_threads();
    f->accelerator = tc_accelerator(&f->accelerator_count);
    for (int i = 0; i < f->accelerator_count && f->device_count < DEVICES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s:%d", f->accelerator, i);
        look_at_device(f, name);
    }
}

static bool look_at_ensemble(struct findings *f, const char *file, struct err *e)
{
    struct ensemble_state *state = &f->ensembles[f->ensemble_count++];
    struct survey s = {0};
    struct err failure = {0};
    if (!survey_ensemble(&s, file, &failure)) {
        snprintf(state->name, sizeof state->name, "?");
        snprintf(state->problem, sizeof state->problem, "%.390s", failure.message);
        return failure.code == ERR_INPUT || err_from(e, &failure, NULL);
    }
    snprintf(state->name, sizeof state->name, "%s", s.ensemble.name);
    state->whole = survey_is_whole(&s);
    state->bytes = s.bytes;
    int length = (int)strcspn(str_text(&s.problems), "\n");
    snprintf(state->problem, sizeof state->problem, "%.*s", length,
             str_text(&s.problems));
    survey_close(&s);
    return true;
}

static bool look(struct findings *f, struct err *e)
{
    struct ensemble_files files = {0};
    machine_look(&f->machine);
    look_at_devices(f);
    bool ok = ensemble_list(&files, e);
    for (int i = 0; ok && i < files.count && i < ENSEMBLES_MAX; i++)
        ok = look_at_ensemble(f, files.path[i], e);
    ensemble_files_free(&files);
    return ok;
}

/* The first ensemble that can be used, or NULL. */
static const struct ensemble_state *usable(const struct findings *f)
{
    for (int i = 0; i < f->ensemble_count; i++)
        if (f->ensembles[i].whole)
            return &f->ensembles[i];
    return NULL;
}

static int devices_usable(const struct findings *f)
{
    int count = 0;
    for (int i = 0; i < f->device_count; i++)
        count += !f->devices[i].failure[0];
    return count;
}

/* "no accelerator: ..." or "" */
static void describe_accelerator(const struct findings *f, char *out, size_t size)
{
    if (f->accelerator_count > 0)
        out[0] = '\0';
    else if (f->accelerator)
        snprintf(out, size,
                 "none: this libtorch is built for %s and finds no %s device%s%s; "
                 "everything runs on the CPU",
                 f->accelerator, f->accelerator, tc_warning()[0] ? ": " : "",
                 tc_warning());
    else
        snprintf(out, size,
                 "none: this libtorch is built for the CPU alone; everything runs there");
}

/* Text */

static void row(struct table *t, const char *what, const char *text)
{
    table_cell(t, "%s", what);
    table_cell(t, "%s", text);
}

static void describe_device(const struct device *d, char *out, size_t size)
{
    if (d->failure[0])
        snprintf(out, size, "%s: cannot be used: %s", d->name, d->failure);
    else if (d->memory.total < 0)
        snprintf(out, size, "%s: memory unknown", d->name);
    else
        snprintf(out, size, "%s: %.1f of %.1f GB free", d->name,
                 (double)d->memory.free / 1e9, (double)d->memory.total / 1e9);
}

static void add_machine(struct table *t, const struct findings *f)
{
    const struct machine *m = &f->machine;
    char text[320];
    snprintf(text, sizeof text, "%s (libtorch %s)", DIFFENS_VERSION, tc_version());
    row(t, "diffens", text);
    snprintf(text, sizeof text, "%s; %d processors, %d threads", m->processor,
             m->processors, f->threads);
    row(t, "processor", text);
    snprintf(text, sizeof text, "libtorch uses %s; the processor has %s",
             tc_cpu_capability(), m->features[0] ? m->features : "none of those known");
    row(t, "instructions", text);
    for (int i = 0; i < f->device_count; i++) {
        describe_device(&f->devices[i], text, sizeof text);
        row(t, i ? "" : "devices", text);
    }
    describe_accelerator(f, text, sizeof text);
    if (text[0])
        row(t, "accelerator", text);
    if (m->disk_free < 0)
        snprintf(text, sizeof text, "unknown");
    else
        snprintf(text, sizeof text, "%.1f GB free in %s", (double)m->disk_free / 1e9,
                 STR_SHOW(m->folder));
    row(t, "disk", text);
    row(t, "ffmpeg", m->ffmpeg ? "found" : "not found: no animations");
    row(t, "locale", m->locale);
}

static void add_ensembles(struct table *t, const struct findings *f)
{
    char size[32];
    for (int i = 0; i < f->ensemble_count; i++) {
        const struct ensemble_state *state = &f->ensembles[i];
        table_cell(t, "%s", i ? "" : "ensembles");
        if (state->whole)
            table_cell(t, "%s: complete, %s", state->name,
                       table_megabytes(size, (double)state->bytes));
        else
            table_cell(t, "%s: incomplete: %s", state->name, state->problem);
    }
}

/* What to do about what is missing. */
static void add_advice(struct str *out, const struct findings *f)
{
    for (int i = 0; i < f->ensemble_count; i++) {
        const struct ensemble_state *state = &f->ensembles[i];
        if (!state->whole && strcmp(state->name, "paper") == 0)
            str_add(out, "paper: scripts/fetch-models paper fetches its weights\n");
        else if (!state->whole)
            str_addf(out, "%s: diffens models check %s says what is wrong\n", state->name,
                     state->name);
    }
    if (f->ensemble_count == 0)
        str_add(out, "no ensemble: set DIFFENS_MODELS to a folder with NAME/ensemble.json"
                     "\n");
    if (f->accelerator_count == 0)
        str_add(out, "to use a GPU: build with LIBTORCH set to libtorch's CUDA build "
                     "(README), on a machine with its driver\n");
    const struct ensemble_state *ready = usable(f);
    if (ready)
        str_addf(out, "ready: diffens blend --ensemble %s --gamma 0:1:5\n", ready->name);
}

static void write_text(const struct findings *f, struct str *out)
{
    struct table t = {.align = "ll"};
    add_machine(&t, f);
    add_ensembles(&t, f);
    table_end(&t, out);
    str_add(out, "\n");
    add_advice(out, f);
}

/* JSON */

static void write_devices(struct json_writer *w, const struct findings *f)
{
    json_write_key(w, "devices");
    json_write_open_array(w);
    for (int i = 0; i < f->device_count; i++) {
        const struct device *d = &f->devices[i];
        json_write_open_object(w);
        json_member_text(w, "name", d->name);
        json_member_bool(w, "usable", !d->failure[0]);
        if (d->failure[0])
            json_member_text(w, "problem", d->failure);
        json_member_int(w, "memory_free", d->failure[0] ? -1 : d->memory.free);
        json_member_int(w, "memory_total", d->failure[0] ? -1 : d->memory.total);
        json_write_close(w);
    }
    json_write_close(w);
}

static void write_ensembles(struct json_writer *w, const struct findings *f)
{
    json_write_key(w, "ensembles");
    json_write_open_array(w);
    for (int i = 0; i < f->ensemble_count; i++) {
        const struct ensemble_state *state = &f->ensembles[i];
        json_write_open_object(w);
        json_member_text(w, "name", state->name);
        json_member_bool(w, "complete", state->whole);
        json_member_int(w, "bytes", (int64_t)state->bytes);
        if (!state->whole)
            json_member_text(w, "problem", state->problem);
        json_write_close(w);
    }
    json_write_close(w);
}

static void write_json(const struct findings *f, struct str *out)
{
    struct json_writer w = {.out = out, .indent = 2};
    json_write_open_object(&w);
    json_member_text(&w, "version", DIFFENS_VERSION);
    json_member_text(&w, "libtorch", tc_version());
    json_member_text(&w, "processor", f->machine.processor);
    json_member_text(&w, "cpu_features", f->machine.features);
    json_member_text(&w, "libtorch_cpu", tc_cpu_capability());
    json_member_int(&w, "processors", f->machine.processors);
    json_member_int(&w, "threads", f->threads);
    json_member_text(&w, "built_for", f->accelerator ? f->accelerator : "cpu");
    json_member_int(&w, "accelerators", f->accelerator_count);
    write_devices(&w, f);
    write_ensembles(&w, f);
    json_member_int(&w, "disk_free", f->machine.disk_free);
    json_member_bool(&w, "ffmpeg", f->machine.ffmpeg);
    json_member_text(&w, "locale", f->machine.locale);
    json_member_bool(&w, "ready", usable(f) && devices_usable(f) > 0);
    json_write_close(&w);
    str_add(out, "\n");
}

static bool judge(const struct findings *f, struct err *e)
{
    if (devices_usable(f) == 0)
        return err_set(e, ERR_DEVICE, "doctor: found no device that can be used");
    return usable(f) ||
           err_set(e, ERR_INPUT, "doctor: found no complete ensemble, expected one");
}

bool command_doctor(const struct options *o, struct err *e)
{
    struct findings f = {0};
    struct str out = {0};
    bool ok = look(&f, e);
    if (ok && o->json)
        write_json(&f, &out);
    else if (ok)
        write_text(&f, &out);
    ok = ok && help_print(&out, e) && judge(&f, e);
    str_free(&out);
    return ok;
}
