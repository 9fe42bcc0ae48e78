/* test_failing_calls.c: what reads and writes the files of a run, with one call into the
 * C library that fails after another, once or from then on, with several errors. Leaves
 * the parsers to tests/fuzz and whole commands to tests/pipeline/test_faults.py. */
#include "check.h"
#include "diffens/image.h"
#include "inject/faults.h"
#include "io/file.h"
#include "run/directory.h"
#include "run/former.h"
#include "run/hash_index.h"
#include "run/journal.h"
#include "unit/files.h"

#include <errno.h>
#include <sys/stat.h>

static bool fill_tensor(struct err *e)
{
    struct image_tensor t = {0};
    struct image image = {0};
    struct err ignored = {0};
    bool ok = image_new(&image, 3, 2, e) &&
              image_tensor_create(&t, "images.npy", 2, 1, 2, 3, e) &&
              image_tensor_write(&t, 1, 0, &image, e);
    ok = image_tensor_close(&t, ok ? e : &ignored) && ok &&
         image_tensor_reopen(&t, "images.npy", e) &&
         image_tensor_read(&t, 1, 0, &image, e);
    ok = image_tensor_close(&t, ok ? e : &ignored) && ok;
    image_free(&image);
    return ok;
}

static bool keep_journal(struct err *e)
{
    struct journal j = {0};
    struct json_document lines = {0};
    int dropped = 0;
    bool ok = journal_begin(&j, ".", e) && journal_add(&j, "{\"a\": 1}", e) &&
              journal_flush(&j, e) && journal_read(&lines, ".", &dropped, e);
    journal_remove(&j);
    json_free(&lines);
    return ok;
}

static bool write_picture(struct err *e)
{
    static const struct image_text text = {"parameters", "caf\xc3\xa9 \xe2\x98\x83"};
    struct image image = {0};
    char *found = NULL;
    bool ok = image_new(&image, 3, 2, e) &&
              image_write_png(&image, "p.png", &text, 1, e) &&
              (found = image_read_png_text("p.png", "parameters", e)) &&
              strcmp(found, text.text) == 0;
    image_free(&image);
    free(found);
    return ok;
}

static bool start_over(struct err *e)
{
    struct former_run f = {0};
    bool ok = former_run_open(&f, ".", e) && former_run_remove(&f, ".", e);
    former_run_close(&f);
    return ok;
}

static bool remember_hashes(struct err *e)
{
    struct hash_index x = {0};
    char hex[SHA256_HEX];
    hash_index_open(&x, ".");
    hash_index_knows_file(&x, "images/a.png", "images/a.png", "");
    bool ok = hash_index_file(&x, "images/a.png", "images/a.png", hex, e);
    hash_index_save(&x, ".");
    hash_index_close(&x);
    return ok;
}

static bool read_stream(struct err *e)
{
    char *bytes = NULL;
    size_t size;
    int ends[2];
    if (pipe(ends) != 0 || dprintf(ends[1], "a cat\n") != 6)
        abort();
    close(ends[1]);
    bool ok = file_read_stream(ends[0], "<stdin>", LIMIT_JSON_PROMPTS, &bytes, &size, e);
    close(ends[0]);
    free(bytes);
    return ok;
}

static const struct {
    bool (*run)(struct err *e);
    const char *name;
} works[] = {{fill_tensor, "fill_tensor"},         {keep_journal, "keep_journal"},
             {write_picture, "write_picture"},     {start_over, "start_over"},
             {remember_hashes, "remember_hashes"}, {read_stream, "read_stream"}};

static void prepare(void)
{
    static const char record[] =
        "{\"state\": \"stopped\", \"cases\": [\"000\"], \"cells\": [], \"sums\": {},"
        " \"files\": [\"images/a.png\", \"gone.png\"]}";
    mkdir("images", 0777);
    mkdir("checkpoints", 0777);
    write_file("images/a.png", "picture", 7);
    write_file("checkpoints/000.safetensors", "state", 5);
    write_file(RUN_RECORD, record, sizeof record - 1);
    write_file(RUN_JOURNAL, "{\"case\": 0, \"outcome\": {\"x\": 1}}\n", 33);
}

/* The end is a success or one failure that has a name; nothing is left in between. */
static void run_with(struct faults *f, int work, const char *what)
{
    struct err e = {0};
    prepare();
    faults = f;
    bool ok = works[work].run(&e);
    faults = NULL;
    bool right = ok ? e.code == ERR_OK : e.code >= ERR_INPUT && e.code <= ERR_MEMORY;
    right = right && count_files(".tmp.") == 0;
    CHECK(right && (ok || e.message[0]));
    if (!right)
        fprintf(stderr, "%s, %s: %d %s\n", works[work].name, what, e.code, e.message);
}

static void test_failing_calls(void)
{
    static const int errors[] = {0, EINTR, EINVAL, EOPNOTSUPP, ENOENT, EACCES};
    long points = 0;
    char what[80];
    for (int work = 0; work < (int)(sizeof works / sizeof *works); work++) {
        struct faults whole = {.kind = FAULT_KINDS};
        struct faults hiccup = {.kind = FAULT_KINDS, .hiccup = true};
        run_with(&whole, work, "undisturbed");
        run_with(&hiccup, work, "interrupted");
        for (int kind = 0; kind < FAULT_KINDS; kind++)
            for (long i = 0; i < 6 * whole.calls[kind]; i++) {
                for (int onward = 0; onward < 2; onward++) {
                    struct faults f = {.kind = kind,
                                       .at = 1 + i / 6,
                                       .onward = onward && errors[i % 6] != EINTR,
                                       .error = errors[i % 6]};
                    snprintf(what, sizeof what, "call %ld of kind %d, errno %d, %s", f.at,
                             kind, f.error, onward ? "onward" : "once");
                    run_with(&f, work, what);
                    points++;
                }
            }
    }
    CHECK(points > 500);
    printf("%ld failing calls\n", points);
}

/* The calls that reading a file takes when `error` comes once, and when it stays. */
static void read_failing(int error, bool onward, long *calls, struct err *e)
{
    char bytes[4];
    uint64_t size;
    write_file("in", "bytes", 5);
    int fd = file_open("in", &size, e);
    struct faults f = {.kind = FAULT_READ, .at = 1, .onward = onward, .error = error};
    faults = &f;
    bool ok = file_read_at(fd, bytes, sizeof bytes, 1, "in", e);
    faults = NULL;
    file_close(fd);
    *calls = f.calls[FAULT_READ];
    CHECK_INT(ok, !onward && error != EINVAL);
    CHECK(!ok || memcmp(bytes, "ytes", 4) == 0);
}

static void test_reads_are_tried_again(void)
{
    static const int errors[] = {EIO, ESTALE, EINTR, EINVAL};
    static const long once[] = {2, 2, 2, 1}, onward[] = {4, 4, 0, 1};
    for (int i = 0; i < 4; i++) {
        struct err e = {0};
        long calls;
        read_failing(errors[i], false, &calls, &e);
        CHECK_INT(calls, once[i]);
        if (errors[i] == EINTR)
            continue;
        e = (struct err){0};
        read_failing(errors[i], true, &calls, &e);
        CHECK_INT(calls, onward[i]);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "in: read at byte 1: ");
        CHECK_HAS(e.message, strerror(errors[i]));
    }
}

/* Without faults each of them works: they can be relied on above. */
static void test_each_works(void)
{
    for (int work = 0; work < (int)(sizeof works / sizeof *works); work++) {
        struct err e = {0};
        prepare();
        CHECK(works[work].run(&e));
        CHECK_STR(e.message, "");
    }
}

int main(void)
{
    if (chdir(in_dir("") ? files_dir : "/") != 0)
        return 1;
    RUN(test_each_works);
    RUN(test_reads_are_tried_again);
    RUN(test_failing_calls);
    remove_dir();
    return CHECK_EXIT();
}
