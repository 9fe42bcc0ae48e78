/* record.c: keeps account of what happens in a run. Leaves what it consists of to
 * record_plan.c, the shape of the JSON to record_write.c. */
#include "run/record.h"

#include "base/str.h"
#include "io/publish.h"
#include "run/directory.h"
#include "run/figure.h"
#include "run/record_internal.h"
#include "run/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files */

bool record_note_file(struct record_state *s, const struct planned_file *f, struct err *e)
{
    struct str line = {0};
    struct json_writer w = {.out = &line};
    json_write_open_object(&w);
    json_member_text(&w, "file", f->file);
    if (f->sha256[0])
        json_member_text(&w, "sha256", f->sha256);
    json_write_close(&w);
    bool ok = (!line.failed || record_no_memory(e)) &&
              journal_add(&s->journal, str_text(&line), e);
    str_free(&line);
    return ok;
}

/* Records inside pictures */

int record_cell_texts(struct record *r, int cell, const struct image_text **texts,
                      struct err *e)
{
    struct record_state *s = r->state;
    struct json_writer w = {.out = &s->json};
    str_clear(&s->json);
    str_clear(&s->parameters);
    record_write_cell(s, &s->cells[cell].is, &w);
    record_write_parameters(s, &s->cells[cell].is, &s->parameters);
    if (s->json.failed || s->parameters.failed)
        return record_no_memory(e);
    s->texts[0] = (struct image_text){"diffens", str_text(&s->json)};
    s->texts[1] = (struct image_text){"parameters", str_text(&s->parameters)};
    *texts = s->texts;
    return s->parameters.size ? 2 : 1;
}

int record_figure_texts(struct record *r, const struct image_text **texts, struct err *e)
{
    struct record_state *s = r->state;
    struct json_writer w = {.out = &s->json};
    str_clear(&s->json);
    record_write_figure(s, &w);
    if (s->json.failed)
        return record_no_memory(e);
    s->texts[0] = (struct image_text){"diffens", str_text(&s->json)};
    *texts = s->texts;
    return 1;
}

/* run.json */

static bool publish(struct record *r, struct err *e)
{
    struct str json = {0};
    struct json_writer w = {.out = &json, .indent = 1};
    record_write_all(r->state, &w);
    str_add(&json, "\n");
    char *path = str_path(r->directory, RUN_RECORD);
    bool ok = path && !json.failed ? publish_bytes(path, str_text(&json), json.size, e)
                                   : record_no_memory(e);
    free(path);
    str_free(&json);
    return ok;
}

static int by_file(const void *a, const void *b)
{
    const struct planned_cell *const *p = a, *const *q = b;
    return strcmp((*p)->is.file, (*q)->is.file);
}

/* Case "a_b" of model "c" and case "a" of model "b_c" would share a file. */
static bool check_different(const struct record_state *s, struct err *e)
{
    const struct planned_cell **order = calloc((size_t)s->cell_count + 1, sizeof *order);
    if (!order)
        return record_no_memory(e);
    for (int i = 0; i < s->cell_count; i++)
        order[i] = &s->cells[i];
    qsort(order, (size_t)s->cell_count, sizeof *order, by_file);
    bool ok = true;
    for (int i = 1; ok && i < s->cell_count; i++)
        if (by_file(&order[i - 1], &order[i]) == 0)
            ok = err_set(
                e, ERR_INPUT,
                "found two pictures with the name %s, expected names of cases and "
                "models, and mixtures, that tell them apart",
                STR_SHOW(order[i]->is.file));
    free(order);
    return ok;
}

/* What every run ends with and is planned only then: found now and not after hours. */
static bool claim_pages(const struct record *r, const struct former_run *former,
                        struct err *e)
{
    char figure[32], report[32];
    const char *const names[] = {figure_page_name(0, figure),
                                 report_page_name(0, report)};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof names / sizeof *names; i++) {
        char *path = str_path(r->directory, names[i]);
        ok = path ? record_claim(r, former, names[i], path, e) : record_no_memory(e);
        free(path);
    }
    return ok;
}

static bool claim_all(const struct record *r, const struct former_run *former,
                      struct err *e)
{
    const struct record_state *s = r->state;
    if (!claim_pages(r, former, e))
        return false;
    for (int i = 0; i < s->file_count; i++)
        if (!record_claim(r, former, s->files[i].file, s->files[i].path, e))
            return false;
    for (int i = 0; i < s->cell_count; i++)
        if (!record_claim(r, former, s->cells[i].is.file, s->cells[i].path, e))
            return false;
    return true;
}

/* A new run: what a former one has made is removed. Folders that the removal leaves empty
 * are gone: the second claim makes them anew. */
static bool clear_former(struct record *r, struct err *e)
{
    struct former_run former = {0};
    if (!former_run_open(&former, r->directory, e))
        return e->code == ERR_INPUT
                   ? err_hint(e, "what it lists cannot be removed; remove the directory, "
                                 "or give another one")
                   : false;
    bool ok = claim_all(r, &former, e) && former_run_remove(&former, r->directory, e) &&
              claim_all(r, &r->state->former, e);
    former_run_close(&former);
    return ok;
}

/* Temporaries of a run that was killed. */
static bool remove_stale(const struct record *r, struct err *e)
{
    static const char *const folders[] = {"", "images", "blend", "optimize",
                                          RUN_CHECKPOINTS};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof folders / sizeof *folders; i++) {
        struct stat st;
        char *path = str_path(r->directory, folders[i]);
        ok = path || record_no_memory(e);
        if (ok && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            ok = publish_remove_stale(path, NULL, e);
        free(path);
    }
    return ok;
}

static bool begin_hashing(struct record_state *s, struct err *e)
{
    for (int i = 0; i < s->network_count; i++) {
        struct network_entry *n = &s->networks[i];
        for (int k = 0; k < n->file_count; k++) {
            struct weight_file *f = &n->files[k];
            if (n->kept && f->sha256[0])
                continue;
            f->number = weight_hashes_add(s->hashes, f->path, e);
            if (f->number < 0)
                return false;
        }
    }
    return true;
}

bool record_begin(struct record *r, struct err *e)
{
    struct record_state *s = r->state;
    s->state = "running";
    bool ok = check_different(s, e) && remove_stale(r, e) &&
              (s->resumed ? claim_all(r, &s->former, e) : clear_former(r, e)) &&
              begin_hashing(s, e) && (!s->resumed || record_check_weights(s, e)) &&
              publish(r, e) && journal_begin(&s->journal, r->directory, e);
    s->begun = ok;
    return ok;
}

bool record_has_begun(const struct record *r)
{
    return r->state->begun;
}

/* What happens */

static bool take_hash(struct record_state *s, struct weight_file *f)
{
    return !f->sha256[0] && f->number >= 0 &&
           weight_hashes_get(s->hashes, f->number, f->sha256);
}

/* Hashes that are known by now. */
static bool note_weights(struct record_state *s, struct err *e)
{
    bool ok = true;
    for (int i = 0; i < s->network_count; i++) {
        for (int k = 0; ok && k < s->networks[i].file_count; k++) {
            struct weight_file *f = &s->networks[i].files[k];
            take_hash(s, f);
            if (!f->sha256[0] || f->noted)
                continue;
            char line[160];
            snprintf(line, sizeof line,
                     "{\"weights\": %d, \"file\": %d, \"sha256\": \"%s\"}", i, k,
                     f->sha256);
            f->noted = true;
            ok = journal_add(&s->journal, line, e);
        }
    }
    return ok;
}

bool record_cell_done(struct record *r, int cell, const char *pixels_sha256,
                      double seconds, struct err *e)
{
    struct record_state *s = r->state;
    struct planned_cell *c = &s->cells[cell];
    if (!hash_index_file(&s->index, c->is.file, c->path, c->sha256, e))
        return false;
    snprintf(c->state, sizeof c->state, "done");
    snprintf(c->pixels_sha256, sizeof c->pixels_sha256, "%s",
             pixels_sha256 ? pixels_sha256 : "");
    c->seconds = seconds;
    struct str line = {0};
    str_addf(&line,
             "{\"cell\": %d, \"sha256\": \"%s\", \"pixels_sha256\": %s%s%s, \"seconds\": "
             "%.6f}",
             cell, c->sha256, pixels_sha256 ? "\"" : "",
             pixels_sha256 ? pixels_sha256 : "null", pixels_sha256 ? "\"" : "", seconds);
    bool ok = (!line.failed || record_no_memory(e)) &&
              journal_add(&s->journal, str_text(&line), e) && note_weights(s, e);
    str_free(&line);
    return ok;
}

bool record_cell_is_done(const struct record *r, int cell)
{
    return strcmp(r->state->cells[cell].state, "done") == 0;
}

const char *record_cell_sha256(const struct record *r, int cell)
{
    return r->state->cells[cell].sha256;
}

const char *record_cell_pixels(const struct record *r, int cell)
{
    return r->state->cells[cell].pixels_sha256;
}

void record_cell_failed(struct record *r, int cell, const char *why)
{
    struct planned_cell *c = &r->state->cells[cell];
    snprintf(c->state, sizeof c->state, "%s", why);
}

bool record_file_done(struct record *r, const char *file, struct err *e)
{
    struct planned_file *f = record_find_file(r->state, file);
    if (!f)
        return err_set(e, ERR_BUG, "record: %s is not planned", STR_SHOW(file));
    return hash_index_file(&r->state->index, file, f->path, f->sha256, e) &&
           record_note_file(r->state, f, e);
}

bool record_file_is_done(const struct record *r, const char *file)
{
    const struct planned_file *f = record_find_file(r->state, file);
    return f && f->sha256[0];
}

bool record_take_json(char **out, struct str *json, struct err *e)
{
    free(*out);
    *out = str_take(json);
    return *out || record_no_memory(e);
}

static bool room_for_outcomes(struct record_state *s, struct err *e)
{
    if (!s->outcomes)
        s->outcomes = calloc((size_t)s->case_count + 1, sizeof *s->outcomes);
    return s->outcomes || record_no_memory(e);
}

bool record_add_outcome(struct record *r, int64_t index_case, record_outcome_fn *write,
                        const void *user, struct err *e)
{
    struct record_state *s = r->state;
    struct str json = {0}, line = {0};
    struct json_writer w = {.out = &json};
    write(&w, user);
    bool ok =
        room_for_outcomes(s, e) && record_take_json(&s->outcomes[index_case], &json, e);
    if (ok)
        str_addf(&line, "{\"case\": %" PRId64 ", \"outcome\": %s}", index_case,
                 s->outcomes[index_case]);
    ok = ok && (!line.failed || record_no_memory(e)) &&
         journal_add(&s->journal, str_text(&line), e);
    str_free(&json);
    str_free(&line);
    return ok;
}

const char *record_outcome(const struct record *r, int64_t index_case)
{
    return r->state->outcomes ? r->state->outcomes[index_case] : NULL;
}

bool record_has_outcome(const struct record *r, int64_t index_case)
{
    return r->state->outcomes && r->state->outcomes[index_case];
}

/* What need not be read again */

bool record_knows(const struct record *r, const char *name,
                  const struct file_stamp *stamp, const char *hex)
{
    return hash_index_knows(&r->state->index, name, stamp, hex);
}

void record_note(const struct record *r, const char *name, const struct file_stamp *stamp,
                 const char *hex)
{
    hash_index_note(&r->state->index, name, stamp, hex);
}

/* The end */

bool record_stop(struct record *r, struct err *e)
{
    struct record_state *s = r->state;
    struct err ignored = {0};
    if (!s->begun) /* what is in the directory is not this run's yet */
        return true;
    s->state = "stopped";
    note_weights(s, &ignored);
    if (!publish(r, e))
        return false;
    journal_remove(&s->journal);
    hash_index_save(&s->index, r->directory);
    return true;
}

bool record_await_weights(struct record_state *s, struct err *e)
{
    return weight_hashes_wait(s->hashes, e) && note_weights(s, e);
}

bool record_tidy(const struct record *r, struct err *e)
{
    char *path = str_path(r->directory, RUN_JOURNAL);
    if (!path)
        return record_no_memory(e);
    unlink(path);
    free(path);
    hash_index_save(&r->state->index, r->directory);
    return remove_stale(r, e);
}

bool record_complete(struct record *r, struct err *e)
{
    struct record_state *s = r->state;
    s->state = "complete";
    for (int i = 0; i < s->cell_count; i++)
        if (strcmp(s->cells[i].state, "done") != 0)
            s->state = "failed";
    for (int i = 0; i < s->file_count; i++)
        if (access(s->files[i].path, F_OK) != 0)
            s->state = "failed";
    if (!record_await_weights(s, e) || !publish(r, e))
        return false;
    journal_remove(&s->journal);
    hash_index_save(&s->index, r->directory);
    return true;
}
