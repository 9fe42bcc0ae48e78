/* test_resume.c: going on with a run: its record, its journal, its lock. */
#include "base/stop.h"
#include "run/directory.h"
#include "run/former.h"
#include "run/journal.h"
#include "run/lock.h"
#include "run/record.h"

#include "check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/diffens-resume-XXXXXX";

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static void append(const char *path, const char *text)
{
    FILE *f = fopen(path, "a");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static void write_options(struct json_writer *w, const struct options *o)
{
    json_write_open_object(w);
    json_write_key(w, "steps");
    json_write_int(w, o->steps);
    json_write_key(w, "threads");
    json_write_int(w, o->threads);
    json_write_close(w);
}

static bool may_change(const char *option)
{
    return strcmp(option, "threads") == 0;
}

static char notes[2000];

static void take_note(void *user, enum note_level level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(notes, sizeof notes, "%s", line);
}

static const struct progress progress = {.note = take_note};

/* A run of two parents in "run"; record_resume() where `resume`. */
static bool open_run(struct record *r, const struct options *o, bool resume,
                     bool *complete, struct err *e)
{
    static char *const cases[] = {"000", "001"};
    static const char *const models[] = {"poster"};
    static struct record_about about;
    static const struct record_parent parent = {.model = "poster", .prompt = "a cat"};
    about = (struct record_about){.command = "generate",
                                  .options = o,
                                  .write_options = write_options,
                                  .may_change = may_change,
                                  .libtorch = "2.13.0"};
    mkdir("run", 0777);
    notes[0] = 0;
    if (!record_open(r, "run", &about, e))
        return false;
    record_set_axes(r, 2, cases, 1, models);
    bool ok = record_add_network(r, "diffuser", "poster", "poster", e) == 0 &&
              record_add_weights(r, 0, "weights.bin", "weights.bin", e);
    for (int n = 0; ok && n < 2; n++) {
        char file[64];
        snprintf(file, sizeof file, "images/%s_poster.png", cases[n]);
        struct record_cell cell = {.case_name = cases[n],
                                   .file = file,
                                   .height = 8,
                                   .width = 8,
                                   .parent_count = 1,
                                   .parents = &parent};
        ok = record_add_cell(r, &cell, e) == n;
    }
    ok = ok && record_add_file(r, "images.npy", e) &&
         (!resume || record_resume(r, complete, &progress, e)) &&
         record_set_machine(r, "cpu", "fp32", o->threads, e) &&
         record_check_machine(r, &progress, e);
    if (!ok)
        record_close(r);
    return ok;
}

static bool make_cell(struct record *r, int cell, struct err *e)
{
    write_file(record_cell_path(r, cell), cell ? "second" : "first");
    return record_cell_done(r, cell, NULL, 1, e);
}

static struct options options = {.command = COMMAND_GENERATE, .steps = 20, .threads = 1};

/* Leaves a run of which the first of two pictures is made, as after kill -9. */
static void interrupted(void)
{
    struct record r = {0};
    struct err e = {0};
    bool complete;
    CHECK(system("rm -rf run") == 0);
    CHECK(open_run(&r, &options, false, &complete, &e));
    CHECK(record_begin(&r, &e));
    CHECK(make_cell(&r, 0, &e));
    CHECK_STR(e.message, "");
    write_file("run/images.npy", "x");
    record_close(&r);
}

static void test_goes_on(void)
{
    struct record r = {0};
    struct err e = {0};
    bool complete;
    interrupted();
    append("run/run.journal", "{\"cell\": 1, \"sha2");
    CHECK(open_run(&r, &options, true, &complete, &e));
    CHECK_STR(e.message, "");
    CHECK(!complete && record_is_resumed(&r));
    CHECK(record_cell_is_done(&r, 0) && !record_cell_is_done(&r, 1));
    CHECK_HAS(notes, "1 damaged lines");
    CHECK(record_begin(&r, &e));
    CHECK(make_cell(&r, 1, &e) && record_complete(&r, &e));
    record_close(&r);

    options.threads = 4;
    CHECK(open_run(&r, &options, true, &complete, &e));
    options.threads = 1;
    CHECK(complete);
    record_close(&r);
}

static void test_stopped(void)
{
    struct record r = {0};
    struct err e = {0};
    struct former_run f = {0};
    bool complete;
    interrupted();
    CHECK(open_run(&r, &options, true, &complete, &e));
    CHECK(record_begin(&r, &e) && record_stop(&r, &e));
    record_close(&r);
    CHECK(access("run/run.journal", F_OK) != 0);
    CHECK(former_run_open(&f, "run", &e));
    CHECK_STR(f.state, "stopped");
    CHECK_INT(f.cell_count, 2);
    CHECK_STR(f.cells[0].state, "done");
    CHECK_INT(strlen(f.cells[0].sha256), 64);
    CHECK_STR(f.cells[1].state, "planned");
    CHECK_INT(f.case_count, 2);
    CHECK_INT(strlen(former_run_weights(&f, 0, 0)), 64);
    CHECK(former_run_file(&f, "images.npy") && !former_run_file(&f, "other"));
    former_run_close(&f);
}

static void refuse(const char *message, const char *hint)
{
    struct record r = {0};
    struct err e = {0};
    bool complete;
    CHECK(!open_run(&r, &options, true, &complete, &e));
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_HAS(e.message, message);
    CHECK_HAS(e.hint, hint);
}

static void test_refusals(void)
{
    interrupted();
    options.steps = 21;
    refuse("run: found another run there: $.options.steps was number 20, now number 21",
           "same options");
    options.steps = 20;
    write_file("run/images/000_poster.png", "forged");
    refuse("run/images/000_poster.png: sha256: found ", "remove the file");
    unlink("run/images/000_poster.png");

    struct record r = {0};
    struct err e = {0};
    bool complete;
    CHECK(open_run(&r, &options, true, &complete, &e));
    CHECK(!record_cell_is_done(&r, 0));
    CHECK_HAS(notes, "1 files that were finished are gone");
    record_close(&r);
}

static void test_other_weights(void)
{
    struct record r = {0};
    struct err e = {0};
    bool complete;
    interrupted();
    CHECK(open_run(&r, &options, true, &complete, &e));
    CHECK(record_begin(&r, &e) && record_stop(&r, &e));
    record_close(&r);
    write_file("weights.bin", "WEIGHTS");
    CHECK(open_run(&r, &options, true, &complete, &e));
    CHECK(!record_begin(&r, &e));
    CHECK_HAS(e.message, "weights.bin: sha256: found ");
    record_close(&r);

    /* a network that has nothing left to do is not read */
    e = (struct err){0};
    CHECK(open_run(&r, &options, true, &complete, &e));
    record_keep_network(&r, 0);
    CHECK(record_begin(&r, &e));
    record_close(&r);
    write_file("weights.bin", "weights");
}

static void test_other_machine(void)
{
    struct record r = {0};
    struct err e = {0};
    bool complete;
    interrupted();
    CHECK(open_run(&r, &options, true, &complete, &e));
    CHECK(record_set_machine(&r, "cuda", "fp16", 1, &e));
    CHECK(record_check_machine(&r, &progress, &e));
    CHECK_HAS(notes, "bits may differ: device was cpu, now cuda; dtype was fp32");
    options.deterministic = true;
    CHECK(!record_check_machine(&r, &progress, &e));
    CHECK_INT(e.code, ERR_INPUT);
    options.deterministic = false;
    record_close(&r);
}

static void test_hostile_journals(void)
{
    static const char *const lines[] = {"{\"cell\": 99, \"sha256\": null}\n",
                                        "{\"cell\": -1}\n",
                                        "[]\n",
                                        "{}\n",
                                        "\n\n",
                                        "{\"file\": \"../../x\"}\n",
                                        "{\"case\": 5, \"outcome\": {}}\n",
                                        "\x01\n",
                                        "{\"cell\": 1, \"sha256\": \"zz\"}\n",
                                        "{\"weights\": 1e99, \"sha256\": 7}\n",
                                        "{\"weights\": 3, \"file\": 0, \"sha256\": 7}\n",
                                        "{\"weights\": 3} x\n",
                                        "{\"weights\"\n",
                                        "7\n",
                                        "{\"cell\": 1, \"pixels_sha256\": \"z\"}\n",
                                        "{\"cell\": 1, \"seconds\": -1}\n",
                                        "{\"case\": 0, \"outcome\": 5}\n",
                                        "{\"file\": \"a\", \"sha256\": \"z\"}\n",
                                        "{\"file\": 5}\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct former_run f = {0};
        struct err e = {0};
        interrupted();
        append("run/run.journal", lines[i]);
        CHECK(former_run_open(&f, "run", &e));
        CHECK(f.dropped > 0);
        CHECK_STR(f.cells[0].state, "done");
        CHECK_STR(f.cells[1].state, "planned");
        CHECK(!former_run_file(&f, "../../x"));
        CHECK_STR(former_run_weights(&f, 3, 0), "");
        former_run_close(&f);
    }
}

#define CELL "\"file\": \"images/000_a.png\", \"state\": \"done\""
#define FILES "\"files\": [\"images.npy\"]"

static void test_hostile_records(void)
{
    static const struct {
        const char *record, *message; /* NULL: it is read */
    } rows[] = {
        {"{" FILES "}", NULL},
        {"{" FILES ", \"format\": null, \"cells\": null, \"sums\": null}", NULL},
        {"[]", "$: found an array of 0, expected an object"},
        {"{}", "found no field \"files\""},
        {"{" FILES ", \"format\": 2}", "$.format: found 2, expected at most 1"},
        {"{" FILES ", \"format\": 0}", "$.format"},
        {"{" FILES ", \"state\": 1}", "$.state"},
        {"{\"files\": [\"/etc/passwd\"]}", "$.files[0]: found \"/etc/passwd\""},
        {"{\"files\": [\"a\", \"../b\"]}", "expected a path inside the directory"},
        {"{\"files\": [\"a//b\"]}", "$.files[0]"},
        {"{\"files\": [\"./b\"]}", "$.files[0]"},
        {"{\"files\": [\"\"]}", "$.files[0]"},
        {"{\"files\": [7]}", "$.files[0]: found number 7"},
        {"{\"files\": {}}", "$.files"},
        {"{" FILES ", \"cells\": {}}", "$.cells"},
        {"{" FILES ", \"cells\": [1]}", "$.cells[0]"},
        {"{" FILES ", \"cells\": [{}]}", "found no field \"file\""},
        {"{" FILES ", \"cells\": [{\"file\": \"../a\"}]}", "$.cells[0].file"},
        {"{" FILES ", \"cells\": [{\"file\": \"a\"}]}", "\"state\""},
        {"{" FILES ", \"cells\": [{" CELL ", \"sha256\": \"0\"}]}", "64 hexadecimal"},
        {"{" FILES ", \"cells\": [{" CELL ", \"sha256\": 1}]}", "cells[0].sha256"},
        {"{" FILES ", \"cells\": [{" CELL ", \"pixels_sha256\": "
         "\"000000000000000000000000000000000000000000000000000000000000000g\"}]}",
         "$.cells[0].pixels_sha256"},
        {"{" FILES ", \"cells\": [{" CELL ", \"seconds\": -1}]}", "$.cells[0].seconds"},
        {"{" FILES ", \"cases\": 5}", "$.cases"},
        {"{" FILES ", \"cases\": [\"a\", \"..\"]}", "$.cases[1]"},
        {"{" FILES ", \"optimize\": 5}", "$.optimize"},
        {"{" FILES ", \"optimize\": [5]}", "$.optimize[0]"},
        {"{" FILES ", \"optimize\": [{}]}", "\"case\""},
        {"{" FILES ", \"cases\": [\"a\", \"b\"], \"optimize\": [{\"case\": \"b\"}]}",
         NULL},
        {"{" FILES ", \"cases\": [\"a\", \"b\"], \"optimize\": [{\"case\": \"b\"}, "
         "{\"case\": \"a\"}]}",
         "$.optimize[1]: found case \"a\", expected one that is listed, in the same "
         "order"},
        {"{" FILES ", \"sums\": 5}", "$.sums"},
        {"{" FILES ", \"sums\": {\"../a\": \"\"}}", "leads outside the directory"},
        {"{" FILES ", \"sums\": {\"a\": \"00\"}}", "64 hexadecimal"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct former_run f = {0};
        struct err e = {0};
        interrupted();
        write_file("run/run.json", rows[i].record);
        bool ok = former_run_open(&f, "run", &e);
        CHECK_INT(ok, rows[i].message == NULL);
        CHECK_HAS(ok ? "" : e.message, ok ? "" : "run/run.json: $");
        CHECK_HAS(ok ? "" : e.message, ok ? "" : rows[i].message);
        CHECK(ok || (e.code == ERR_INPUT && !f.state));
        CHECK(!ok || !former_run_file(&f, "a"));
        former_run_close(&f);
    }
}

static void test_a_journal_in_the_way(void)
{
    struct journal j = {0};
    struct err e = {0};
    CHECK(system("rm -rf run && mkdir -p run/run.journal") == 0);
    CHECK(!journal_begin(&j, "run", &e));
    CHECK_INT(e.code, ERR_OUTPUT);
    CHECK_HAS(e.message, "run/run.journal: remove: Is a directory");
    journal_close(&j);
    e = (struct err){0};
    CHECK(!journal_begin(&j, "nowhere", &e));
    CHECK_HAS(e.message, "nowhere/run.journal: create: No such file");
    journal_remove(&j);
}

/* Removing follows no link, and takes what is gone for removed. */
static void test_start_over(void)
{
    struct former_run f = {0};
    struct err e = {0};
    interrupted();
    CHECK(system("mkdir outside && touch outside/x run/folder && ln -s ../outside "
                 "run/link && mkdir run/checkpoints && touch "
                 "run/checkpoints/000.safetensors.previous") == 0);
    write_file("run/run.json", "{\"cases\": [\"000\"], \"files\": [\"link/x\", \"gone\", "
                               "\"gone/y\", \"images/000_poster.png\"]}");
    CHECK(former_run_open(&f, "run", &e) && former_run_remove(&f, "run", &e));
    CHECK_STR(e.message, "");
    former_run_close(&f);
    CHECK(access("outside/x", F_OK) == 0 && access("run/folder", F_OK) == 0);
    CHECK(access("run/images", F_OK) != 0 && access("run/checkpoints", F_OK) != 0);
    CHECK(access("run/run.json", F_OK) != 0 && access("run/run.journal", F_OK) != 0);
    CHECK(former_run_open(&f, "run", &e) && former_run_remove(&f, "run", &e));
    CHECK(!f.state && !former_run_file(&f, "x"));

    /* a folder of that name cannot be removed as a file */
    interrupted();
    CHECK(system("mkdir run/d && touch run/d/x") == 0);
    write_file("run/run.json", "{\"files\": [\"d\"]}");
    CHECK(former_run_open(&f, "run", &e) && !former_run_remove(&f, "run", &e));
    CHECK_INT(e.code, ERR_OUTPUT);
    CHECK_HAS(e.message, "run/d: cannot remove: Is a directory");
    former_run_close(&f);
}

/* Locks */

static void write_lock(const char *host, long pid, const char *boot, const char *started)
{
    char text[400];
    snprintf(text, sizeof text,
             "{\"host\": \"%s\", \"pid\": %ld, \"boot\": \"%s\", \"started\": \"%s\", "
             "\"slurm_job\": \"7\", \"slurm_restarts\": 0}\n",
             host, pid, boot, started);
    write_file("run/run.lock", text);
}

static bool lock_once(struct err *e)
{
    struct lock l = {0};
    *e = (struct err){0};
    notes[0] = 0;
    bool ok = lock_take(&l, "run", &progress, e);
    lock_release(&l);
    return ok;
}

static void test_lock(void)
{
    struct lock first = {0}, second = {0};
    struct err e = {0};
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    mkdir("run", 0777);
    CHECK(lock_take(&first, "run", &progress, &e));
    CHECK(!lock_take(&second, "run", &progress, &e));
    CHECK_INT(e.code, ERR_LOCKED);
    CHECK_HAS(e.message, host);
    lock_release(&second);
    CHECK(access("run/run.lock", F_OK) == 0);
    lock_release(&first);
    CHECK(access("run/run.lock", F_OK) != 0);

    pid_t gone = fork();
    if (gone == 0)
        _exit(0);
    waitpid(gone, NULL, 0);
    write_lock(host, gone, "", "");
    CHECK(lock_once(&e));
    CHECK_HAS(notes, "that process is gone");
    write_lock(host, getpid(), "", "1"); /* the pid has come again */
    CHECK(lock_once(&e));
    write_lock(host, getpid(), "another-boot", "");
    CHECK(lock_once(&e));
    CHECK_HAS(notes, "started anew");
    char text[400]; /* of a container, where the number means another process */
    snprintf(text, sizeof text,
             "{\"host\": \"%s\", \"pid\": %ld, \"pid_namespace\": \"pid:[1]\"}\n", host,
             (long)gone);
    write_file("run/run.lock", text);
    CHECK(!lock_once(&e));
    CHECK_INT(e.code, ERR_LOCKED);
    write_lock("elsewhere", gone, "another-boot", "");
    CHECK(!lock_once(&e));
    CHECK_HAS(e.message, "elsewhere");
    setenv("SLURM_JOB_ID", "7", 1);
    CHECK(!lock_once(&e));
    setenv("SLURM_RESTART_COUNT", "1", 1);
    CHECK(lock_once(&e));
    CHECK_HAS(notes, "requeued");
    write_file("run/run.lock", "nonsense");
    CHECK(!lock_once(&e));
    CHECK_INT(e.code, ERR_LOCKED);
    unlink("run/run.lock");
}

static void test_stop(void)
{
    struct err e = {0};
    stop_install(NULL);
    CHECK(!stop_asked() && stop_check(&e));
    raise(SIGTERM);
    CHECK(stop_asked() && !stop_check(&e));
    CHECK_INT(e.code, ERR_STOPPED);
    CHECK_STR(stop_reason(), "SIGTERM");
    raise(SIGINT); /* the first of these */
    CHECK_STR(stop_reason(), "SIGINT");
    stop_request(0);
    stop_set_time_limit(1e-3);
    usleep(5000);
    CHECK_STR(stop_reason(), "--time-limit");
    CHECK(stop_check_overdue(&e)); /* patient at first */
    stop_set_patience(0.001);
    usleep(2000);
    e = (struct err){0};
    CHECK(!stop_check_overdue(&e));
    CHECK_INT(e.code, ERR_STOPPED);
    stop_set_time_limit(0);
    CHECK(!stop_asked() && stop_check_overdue(&e));
}

static int said[2];

static void say_cleaned(void)
{
    if (write(said[1], "c", 1) != 1)
        abort();
}

/* The first SIGINT asks, also after SIGTERM has; the second ends at once. */
static void test_interrupts(void)
{
    for (int earlier = 0; earlier <= SIGTERM; earlier += SIGTERM) {
        int status = 0;
        char text[4] = "";
        CHECK_INT(pipe(said), 0);
        pid_t child = fork();
        if (child == 0) {
            stop_install(say_cleaned);
            raise(earlier ? earlier : SIGUSR1);
            stop_request(earlier);
            raise(SIGINT);
            if (write(said[1], "a", 1) != 1 || strcmp(stop_reason(), "SIGINT") != 0)
                _exit(1);
            raise(SIGINT);
            _exit(2);
        }
        waitpid(child, &status, 0);
        close(said[1]);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
        CHECK_INT(read(said[0], text, 3), 2);
        CHECK_STR(text, "ac");
        close(said[0]);
    }
}

int main(void)
{
    if (!mkdtemp(folder) || chdir(folder) != 0)
        return 1;
    write_file("weights.bin", "weights");
    RUN(test_goes_on);
    RUN(test_stopped);
    RUN(test_refusals);
    RUN(test_other_weights);
    RUN(test_other_machine);
    RUN(test_hostile_journals);
    RUN(test_hostile_records);
    RUN(test_a_journal_in_the_way);
    RUN(test_start_over);
    RUN(test_lock);
    RUN(test_stop);
    RUN(test_interrupts);
    char command[300];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || CHECK_EXIT();
}
