/* resume.c: whether the run in a directory is the same as the one that is asked for, and
 * what of it is there already. Leaves reading it to former.c. */
#include "run/record_internal.h"

#include "base/str.h"
#include "io/config.h"
#include "run/compare.h"
#include "run/directory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The same run */

/* What decides the pictures, the machine apart. */
static const char *const identity[] = {"program",  "command", "options", "shard",
                                       "ensemble", "cases",   "models",  "cells"};

static bool check_same(const struct record *r, const struct json *found,
                       const struct json *now, struct err *e)
{
    struct comparison c = {.may_change = r->state->about.may_change,
                           .words = {" was ", ", now "}};
    for (size_t i = 0; i < sizeof identity / sizeof *identity; i++)
        compare_member(&c, found, now, identity[i]);
    if (c.count > 0) {
        err_set(e, ERR_INPUT, "%s: found another run there: %s", STR_SHOW(r->directory),
                str_text(&c.differences));
        const char *same = r->state->about.joins
                               ? "merge goes on with the same shards alone"
                               : "--resume takes the same options, prompts and models";
        if (c.count > COMPARE_SHOWN)
            err_hint(e, "and %d more differences; %s; --force starts over",
                     c.count - COMPARE_SHOWN, same);
        else
            err_hint(e, "%s; --force starts over", same);
    }
    str_free(&c.differences);
    return c.count == 0;
}

/* The plan as a document, as if it were read from run.json. */
static bool read_plan(const struct record_state *s, struct json_document *plan,
                      struct err *e)
{
    struct str text = {0};
    struct json_writer w = {.out = &text};
    record_write_all(s, &w);
    bool ok = text.failed ? record_no_memory(e)
                          : json_parse(plan, "plan", str_text(&text), text.size, e);
    str_free(&text);
    return ok;
}

/* All but what may change, in one text. */
static void write_identity(const struct comparison *c, const struct json *v,
                           struct json_writer *w)
{
    if (v->kind != JSON_OBJECT && v->kind != JSON_ARRAY) {
        json_write_value(w, v);
        return;
    }
    if (v->kind == JSON_OBJECT)
        json_write_open_object(w);
    else
        json_write_open_array(w);
    for (const struct json *m = v->child; m; m = m->next) {
        if (m->key && compare_is_free(c, m))
            continue;
        if (m->key)
            json_write_key(w, m->key);
        write_identity(c, m, w);
    }
    json_write_close(w);
}

bool record_identity(const struct record *r, char hex[SHA256_HEX], struct err *e)
{
    struct comparison c = {.may_change = r->state->about.may_change};
    struct json_document plan = {0};
    struct str text = {0};
    if (!read_plan(r->state, &plan, e))
        return false;
    for (size_t i = 0; i < sizeof identity / sizeof *identity; i++) {
        const struct json *member = json_get(plan.root, identity[i]);
        if (member)
            write_identity(&c, member, &(struct json_writer){.out = &text});
    }
    sha256_bytes(str_text(&text), text.size, hex);
    bool ok = !text.failed || record_no_memory(e);
    str_free(&text);
    json_free(&plan);
    return ok;
}

/* What is there */

enum found { FOUND_MISSING, FOUND_SAME, FOUND_ALTERED };

static enum found look_at(struct record_state *s, const char *file, const char *path,
                          const char *sha256, char hex[SHA256_HEX], struct err *e)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return FOUND_MISSING;
    if (!*sha256 || hash_index_knows_file(&s->index, file, path, sha256))
        return FOUND_SAME;
    if (!hash_index_file(&s->index, file, path, hex, e))
        return FOUND_ALTERED;
    return strcmp(hex, sha256) == 0 ? FOUND_SAME : FOUND_ALTERED;
}

static bool refuse_altered(const struct record *r, const char *path, const char *found,
                           const char *expected, struct err *e)
{
    err_set(e, ERR_INPUT,
            "%s: sha256: found %s, expected %s: altered since the run made it",
            STR_SHOW(path), found, expected);
    return err_hint(e, "remove the file to have it made again; --force %sstarts over",
                    r->state->about.joins ? "" : "instead of --resume ");
}

static bool take_cells(struct record *r, int *missing, struct err *e)
{
    struct record_state *s = r->state;
    for (int i = 0; i < s->cell_count; i++) {
        struct planned_cell *c = &s->cells[i];
        const struct former_cell *f = &s->former.cells[i];
        char hex[SHA256_HEX];
        if (strcmp(f->state, "done") != 0 || !*f->sha256)
            continue;
        enum found found = look_at(s, f->file, c->path, f->sha256, hex, e);
        if (found == FOUND_ALTERED)
            return e->code == ERR_OK ? refuse_altered(r, c->path, hex, f->sha256, e)
                                     : false;
        *missing += found == FOUND_MISSING;
        if (found != FOUND_SAME)
            continue;
        memcpy(c->state, "done", sizeof "done");
        memcpy(c->sha256, f->sha256, sizeof c->sha256);
        memcpy(c->pixels_sha256, f->pixels_sha256, strlen(f->pixels_sha256) + 1);
        c->seconds = f->seconds;
    }
    return true;
}

/* Hashes of the other files; *missing counts those that are not there. */
static bool take_files(struct record *r, int *missing, struct err *e)
{
    struct record_state *s = r->state;
    for (int i = 0; i < s->former.file_count; i++) {
        const struct former_file *f = &s->former.files[i];
        char hex[SHA256_HEX];
        char *path = str_path(r->directory, f->file);
        if (!path)
            return record_no_memory(e);
        enum found found = look_at(s, f->file, path, f->sha256, hex, e);
        bool ok = found != FOUND_ALTERED || e->code != ERR_OK ||
                  refuse_altered(r, path, hex, f->sha256, e);
        free(path);
        if (!ok || e->code != ERR_OK)
            return false;
        *missing += found == FOUND_MISSING;
        struct planned_file *planned = record_find_file(s, f->file);
        if (*f->sha256 && found == FOUND_SAME && planned)
            memcpy(planned->sha256, f->sha256, sizeof planned->sha256);
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Files that the run found but does not plan yet. */
static bool keep_files(struct record_state *s, struct err *e)
{
    size_t count = 0, all = (size_t)s->cell_count + (size_t)s->file_count;
    const char **planned = calloc(all + 1, sizeof *planned);
    s->kept = calloc((size_t)s->former.file_count + 1, sizeof *s->kept);
    if (!planned || !s->kept) {
        free(planned);
        return record_no_memory(e);
    }
    for (int i = 0; i < s->cell_count; i++)
        planned[count++] = s->cells[i].is.file;
    for (int i = 0; i < s->file_count; i++)
        planned[count++] = s->files[i].file;
    qsort(planned, count, sizeof *planned, by_text);
    for (int i = 0; i < s->former.file_count; i++) {
        const char *file = s->former.files[i].file;
        if (!bsearch(&file, planned, count, sizeof *planned, by_text))
            s->kept[s->kept_count++] = file;
    }
    free(planned);
    return true;
}

static bool take_outcomes(struct record_state *s, struct err *e)
{
    const struct former_run *f = &s->former;
    s->outcomes = calloc((size_t)s->case_count + 1, sizeof *s->outcomes);
    bool ok = s->outcomes || record_no_memory(e);
    for (int64_t n = 0; ok && n < s->case_count; n++) {
        struct str json = {0};
        struct json_writer w = {.out = &json};
        if (!f->outcomes[n])
            continue;
        json_write_value(&w, f->outcomes[n]);
        ok = record_take_json(&s->outcomes[n], &json, e);
    }
    return ok;
}

/* Stands until record_set_machine() says where the rest is made. */
static bool take_machine(struct record *r, struct err *e)
{
    const struct json *found = r->state->former.record.root;
    const char *device = NULL, *dtype = NULL;
    int64_t threads = 0;
    return config_may_string(found, "device", &device, e) &&
           config_may_string(found, "dtype", &dtype, e) &&
           config_may_int(found, "threads", 0, INT32_MAX, &threads, e) &&
           record_set_machine(r, device, dtype, (int)threads, e);
}

static void take_weights(struct record_state *s)
{
    for (int i = 0; i < s->network_count; i++)
        for (int k = 0; k < s->networks[i].file_count; k++) {
            const char *hash = former_run_weights(&s->former, i, k);
            memcpy(s->networks[i].files[k].sha256, hash, strlen(hash) + 1);
        }
}

static bool all_done(const struct record_state *s)
{
    for (int i = 0; i < s->cell_count; i++)
        if (strcmp(s->cells[i].state, "done") != 0)
            return false;
    return true;
}

/* An animation may be asked for once the rest is made. */
static bool all_listed(const struct record_state *s)
{
    for (int i = 0; i < s->file_count; i++)
        if (!former_run_file(&s->former, s->files[i].file))
            return false;
    return true;
}

static void say_missing(const struct record *r, int missing,
                        const struct progress *progress)
{
    if (r->state->former.dropped > 0)
        progress_note(progress, NOTE_WARNING,
                      "%s/" RUN_JOURNAL ": %d damaged lines left out",
                      STR_SHOW(r->directory), r->state->former.dropped);
    if (missing > 0)
        progress_note(progress, NOTE_WARNING,
                      "%s: %d files that were finished are gone: making them again",
                      STR_SHOW(r->directory), missing);
}

bool record_resume(struct record *r, bool *complete, const struct progress *progress,
                   struct err *e)
{
    struct record_state *s = r->state;
    struct json_document plan = {0};
    int missing_cells = 0, missing_files = 0;
    *complete = false;
    if (!former_run_open(&s->former, r->directory, e))
        return false;
    s->resumed = s->former.state != NULL;
    if (!s->resumed)
        return true;
    hash_index_open(&s->index, r->directory);
    bool ok = read_plan(s, &plan, e) &&
              check_same(r, s->former.record.root, plan.root, e) &&
              take_cells(r, &missing_cells, e) && take_files(r, &missing_files, e) &&
              keep_files(s, e) && take_outcomes(s, e) && take_machine(r, e);
    json_free(&plan);
    if (!ok)
        return false;
    take_weights(s);
    *complete = strcmp(s->former.state, "complete") == 0 && all_done(s) &&
                all_listed(s) && missing_files == 0;
    say_missing(r, missing_cells, progress);
    if (*complete)
        s->state = "complete";
    return true;
}

bool record_is_resumed(const struct record *r)
{
    return r->state->resumed;
}

/* The same machine, the same weights */

static void note_change(struct str *changes, const struct json *found, const char *key,
                        const char *now)
{
    const struct json *was = json_get(found, key);
    if (!was || was->kind != JSON_STRING || !now || strcmp(was->text, now) == 0)
        return;
    str_addf(changes, "%s%s was %s, now %s", changes->size ? "; " : "", key,
             STR_SHOW(was->text), now);
}

bool record_check_machine(const struct record *r, const struct progress *progress,
                          struct err *e)
{
    const struct record_state *s = r->state;
    struct str changes = {0};
    if (!s->resumed)
        return true;
    const struct json *found = s->former.record.root;
    note_change(&changes, found, "version", DIFFENS_VERSION);
    note_change(&changes, found, "libtorch", s->about.libtorch);
    note_change(&changes, found, "device", s->device);
    note_change(&changes, found, "dtype", s->dtype);
    bool ok = !changes.size || !s->about.options->deterministic;
    if (!ok)
        err_set(e, ERR_INPUT,
                "%s: found a run of another machine, expected the same "
                "with --deterministic: %s",
                STR_SHOW(r->directory), str_text(&changes));
    else if (changes.size)
        progress_note(progress, NOTE_WARNING, "%s: bits may differ: %s",
                      STR_SHOW(r->directory), str_text(&changes));
    str_free(&changes);
    return ok;
}

void record_keep_network(struct record *r, int network)
{
    r->state->networks[network].kept = true;
}

bool record_check_weights(struct record_state *s, struct err *e)
{
    char hex[SHA256_HEX];
    if (!weight_hashes_wait(s->hashes, e))
        return false;
    for (int i = 0; i < s->network_count; i++) {
        for (int k = 0; k < s->networks[i].file_count; k++) {
            const struct weight_file *f = &s->networks[i].files[k];
            if (f->number < 0 || !f->sha256[0] ||
                !weight_hashes_get(s->hashes, f->number, hex) ||
                strcmp(hex, f->sha256) == 0)
                continue;
            err_set(e, ERR_INPUT,
                    "%s: sha256: found %s, expected %s: not the weights that the run "
                    "began with",
                    STR_SHOW(f->path), hex, f->sha256);
            return err_hint(e, "--force instead of --resume starts over");
        }
    }
    return true;
}
