/* test_report.c: pages of a report, tables of losses, charts, text in HTML. */
#include "run/html.h"
#include "run/loss_charts.h"
#include "run/report.h"

#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/diffens-report-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *read_text(const char *name)
{
    static char text[1 << 20];
    FILE *file = fopen(path_of(name), "r");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[size] = '\0';
    return text;
}

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    fputs(text, file);
    fclose(file);
}

static void test_html(void)
{
    struct str s = {0};
    html_add_text(&s, "<a href=\"x\">'&\x1b\xff\xe2\x80\xae\xc3\xa9");
    CHECK_STR(str_text(&s), "&#60;a href=&#34;x&#34;&#62;&#39;&#38;\xEF\xBF\xBD"
                            "\xEF\xBF\xBD\xEF\xBF\xBD\xc3\xa9");
    str_clear(&s);
    html_add_url(&s, "images/a b\"%\xc3\xa9.png");
    CHECK_STR(str_text(&s), "images/a%20b%22%25%C3%A9.png");
    str_clear(&s);
    html_add_base64(&s, "Man", 3);
    html_add_base64(&s, "Ma", 2);
    html_add_base64(&s, "\xff\xfe", 1);
    CHECK_STR(str_text(&s), "TWFuTWE=/w==");
    str_free(&s);
}

static void test_loss_table(void)
{
    struct loss_table t = {0};
    struct err e = {0};
    write_text("t.csv", "epoch,rate,total,\"clip_a,\"\"b\"\n0,1,4,0.5\n1,1,2,nan\n");
    CHECK(loss_table_read(&t, path_of("t.csv"), &e));
    CHECK_INT(t.points, 2);
    CHECK_INT(t.columns, 4);
    CHECK_STR(t.name[3], "clip_a,\"b");
    CHECK_INT(loss_table_column(&t, "total"), 2);
    CHECK_INT(loss_table_column(&t, "missing"), -1);
    CHECK(t.value[2][1] == 2 && isnan(t.value[3][1]));
    loss_table_free(&t);

    FILE *file = fopen(path_of("t.csv"), "w");
    fputs("epoch,total\n", file);
    for (int i = 0; i < 5000; i++)
        fprintf(file, "%d,%d\n", i, 2 * i);
    fclose(file);
    CHECK(loss_table_read(&t, path_of("t.csv"), &e));
    CHECK_INT(t.rows, 5000);
    CHECK(t.points > LOSS_TABLE_POINTS / 2 && t.points <= LOSS_TABLE_POINTS);
    for (int i = 0; i < t.points; i++)
        CHECK(t.value[1][i] == 2 * t.value[0][i]);
    CHECK(t.value[0][t.points - 1] > 4980);
    loss_table_free(&t);

    static const char *const wrong[] = {"epoch,total\n1\n", "epoch,total\n1,x\n",
                                        "epoch,total\n1,2z\n"};
    for (int i = 0; i < 3; i++) {
        write_text("t.csv", wrong[i]);
        e = (struct err){0};
        CHECK(!loss_table_read(&t, path_of("t.csv"), &e));
        CHECK_HAS(e.message, "t.csv: row 1");
    }
}

static void test_long_lines_of_losses(void)
{
    for (int more = 0; more < 2; more++) {
        struct loss_table t = {0};
        struct err e = {0};
        FILE *file = fopen(path_of("t.csv"), "w");
        fprintf(file, "epoch,total\n1,%0*d\n2,5", 64 * 1024 - 2 + more, 7);
        fclose(file);
        CHECK_INT(loss_table_read(&t, path_of("t.csv"), &e), !more);
        if (more)
            CHECK_HAS(e.message, "t.csv: line 2: found more than 65536 bytes");
        else
            CHECK(t.rows == 2 && t.value[1][0] == 7 && t.value[1][1] == 5);
        loss_table_free(&t);
    }
}

static void test_charts(void)
{
    static const char *const names[] = {"<b>", "other"};
    struct loss_levels levels = {.totals = 1,
                                 .total = {{"blend", 7}},
                                 .clip = {0.5, 0.25},
                                 .perceptual = {0.5, 0.25}};
    struct loss_table t = {0};
    struct chart charts[LOSS_CHARTS];
    struct image page = {0};
    struct str svg = {0};
    struct err e = {0};
    const struct text_style style = {.size = 14};
    write_text("t.csv",
               "epoch,rate,total,clip_<b>,clip_other\n0,1,4,0.5,1\n5,1,2,0.1,2\n");
    CHECK(loss_table_read(&t, path_of("t.csv"), &e));
    loss_charts_make(charts, &t, &levels, 2, names);
    CHECK_INT(charts[0].count, 2);
    CHECK_INT(charts[1].count, 4);
    struct chart_range r = chart_range_of(&charts[0]);
    CHECK(r.x_low == 0 && r.x_high == 5 && r.y_low <= 2 && r.y_high >= 7);
    chart_add_svg(&svg, &charts[1]);
    CHECK_HAS(str_text(&svg), "&#60;b&#62;, pixel average");
    CHECK(!strstr(str_text(&svg), "<b>"));
    CHECK(image_new(&page, 400, 300, &e));
    memset(page.rgb, 255, 400 * 300 * 3);
    CHECK(chart_draw(&charts[1], &page, 0, 0, 400, 300, &style, &e));
    int inked = 0;
    for (int i = 0; i < 400 * 300 * 3; i++)
        inked += page.rgb[i] != 255;
    CHECK(inked > 2000);
    image_free(&page);
    str_free(&svg);
    loss_table_free(&t);
}

/* A run of pictures that are all the same */

#define CASES 60

static void write_settings(struct json_writer *w, const struct options *o)
{
    json_write_open_object(w);
    json_write_key(w, "steps");
    json_write_int(w, o->steps);
    json_write_close(w);
}

static int cell_at(const void *user, int64_t n, int i)
{
    (void)user;
    return (int)(2 * n) + i;
}

static char *names[CASES];

static void describe(void *user, int64_t n, struct report_case *out)
{
    (void)user;
    *out = (struct report_case){.name = names[n], .prompt = "</section><script>"};
}

static int add_cells(struct record *r, int64_t n, struct err *e)
{
    struct record_parent parent = {
        .model = "poster", .prompt = "a <b>", .seed = 7, .weight = 1};
    char file[64];
    snprintf(file, sizeof file, "images/%s.png", names[n]);
    struct record_cell cell = {.case_name = names[n],
                               .file = file,
                               .height = 2,
                               .width = 3,
                               .parent_count = 1,
                               .parents = &parent};
    int first = record_add_cell(r, &cell, e);
    snprintf(file, sizeof file, "blend/%s.png", names[n]);
    cell.layer = "postquant";
    record_add_cell(r, &cell, e);
    return first;
}

static int count(const char *text, const char *part)
{
    int found = 0;
    for (const char *c = text; (c = strstr(c, part)); c += strlen(part))
        found++;
    return found;
}

static void test_pages(void)
{
    const struct options options = {.command = COMMAND_BLEND, .steps = 9};
    const struct record_about about = {.command = "blend",
                                       .options = &options,
                                       .write_options = write_settings,
                                       .command_line = "diffens blend --prompt '<i>'",
                                       .write_settings = write_settings,
                                       .libtorch = "2"};
    const struct report report = {.cases = CASES,
                                  .parents = 1,
                                  .results = 1,
                                  .cell = cell_at,
                                  .describe = describe};
    static const char *const models[] = {"poster"};
    uint8_t rgb[18] = {0};
    struct image picture = {.width = 3, .height = 2, .rgb = rgb};
    struct record r = {0};
    struct err e = {0};
    CHECK(record_open(&r, folder, &about, &e));
    record_set_axes(&r, CASES, names, 1, models);
    for (int64_t n = 0; n < CASES; n++)
        CHECK_INT(add_cells(&r, n, &e), 2 * n);
    CHECK(record_begin(&r, &e));
    for (int cell = 0; cell < 2 * CASES - 1; cell++)
        CHECK(image_write_png(&picture, record_cell_path(&r, cell), NULL, 0, &e) &&
              record_cell_done(&r, cell, NULL, 0, &e));
    record_cell_failed(&r, 2 * CASES - 1, "nonfinite");
    CHECK(report_write(&r, &report, &e));
    CHECK_STR(e.message, "");

    const char *page = read_text("report.html");
    CHECK_INT(count(page, "<section class=\"case\""), 51);
    CHECK_INT(count(page, "<script>"), 1);
    CHECK_INT(count(page, "src=\"data:image/png;base64,"), 100);
    CHECK_HAS(page, "c050 to c059");
    CHECK_HAS(page, "--prompt &#39;&#60;i&#62;&#39;");
    CHECK_HAS(page, "a &#60;b&#62;");
    CHECK_HAS(page, "119 of 120 pictures");
    CHECK_HAS(page, "<th scope=\"row\">steps</th><td>9</td>");
    page = read_text("report-2.html");
    CHECK_INT(count(page, "<section class=\"case\""), 11);
    CHECK_HAS(page, "not made: nonfinite");
    CHECK(record_complete(&r, &e));
    CHECK_HAS(read_text("run.json"), "report-2.html");
    record_close(&r);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    for (int n = 0; n < CASES; n++) {
        char name[16];
        snprintf(name, sizeof name, "c%03d", n);
        names[n] = str_dup(name);
    }
    RUN(test_html);
    RUN(test_loss_table);
    RUN(test_long_lines_of_losses);
    RUN(test_charts);
    RUN(test_pages);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command) != 0)
        return 1;
    for (int n = 0; n < CASES; n++)
        free(names[n]);
    return CHECK_EXIT();
}
