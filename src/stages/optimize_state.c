/* optimize_state.c: saves the state of an optimisation and goes on from it. Leaves the
 * format to io/safetensors.h, and when to save to the caller. State files are untrusted:
 * another run, or a fault of the disk, may have written them. */
#include "stages/optimize_internal.h"

#include "base/sha256.h"
#include "base/str.h"
#include "io/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT_VERSION "2"
#define MAX_TENSORS 9
#define TEXT "text" /* the caller's, as one more tensor */
#define TEXT_MAX (1u << 30)

static const char *const tensor_names[MAX_TENSORS] = {
    "latent", "m",    "v",       "kept.latent", "kept.m",
    "kept.v", "best", "average", "kept.average"};

/* The last two only where there is an average. */
static int tensor_count(const struct optimize *o)
{
    return o->now.average ? MAX_TENSORS : MAX_TENSORS - 2;
}

static tc_tensor **tensor_at(struct optimize *o, int i)
{
    tc_tensor **places[MAX_TENSORS] = {&o->now.z,  &o->now.m,       &o->now.v,
                                       &o->kept.z, &o->kept.m,      &o->kept.v,
                                       &o->best,   &o->now.average, &o->kept.average};
    return places[i];
}

static size_t tensor_bytes(const struct optimize *o)
{
    return (size_t)tc_numel(o->now.z) * tc_dtype_size(o->dtype);
}

/* One line: what the epochs to come depend on besides the tensors. The windows of an
 * epoch are decided by the random seed and its number, so these two are the random state.
 */
static void counters_write(const struct optimize *o, char *out, size_t size)
{
    snprintf(out, size, "%lld %lld %lld %lld %d %d %a %llu", (long long)o->epoch,
             (long long)o->now.steps, (long long)o->kept.steps, (long long)o->skipped,
             o->skipped_in_a_row, o->restored, o->best_total,
             (unsigned long long)o->settings.random_seed);
}

struct counters {
    long long epoch, steps, kept_steps, skipped;
    int skipped_in_a_row, restored;
    double best_total;
};

static bool counters_read(const struct optimize *o, const char *text, struct counters *c,
                          struct err *e)
{
    char seed[24];
    int end = 0;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->settings.random_seed);
    bool ok = sscanf(text, "%18lld %18lld %18lld %18lld %9d %9d %la %n", &c->epoch,
                     &c->steps, &c->kept_steps, &c->skipped, &c->skipped_in_a_row,
                     &c->restored, &c->best_total, &end) == 7 &&
              strcmp(text + end, seed) == 0 && c->epoch >= 0 &&
              c->epoch <= o->settings.epochs && c->steps >= 0 && c->steps <= c->epoch &&
              c->kept_steps >= 0 && c->kept_steps <= c->epoch && c->skipped >= 0 &&
              c->skipped <= c->epoch && c->skipped_in_a_row >= 0 &&
              c->skipped_in_a_row <= c->skipped && !isnan(c->best_total);
    return ok || err_set(e, ERR_INPUT,
                         "counters: found \"%s\", expected those of a run of %lld epochs",
                         STR_SHOW(text), (long long)o->settings.epochs);
}

static void counters_take(struct optimize *o, const struct counters *c)
{
    o->epoch = c->epoch;
    o->now.steps = c->steps;
    o->kept.steps = c->kept_steps;
    o->skipped = c->skipped;
    o->skipped_in_a_row = c->skipped_in_a_row;
    o->restored = c->restored != 0;
    o->best_total = c->best_total;
}

/* Of everything that the file says, so that a flipped bit cannot go unseen. */
static void checksum(const unsigned char *bytes, size_t size, const struct str *text,
                     const char *counters, const char *identity, char hex[SHA256_HEX])
{
    struct sha256 hash;
    sha256_begin(&hash);
    sha256_add(&hash, bytes, size);
    sha256_add(&hash, str_text(text), text->size);
    sha256_add(&hash, counters, strlen(counters) + 1);
    sha256_add(&hash, identity, strlen(identity) + 1);
    sha256_end(&hash, hex);
}

/* "path.previous"; the caller frees it. */
static char *previous_path(const char *path, struct err *e)
{
    struct str text = {0};
    str_addf(&text, "%s.previous", path);
    char *previous = str_take(&text);
    if (!previous)
        err_set(e, ERR_MEMORY, "no host memory for a path");
    return previous;
}

static bool write_file(const struct optimize *o, const char *path,
                       const unsigned char *bytes, const char *identity,
                       const struct str *text, struct err *e)
{
    size_t size = tensor_bytes(o);
    char counters[256], hex[SHA256_HEX];
    struct safetensors_tensor tensors[MAX_TENSORS + 1];
    int count = tensor_count(o);
    counters_write(o, counters, sizeof counters);
    checksum(bytes, (size_t)count * size, text, counters, identity, hex);
    for (int i = 0; i < count; i++) {
        tensors[i] = (struct safetensors_tensor){
            .name = tensor_names[i],
            .dtype = o->dtype == TC_F64 ? FILE_F64 : FILE_F32,
            .rank = 4,
            .data = bytes + (size_t)i * size,
        };
        for (int k = 0; k < 4; k++)
            tensors[i].dim[k] = tc_size(o->now.z, k);
    }
    tensors[count] = (struct safetensors_tensor){.name = TEXT,
                                                 .dtype = FILE_U8,
                                                 .rank = 1,
                                                 .dim = {(int64_t)text->size},
                                                 .data = str_text(text)};
    struct safetensors_text texts[] = {{"diffens.optimize", FORMAT_VERSION},
                                       {"counters", counters},
                                       {"identity", identity},
                                       {"sha256", hex}};
    return safetensors_write(path, tensors, (size_t)count + 1, texts,
                             sizeof texts / sizeof *texts, e);
}

static bool keep_previous(const char *path, struct err *e)
{
    char *previous = previous_path(path, e);
    if (!previous)
        return false;
    bool ok = rename(path, previous) == 0 || errno == ENOENT ||
              err_set(e, ERR_OUTPUT, "%s: %s", STR_SHOW(previous), strerror(errno));
    free(previous);
    return ok;
}

bool optimize_save(struct optimize *o, const char *path, const char *identity,
                   const struct str *text, struct err *e)
{
    size_t size = tensor_bytes(o), whole = (size_t)tensor_count(o) * size;
    unsigned char *bytes = malloc(whole);
    bool ok =
        bytes || err_set(e, ERR_MEMORY, "no host memory for a state of %zu bytes", whole);
    for (int i = 0; ok && i < tensor_count(o); i++)
        ok = tc_to_host(o->scope, *tensor_at(o, i), o->dtype, bytes + (size_t)i * size,
                        size) ||
             tc_check(o->scope, e);
    ok = ok && keep_previous(path, e) && write_file(o, path, bytes, identity, text, e);
    free(bytes);
    return ok;
}

/* Going on */

static bool read_tensors(const struct optimize *o, const struct tensor_file *file,
                         unsigned char *bytes, struct err *e)
{
    size_t size = tensor_bytes(o);
    for (int i = 0; i < tensor_count(o); i++) {
        const struct tensor_entry *entry = tensor_file_find(file, tensor_names[i]);
        bool fits = entry && entry->rank == 4 && entry->bytes == size &&
                    entry->dtype == (o->dtype == TC_F64 ? FILE_F64 : FILE_F32);
        for (int k = 0; fits && k < 4; k++)
            fits = entry->dim[k] == tc_size(o->now.z, k);
        if (!fits)
            return err_set(e, ERR_INPUT,
                           "%s: found %s, expected a latent of this run's shape and type",
                           tensor_names[i], entry ? "another tensor" : "no such tensor");
        if (!tensor_file_read(file, entry, bytes + (size_t)i * size, e))
            return false;
    }
    return true;
}

static bool read_text(const struct tensor_file *file, struct str *text, struct err *e)
{
    const struct tensor_entry *entry = tensor_file_find(file, TEXT);
    if (!entry || entry->dtype != FILE_U8 || entry->rank != 1 || entry->bytes > TEXT_MAX)
        return err_set(e, ERR_INPUT, TEXT ": found %s, expected bytes",
                       entry ? "another tensor" : "no such tensor");
    char *bytes = calloc(1, (size_t)entry->bytes + 1);
    if (!bytes)
        return err_set(e, ERR_MEMORY, "no host memory for a state");
    bool ok = tensor_file_read(file, entry, bytes, e);
    str_clear(text);
    if (ok)
        str_add_bytes(text, bytes, (size_t)entry->bytes);
    free(bytes);
    return ok && (!text->failed || err_set(e, ERR_MEMORY, "no host memory for a state"));
}

static const char *text_of(const struct tensor_file *file, const char *key)
{
    const char *text = tensor_file_metadata(file, key);
    return text ? text : "";
}

static bool check_texts(const struct tensor_file *file, const char *identity,
                        struct err *e)
{
    const char *version = text_of(file, "diffens.optimize");
    if (strcmp(version, FORMAT_VERSION) != 0)
        return err_set(e, ERR_INPUT, "format: found \"%s\", expected \"%s\"",
                       STR_SHOW(version), FORMAT_VERSION);
    const char *found = text_of(file, "identity");
    return strcmp(found, identity) == 0 ||
           err_set(e, ERR_INPUT,
                   "identity: found \"%s\", expected \"%s\": saved by a run with other "
                   "options or inputs",
                   STR_SHOW(found), STR_SHOW(identity));
}

/* Takes over what was read: nothing before this has changed `o`. */
static bool take_over(struct optimize *o, const unsigned char *bytes, struct err *e)
{
    size_t size = tensor_bytes(o);
    struct tc_shape shape =
        SHAPE(1, tc_size(o->now.z, 1), tc_size(o->now.z, 2), tc_size(o->now.z, 3));
    for (int i = 0; i < tensor_count(o); i++) {
        tc_tensor **place = tensor_at(o, i);
        *place =
            tc_replace(o->scope, *place,
                       tc_from_host(o->scope, o->dtype, shape, bytes + (size_t)i * size));
    }
    return tc_check(o->scope, e);
}

static bool read_state(struct optimize *o, const char *path, const char *identity,
                       struct str *text, struct err *e)
{
    struct tensor_file file = {0};
    struct str read = {0};
    struct counters counters;
    size_t size = (size_t)tensor_count(o) * tensor_bytes(o);
    char hex[SHA256_HEX];
    unsigned char *bytes = malloc(size);
    bool ok = bytes || err_set(e, ERR_MEMORY, "no host memory for a state");
    ok = ok && tensor_file_open(&file, path, e) && check_texts(&file, identity, e) &&
         read_tensors(o, &file, bytes, e) && read_text(&file, &read, e);
    if (ok) {
        checksum(bytes, size, &read, text_of(&file, "counters"), identity, hex);
        ok = strcmp(hex, text_of(&file, "sha256")) == 0 ||
             err_set(e, ERR_INPUT,
                     "sha256: found another one, expected that of the contents: "
                     "the file is damaged");
    }
    ok = ok && counters_read(o, text_of(&file, "counters"), &counters, e);
    ok = ok && take_over(o, bytes, e);
    if (ok) {
        counters_take(o, &counters);
        str_free(text);
        *text = read;
    } else {
        str_free(&read);
    }
    tensor_file_close(&file);
    free(bytes);
    return ok || err_in_file(e, path);
}

bool optimize_restore(struct optimize *o, const char *path, const char *identity,
                      struct str *text, bool *found, const struct progress *progress,
                      struct err *e)
{
    struct stat status;
    char *previous = previous_path(path, e);
    bool ok = previous != NULL;
    bool newer = ok && lstat(path, &status) == 0;
    bool older = ok && lstat(previous, &status) == 0;
    struct err first = {0};
    *found = newer || older;
    if (newer && !read_state(o, path, identity, text, &first)) {
        if (older && first.code == ERR_INPUT)
            progress_note(progress, NOTE_WARNING, "%s; going on from %s", first.message,
                          STR_SHOW(previous));
        ok = older && first.code == ERR_INPUT &&
             read_state(o, previous, identity, text, e);
        if (ok)
            unlink(path); /* or the next save would put it in the place of the good one */
        else
            *e = first;
    } else if (ok && older && !newer) {
        ok = read_state(o, previous, identity, text, e);
    }
    free(previous);
    return ok;
}
