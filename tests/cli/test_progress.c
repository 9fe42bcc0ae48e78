/* test_progress.c: how long a stage takes, and how a report looks as text. */
#include "cli/progress_text.h"

#include "base/utf8.h"
#include "io/json.h"

#include "check.h"

#include <math.h>
#include <string.h>

static struct progress_at step_of(const char *model, int64_t step, int64_t done)
{
    return (struct progress_at){.stage = "generate",
                                .model = model,
                                .cell = "000",
                                .step = step,
                                .steps = 10,
                                .done = done,
                                .total = 4,
                                .unit = "images",
                                .units = 1};
}

static void report(struct pace *p, const char *model, int64_t step, int64_t done,
                   double now)
{
    struct progress_at at = step_of(model, step, done);
    pace_update(p, &at, now);
}

static void test_pace(void)
{
    struct pace p = {0};
    report(&p, "a", 0, 0, 100); /* loading takes 50 s, a step 1 s */
    CHECK(pace_left(&p) < 0);
    for (int i = 1; i <= 5; i++)
        report(&p, "a", i, 0, 149 + i);
    struct progress_at at = step_of("a", 5, 0);
    CHECK(fabs(pace_left(&p) - 35) < 1e-6);
    CHECK(fabs(pace_rate(&p, &at) - 0.1) < 1e-6);

    report(&p, "a", 6, 0, 5000); /* the lid was closed */
    CHECK(fabs(pace_left(&p) - 34) < 1e-6);

    report(&p, "b", 0, 2, 5001); /* as fast as the one before, until more is known */
    CHECK(fabs(pace_left(&p) - 20) < 1e-6);
    report(&p, "b", 1, 2, 5010);
    report(&p, "b", 2, 2, 5012); /* it is slower */
    CHECK(fabs(pace_left(&p) - 36) < 1e-6);

    struct progress_at other = {.stage = "blend", .done = 0, .total = 4};
    CHECK(pace_update(&p, &other, 5013)); /* tells nothing about this one */
    CHECK(pace_left(&p) < 0);
    other.done = 1;
    CHECK(!pace_update(&p, &other, 5014));
    CHECK(fabs(pace_left(&p) - 3) < 1e-6);
    other.done = 4;
    pace_update(&p, &other, 5017);
    CHECK(pace_left(&p) == 0);

    struct pace batch = {0};
    at = step_of("a", 1, 0);
    at.cells = 4;
    pace_update(&batch, &at, 1);
    at.step = 5;
    pace_update(&batch, &at, 5);
    CHECK(fabs(batch.part - 0.5) < 1e-6);
    CHECK(fabs(pace_left(&batch) - 5) < 1e-6);
}

/* Code points, but for what stands between ESC and m. */
static int visible_columns(const char *text)
{
    int columns = 0;
    while (*text) {
        uint32_t code;
        int size = utf8_decode(text, strlen(text), &code);
        CHECK(size > 0);
        if (code == 033) {
            text = strchr(text, 'm') + 1;
            continue;
        }
        columns += code >= 0x3000 && code < 0xa000 ? 2 : 1; /* as terminals do */
        text += size;
    }
    return columns;
}

static void test_bar(void)
{
    struct pace p = {0};
    struct progress_at at = step_of("poster", 2, 1);
    struct str line = {0};
    pace_update(&p, &at, 1);
    at.step = 4;
    at.memory = 3000000000;
    at.detail = "loss 0.5";
    pace_update(&p, &at, 3);
    struct bar_style style = {.columns = 100};
    progress_add_bar(&line, &at, &p, &style);
    CHECK_STR(str_text(&line), "generate poster 000 [######------------]   35 %  step "
                               "4/10  loss 0.5  10 s/image  "
                               "0:26 left  3.0 GB");
    str_clear(&line);
    style.utf8 = true;
    style.columns = 80;
    progress_add_bar(&line, &at, &p, &style);
    CHECK_STR(str_text(&line), "generate poster 000 ━━━━━━────────────   35 %  step 4/10 "
                               " 10 s/image  0:26 left");
    str_clear(&line);
    style.columns = 41;
    progress_add_bar(&line, &at, &p, &style);
    CHECK_STR(str_text(&line), "generate poster 000 ━━━━━────────   35 %");
    str_free(&line);
}

/* The last column stays free at any width, whatever the names are. */
static void test_widths(void)
{
    static const char *const names[] = {"poster", "浮世絵師の作品", "a\"b\\c", ""};
    for (int width = 1; width < 240; width++) {
        for (int i = 0; i < 16; i++) {
            struct pace p = {0};
            struct str line = {0};
            struct progress_at at = step_of(names[i / 4], 4, 1);
            at.cells = 7;
            pace_update(&p, &at, 3);
            const struct bar_style style = {width, i & 1, i & 2};
            int columns = progress_add_bar(&line, &at, &p, &style);
            CHECK_INT(columns, visible_columns(str_text(&line)));
            CHECK(columns < width || width == 1);
            CHECK(!strpbrk(str_text(&line), "\r\n"));
            CHECK((i & 2) || !strchr(str_text(&line), 033));
            str_free(&line);
        }
    }
}

static void test_lines(void)
{
    struct pace p = {0};
    struct progress_at at = step_of("poster", 2, 1);
    struct str line = {0};
    at.cells = 2;
    pace_update(&p, &at, 1);
    at.step = 4;
    pace_update(&p, &at, 3);
    progress_add_plain(&line, &at, &p);
    CHECK_STR(str_text(&line),
              "generate: model poster, case 000 and 1 more, step 4/10; 1 of 4 done, 0.2 "
              "images/s, 0:03 passed, 0:11 left");
    str_clear(&line);
    struct progress_at bare = {.stage = "blend", .done = 0, .total = 4};
    p = (struct pace){0};
    pace_update(&p, &bare, 7000);
    progress_add_plain(&line, &bare, &p);
    CHECK_STR(str_text(&line), "blend: 0 of 4 done, 1:56:40 passed");
    str_clear(&line);

    struct json_document d = {0};
    struct err e = {0};
    progress_add_json(&line, &bare, &p);
    CHECK(json_parse(&d, "line", str_text(&line), line.size, &e));
    CHECK_STR(e.message, "");
    CHECK_STR(json_get(d.root, "stage")->text, "blend");
    CHECK_INT(json_get(d.root, "model")->kind, JSON_NULL);
    CHECK_INT(json_get(d.root, "seconds_left")->kind, JSON_NULL);
    json_free(&d);
    str_free(&line);
}

int main(void)
{
    RUN(test_pace);
    RUN(test_bar);
    RUN(test_widths);
    RUN(test_lines);
    return CHECK_EXIT();
}
