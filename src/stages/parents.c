/* parents.c: puts parents into the image tensor and beside it. Leaves the drawing of them
 * to draw.c and the reading of pictures from elsewhere to import.c. */
#include "stages/parents.h"

#include "base/sha256.h"
#include "base/stop.h"
#include "base/str.h"
#include "io/file.h"
#include "run/record.h"

#include <string.h>
#include <unistd.h>

void parents_hash(const struct image *picture, char hex[SHA256_HEX])
{
    sha256_bytes(picture->rgb, (size_t)picture->width * (size_t)picture->height * 3, hex);
}

bool parents_publish(const struct plan *p, int64_t index_case, int index_model,
                     const struct image *picture, double seconds,
                     struct image_tensor *images, struct err *e)
{
    struct record *r = p->run->record;
    int cell = plan_parent_cell(p, index_case, index_model);
    const struct image_text *texts;
    char pixels[SHA256_HEX];
    parents_hash(picture, pixels);
    int count = record_cell_texts(r, cell, &texts, e);
    bool ok = count > 0 &&
              image_tensor_write(images, index_case, index_model, picture, e) &&
              image_write_png(picture, record_cell_path(r, cell), texts, count, e) &&
              record_cell_done(r, cell, pixels, seconds, e);
    if (ok && p->results == 0) /* elsewhere parents are a step on the way */
        progress_made(p->run->progress, record_cell_path(r, cell));
    return ok;
}

/* What need not be read again */

/* How the files look that something was read from, and a hash of that and of what the
 * record says of every part of the image tensor. As long as these are the same, what was
 * read is as well. */
struct source {
    const char *name;
    bool there;
    struct file_stamp newest;
    char looks[SHA256_HEX], hex[SHA256_HEX];
};

static void hash_parts(const struct plan *p, struct source *s)
{
    struct sha256 digest;
    sha256_begin(&digest);
    sha256_add(&digest, s->looks, sizeof s->looks);
    for (int64_t n = 0; n < p->cases; n++)
        for (int m = 0; m < p->models; m++) {
            const char *hex =
                record_cell_pixels(p->run->record, plan_parent_cell(p, n, m));
            sha256_add(&digest, hex, strlen(hex) + 1);
        }
    sha256_end(&digest, s->hex);
}

static struct source look_at_tensor(const struct plan *p)
{
    struct source s = {.name = "images.npy"};
    s.there = file_stamp_take(record_file_path(p->run->record, s.name), &s.newest);
    hash_parts(p, &s);
    return s;
}

static struct source look_at_import(const struct plan *p)
{
    struct source s = {.name = "--images"};
    struct sha256 digest;
    sha256_begin(&digest);
    s.there = import_stamp(&p->import, &digest, &s.newest);
    sha256_end(&digest, s.looks);
    hash_parts(p, &s);
    return s;
}

static bool is_known(const struct plan *p, const struct source *s)
{
    return s->there && record_knows(p->run->record, s->name, &s->newest, s->hex);
}

static void note(const struct plan *p, const struct source *s)
{
    if (s->there && !is_known(p, s))
        record_note(p->run->record, s->name, &s->newest, s->hex);
}

/* Pictures from elsewhere */

static bool check_same(const struct plan *p, int64_t n, int m,
                       const struct image *picture, struct err *e)
{
    char hex[SHA256_HEX];
    const char *kept = record_cell_pixels(p->run->record, plan_parent_cell(p, n, m));
    parents_hash(picture, hex);
    if (strcmp(hex, kept) == 0)
        return true;
    err_set(e, ERR_INPUT,
            "%s: case %s, model %s: found another picture than the one that the run in "
            "%s began with, expected the same",
            STR_SHOW(p->import.path), p->case_names[n], p->model_names[m],
            STR_SHOW(p->run->record->directory));
    return err_hint(e, "--force instead of --resume starts over");
}

bool parents_import(const struct plan *p, struct image_tensor *images, struct err *e)
{
    const struct record *r = p->run->record;
    struct source source = look_at_import(p);
    int64_t transparent = 0;
    if (is_known(p, &source))
        return true;
    for (int64_t n = 0; n < p->cases; n++) {
        for (int m = 0; m < p->models; m++) {
            struct image picture = {0};
            bool had_alpha;
            bool ok = stop_check(e) && import_read(&p->import, n, p->import_index[m],
                                                   &picture, &had_alpha, e);
            transparent += ok && had_alpha;
            if (ok && record_cell_is_done(r, plan_parent_cell(p, n, m)))
                ok = check_same(p, n, m, &picture, e);
            else
                ok = ok && parents_publish(p, n, m, &picture, 0, images, e);
            image_free(&picture);
            if (!ok)
                return false;
        }
    }
    if (transparent > 0)
        progress_note(p->run->progress, NOTE_INFO,
                      "%s: %lld pictures are transparent: put on white",
                      STR_SHOW(p->import.path), (long long)transparent);
    hash_parts(p, &source);
    note(p, &source);
    return true;
}

/* The image tensor */

/* The picture beside the tensor holds the same pixels, and its own hash has been looked
 * at. */
static bool put_back(const struct plan *p, int64_t n, int m, struct image_tensor *images,
                     struct err *e)
{
    const struct record *r = p->run->record;
    const char *path = record_cell_path(r, plan_parent_cell(p, n, m));
    struct image picture = {0};
    bool ok = image_read(&picture, path, NULL, e) &&
              image_tensor_write(images, n, m, &picture, e);
    image_free(&picture);
    return ok;
}

/* *lost counts the parts that were put back. */
static bool restore(const struct plan *p, struct image_tensor *images, int64_t *lost,
                    struct err *e)
{
    const struct record *r = p->run->record;
    for (int64_t n = 0; n < p->cases; n++) {
        for (int m = 0; m < p->models; m++) {
            int cell = plan_parent_cell(p, n, m);
            struct image picture = {0};
            char hex[SHA256_HEX];
            if (!record_cell_is_done(r, cell))
                continue;
            if (!stop_check(e) || !image_tensor_read(images, n, m, &picture, e))
                return false;
            parents_hash(&picture, hex);
            image_free(&picture);
            if (strcmp(hex, record_cell_pixels(r, cell)) == 0)
                continue;
            (*lost)++;
            if (!put_back(p, n, m, images, e))
                return false;
        }
    }
    return true;
}

static bool is_this_run(const struct plan *p, const struct image_tensor *t)
{
    return t->cases == p->cases && t->models == p->models && t->height == p->height &&
           t->width == p->width;
}

bool parents_open(const struct plan *p, struct image_tensor *images, struct err *e)
{
    const char *path = record_file_path(p->run->record, "images.npy");
    struct err damaged = {0};
    int64_t lost = 0;
    bool resumed = record_is_resumed(p->run->record) && access(path, F_OK) == 0;
    bool open = resumed && image_tensor_reopen(images, path, &damaged);
    if (open && !is_this_run(p, images)) {
        image_tensor_close(images, &damaged);
        open = false;
    }
    if (!open &&
        !image_tensor_create(images, path, p->cases, p->models, p->height, p->width, e))
        return false;
    struct source tensor = look_at_tensor(p);
    bool ok = (open && is_known(p, &tensor)) || restore(p, images, &lost, e);
    if (ok && lost > 0)
        progress_note(p->run->progress, NOTE_WARNING,
                      "%s: %lld pictures were lost there: put back from images/",
                      STR_SHOW(path), (long long)lost);
    if (!ok)
        image_tensor_close(images, &damaged);
    return ok;
}

bool parents_close(const struct plan *p, struct image_tensor *images, struct err *e)
{
    bool open = images->path != NULL;
    if (!image_tensor_close(images, e))
        return false;
    if (open) {
        struct source tensor = look_at_tensor(p);
        note(p, &tensor);
    }
    return true;
}
