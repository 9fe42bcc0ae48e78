/* shards.c: holds the records of shards against each other. Leaves reading one to
 * former.c and comparing documents to compare.c. */
#include "run/shards.h"

#include "base/str.h"
#include "io/config.h"
#include "run/compare.h"
#include "run/directory.h"

#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX 1000000
#define CASES_MAX 100000000

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "shards: out of memory");
}

const struct json *shards_record(const struct shards *s)
{
    return s->of[0].run.record.root;
}

/* One shard */

struct place {
    int64_t index, count, cases;
};

static bool read_place(const struct former_run *run, struct place *place, struct err *e)
{
    const struct json *shard, *root = run->record.root;
    if (!json_get(root, "shard"))
        return json_fail(root, e, "shard: found none, expected a run made with --shard");
    return config_need_object(root, "shard", &shard, e) &&
           config_need_int(shard, "count", 1, SHARDS_MAX, &place->count, e) &&
           config_need_int(shard, "index", 0, place->count - 1, &place->index, e) &&
           config_need_int(shard, "cases", place->count, CASES_MAX, &place->cases, e);
}

static bool check_complete(const char *directory, const struct former_run *run,
                           struct err *e)
{
    bool done = strcmp(run->state, "complete") == 0;
    for (int i = 0; done && i < run->cell_count; i++)
        if (strcmp(run->cells[i].state, "done") != 0 || !*run->cells[i].sha256)
            return json_fail(run->cells[i].planned, e,
                             "state: found \"%s\", expected a picture that is done",
                             STR_SHOW(run->cells[i].state));
    if (done)
        return true;
    err_set(e, ERR_INPUT, "%s: state: found \"%s\", expected \"complete\"",
            STR_SHOW(directory), STR_SHOW(run->state));
    return err_hint(e, "the command that made it goes on with --resume");
}

static bool read_shard(const char *directory, struct shard *shard, struct place *place,
                       struct err *e)
{
    shard->directory = directory;
    if (!former_run_open(&shard->run, directory, e))
        return false;
    if (!shard->run.state)
        return err_set(e, ERR_INPUT,
                       "%s: found no " RUN_RECORD ", expected a run made with --shard",
                       STR_SHOW(directory));
    return read_place(&shard->run, place, e) &&
           check_complete(directory, &shard->run, e) &&
           config_may_array(shard->run.record.root, "prompts",
                            (size_t)shard->run.case_count, (size_t)shard->run.case_count,
                            &shard->prompts, e);
}

/* All of them */

static bool differ(const char *directory, const char *other, const char *field,
                   int64_t found, int64_t expected, struct err *e)
{
    return err_set(e, ERR_INPUT, "%s: %s: found %lld, expected %lld as in %s",
                   STR_SHOW(directory), field, (long long)found, (long long)expected,
                   STR_SHOW(other));
}

static bool put(struct shards *s, struct shard *shard, const struct place *place,
                struct err *e)
{
    struct shard *own = &s->of[place->index];
    if (own->directory)
        return err_set(e, ERR_INPUT,
                       "%s: found shard %lld/%lld, expected each once: it is in %s too",
                       STR_SHOW(shard->directory), (long long)place->index,
                       (long long)place->count, STR_SHOW(own->directory));
    *own = *shard;
    *shard = (struct shard){0};
    return true;
}

static bool read_all(struct shards *s, const char *const *directories, int count,
                     struct err *e)
{
    for (int i = 0; i < count; i++) {
        struct shard shard = {0};
        struct place place = {0};
        bool ok = read_shard(directories[i], &shard, &place, e);
        if (ok && i == 0) {
            int room = place.count > count ? count + 1 : (int)place.count;
            s->of = calloc((size_t)room, sizeof *s->of);
            s->room = s->of ? room : 0;
            ok = s->of || no_memory(e);
            s->count = ok ? (int)place.count : 0;
            s->cases = place.cases;
        }
        if (ok && place.count != s->count)
            ok = differ(directories[i], directories[0], "shard.count", place.count,
                        s->count, e);
        if (ok && place.cases != s->cases)
            ok = differ(directories[i], directories[0], "shard.cases", place.cases,
                        s->cases, e);
        ok = ok && (place.index >= s->room || put(s, &shard, &place, e));
        former_run_close(&shard.run);
        if (!ok)
            return false;
    }
    return true;
}

static bool check_all_there(const struct shards *s, int count, struct err *e)
{
    for (int i = 0; i < s->room; i++)
        if (!s->of[i].directory)
            return err_set(e, ERR_INPUT,
                           "found %d of %d shards, expected all of them: %d/%d is "
                           "missing",
                           count, s->count, i, s->count);
    return true;
}

/* The same run */

static bool check_weights(const struct shards *s, int i, struct err *e)
{
    const struct json *ensemble = json_get(shards_record(s), "ensemble");
    const struct json *networks = ensemble ? json_get(ensemble, "networks") : NULL;
    int number = 0;
    for (const struct json *n = networks ? networks->child : NULL; n;
         n = n->next, number++) {
        const struct json *files = json_get(n, "files");
        for (int k = 0; files && k < (int)files->size; k++) {
            const char *found = former_run_weights(&s->of[i].run, number, k);
            const char *expected = former_run_weights(&s->of[0].run, number, k);
            if (strcmp(found, expected) != 0)
                return err_set(e, ERR_INPUT,
                               "%s: ensemble.networks[%d].files[%d].sha256: found %s, "
                               "expected %s as in %s",
                               STR_SHOW(s->of[i].directory), number, k, found, expected,
                               STR_SHOW(s->of[0].directory));
        }
    }
    return true;
}

static bool check_same(const struct shards *s, int i,
                       bool (*may_change)(const char *option), struct err *e)
{
    static const char *const same[] = {"program", "version",  "command",
                                       "options", "ensemble", "models"};
    struct comparison c = {.may_change = may_change,
                           .words = {": found ", ", expected "}};
    for (size_t k = 0; k < sizeof same / sizeof *same; k++)
        compare_member(&c, s->of[i].run.record.root, shards_record(s), same[k]);
    if (c.count > 0)
        err_set(e, ERR_INPUT, "%s: found another run than in %s: %s",
                STR_SHOW(s->of[i].directory), STR_SHOW(s->of[0].directory),
                str_text(&c.differences));
    bool ok = c.count == 0;
    str_free(&c.differences);
    return ok && check_weights(s, i, e);
}

/* The same machine */

static void add_change(struct str *changes, const struct json *found,
                       const struct json *expected, const char *key)
{
    const struct json *a = json_get(found, key), *b = json_get(expected, key);
    if (a && b && a->kind == JSON_STRING && b->kind == JSON_STRING &&
        strcmp(a->text, b->text) != 0)
        str_addf(changes, "%s%s: found %s, expected %s", changes->size ? "; " : "", key,
                 STR_SHOW(a->text), STR_SHOW(b->text));
}

static bool check_machine(const struct shards *s, int i, const struct progress *progress,
                          struct err *e)
{
    static const char *const keys[] = {"libtorch", "device", "dtype"};
    const struct json *options = json_get(shards_record(s), "options");
    const struct json *exact = options ? json_get(options, "deterministic") : NULL;
    const char *own = s->of[i].directory, *first = s->of[0].directory;
    struct str changes = {0};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        add_change(&changes, s->of[i].run.record.root, shards_record(s), keys[k]);
    bool ok = !changes.size || !exact || exact->kind != JSON_BOOL || !exact->truth;
    if (!ok)
        err_set(e, ERR_INPUT,
                "%s: found a run of another machine than in %s, expected the same with "
                "--deterministic: %s",
                STR_SHOW(own), STR_SHOW(first), str_text(&changes));
    else if (changes.size)
        progress_note(progress, NOTE_WARNING, "%s: bits may differ from those of %s: %s",
                      STR_SHOW(own), STR_SHOW(first), str_text(&changes));
    str_free(&changes);
    return ok;
}

/* Cells stand as plan.h says: parents of each case, then results of each case. */
static bool check_cells(struct shards *s, int i, struct err *e)
{
    const struct former_run *run = &s->of[i].run;
    int64_t cases = (s->cases - i + s->count - 1) / s->count;
    if (run->case_count != cases)
        return err_set(e, ERR_INPUT, "%s: cases: found %lld, expected %lld of %lld",
                       STR_SHOW(s->of[i].directory), (long long)run->case_count,
                       (long long)cases, (long long)s->cases);
    int64_t each = s->models + s->results;
    if (i == 0 && run->cell_count % cases == 0 && run->cell_count / cases >= s->models)
        each = run->cell_count / cases;
    if (run->cell_count != each * cases || each > INT32_MAX)
        return err_set(e, ERR_INPUT, "%s: cells: found %d, expected %lld a case",
                       STR_SHOW(s->of[i].directory), run->cell_count, (long long)each);
    s->results = (int)each - s->models;
    for (int cell = 0; cell < run->cell_count; cell++) {
        int64_t parents = cases * s->models;
        int64_t n = cell < parents ? cell / s->models : (cell - parents) / s->results;
        const char *name;
        if (!config_need_string(run->cells[cell].planned, "case", &name, e))
            return false;
        if (strcmp(name, run->case_names[n]) != 0)
            return json_fail(run->cells[cell].planned, e,
                             "case: found \"%s\", expected \"%s\"", STR_SHOW(name),
                             STR_SHOW(run->case_names[n]));
    }
    return true;
}

bool shards_open(struct shards *s, const char *const *directories, int count,
                 bool (*may_change)(const char *option), const struct progress *progress,
                 struct err *e)
{
    const struct json *models;
    bool ok =
        read_all(s, directories, count, e) && check_all_there(s, count, e) &&
        config_need_array(shards_record(s), "models", 1, OPTIONS_MAX_MODELS, &models, e);
    if (ok)
        s->models = (int)models->size;
    for (int i = 0; ok && i < s->count; i++)
        ok = check_same(s, i, may_change, e) && check_machine(s, i, progress, e) &&
             check_cells(s, i, e);
    if (!ok)
        shards_close(s);
    return ok;
}

void shards_close(struct shards *s)
{
    for (int i = 0; i < s->room; i++)
        former_run_close(&s->of[i].run);
    free(s->of);
    *s = (struct shards){0};
}

/* Cases of the whole run */

static const struct shard *shard_of(const struct shards *s, int64_t n)
{
    return &s->of[n % s->count];
}

const char *shards_case_name(const struct shards *s, int64_t n)
{
    return shard_of(s, n)->run.case_names[n / s->count];
}

const struct former_cell *shards_parent(const struct shards *s, int64_t n, int m)
{
    return &shard_of(s, n)->run.cells[n / s->count * s->models + m];
}

const struct former_cell *shards_result(const struct shards *s, int64_t n, int result)
{
    const struct former_run *run = &shard_of(s, n)->run;
    return &run->cells[run->case_count * s->models + n / s->count * s->results + result];
}
