/* report.c: the pages of the report. Leaves a case to report_case.c, settings to
 * report_making.c, looks and movement to report/style.css and report/script.js. */
#include "run/report.h"

#include "base/stop.h"
#include "run/html.h"
#include "run/report_data.h"
#include "run/report_internal.h"

#include <stdio.h>
#include <string.h>

#define PAGE_PICTURES 200 /* about: a page ends between cases */
#define PAGE_CASES 50

const char *report_page_name(int page, char name[32])
{
    if (page == 0)
        snprintf(name, 32, "report.html");
    else
        snprintf(name, 32, "report-%d.html", page + 1);
    return name;
}

bool report_flush(struct report_page *p, struct err *e)
{
    if (p->text.failed)
        return err_set(e, ERR_MEMORY, "no host memory for a report");
    bool ok = publish_write(&p->file, str_text(&p->text), p->text.size, e);
    str_clear(&p->text);
    return ok;
}

static void add_title(struct report_page *p)
{
    const struct record_state *s = p->record->state;
    str_addf(&p->text, "diffens %s: ", s->about.command);
    for (int m = 0; m < s->model_count; m++) {
        str_add(&p->text, m == 0 ? "" : m + 1 < s->model_count ? ", " : " and ");
        html_add_text(&p->text, s->model_names[m]);
    }
}

/* The page may use nothing but what is in it, whatever a text in it says. */
static void add_head(struct report_page *p)
{
    str_add(&p->text,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<link rel=\"icon\" href=\"data:,\">\n<title>");
    add_title(p);
    str_add(&p->text, "</title>\n<style>\n");
    str_add(&p->text, report_data_style);
    str_add(&p->text, "</style>\n</head>\n<body>\n<header>\n<h1>");
    add_title(p);
    str_add(&p->text, "</h1>\n");
}

static int64_t cases_per_page(const struct report *about)
{
    int64_t fit = PAGE_PICTURES / (about->parents + about->results);
    return fit < 1 ? 1 : fit > PAGE_CASES ? PAGE_CASES : fit;
}

/* The other pages: all of them while they are few, else the neighbours. */
static void add_navigation(struct report_page *p)
{
    char name[32];
    int64_t each = cases_per_page(p->about);
    if (p->count == 1)
        return;
    str_add(&p->text, "<nav aria-label=\"pages\"><ul>\n");
    for (int i = 0; i < p->count; i++) {
        int64_t last =
            (i + 1) * each < p->about->cases ? (i + 1) * each : p->about->cases;
        bool near = i >= p->number - 5 && i <= p->number + 5;
        if (p->count > 40 && !near && i != 0 && i != p->count - 1)
            continue;
        struct report_case from = {0}, to = {0};
        p->about->describe(p->about->user, i * each, &from);
        str_addf(&p->text, "<li><a href=\"%s\"%s>", report_page_name(i, name),
                 i == p->number ? " aria-current=\"page\"" : "");
        html_add_text(&p->text, from.name);
        p->about->describe(p->about->user, last - 1, &to);
        str_add(&p->text, " to ");
        html_add_text(&p->text, to.name);
        str_add(&p->text, "</a></li>\n");
    }
    str_add(&p->text, "</ul></nav>\n");
}

static void add_summary(struct report_page *p)
{
    const struct record_state *s = p->record->state;
    long long cases = p->about->cases;
    int done = 0;
    for (int i = 0; i < s->cell_count; i++)
        done += strcmp(s->cells[i].state, "done") == 0;
    str_addf(&p->text,
             "<p class=\"soft\">%lld case%s, %d of %d pictures made. "
             "<a href=\"figure.png\">Figure</a>, <a href=\"#making\">how it was "
             "made</a>. A picture links to its file.</p>\n",
             cases, cases == 1 ? "" : "s", done, s->cell_count);
}

static bool write_page(struct report_page *p, struct err *e)
{
    add_head(p);
    add_summary(p);
    add_navigation(p);
    str_add(&p->text, "</header>\n<main>\n");
    for (int64_t n = p->first; n < p->end; n++)
        if (!stop_check(e) || !report_add_case(p, n, e))
            return false;
    if (!report_add_making(p, e))
        return false;
    str_add(&p->text, "</main>\n<footer>\n");
    add_navigation(p);
    str_add(&p->text, "</footer>\n<script>\n");
    str_add(&p->text, report_data_script);
    str_add(&p->text, "</script>\n</body>\n</html>\n");
    return report_flush(p, e);
}

static int longest_side(const struct report *about)
{
    int64_t pictures = cases_per_page(about) * (about->parents + about->results);
    return pictures <= PAGE_PICTURES ? 640 : pictures <= 4 * PAGE_PICTURES ? 320 : 160;
}

bool report_write(struct record *r, const struct report *report, struct err *e)
{
    int64_t each = cases_per_page(report);
    int pages = (int)((report->cases + each - 1) / each);
    bool ok = record_await_weights(r->state, e);
    for (int page = 0; ok && page < pages; page++) {
        char name[32];
        struct report_page p = {.record = r,
                                .about = report,
                                .number = page,
                                .count = pages,
                                .first = page * each,
                                .longest_side = longest_side(report)};
        p.end = p.first + each < report->cases ? p.first + each : report->cases;
        ok = record_add_file(r, report_page_name(page, name), e) &&
             publish_begin(&p.file, record_file_path(r, name), e);
        if (!ok)
            break;
        ok = write_page(&p, e) && publish_commit(&p.file, e) &&
             record_file_done(r, name, e);
        publish_abandon(&p.file);
        str_free(&p.text);
    }
    return ok;
}
