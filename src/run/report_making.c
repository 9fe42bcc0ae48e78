/* report_making.c: the part of the report that says how the run was made. */
#include "run/report_internal.h"

#include "io/json.h"
#include "run/html.h"

#include <stdlib.h>
#include <string.h>

static void add_value(struct str *out, const struct json *value)
{
    if (value->kind == JSON_BOOL)
        str_add(out, value->truth ? "yes" : "no");
    else if (value->kind == JSON_STRING)
        html_add_text(out, value->text);
    else if (value->kind == JSON_NUMBER)
        str_add_bytes(out, value->text, value->size);
    for (const struct json *v = value->child; v; v = v->next) {
        str_add(out, v == value->child ? "" : v->child ? "; " : ", ");
        add_value(out, v);
    }
}

static void add_row(struct str *out, const char *name, const char *value)
{
    if (!value)
        return;
    str_addf(out, "<tr><th scope=\"row\">%s</th><td>", name);
    html_add_text(out, value);
    str_add(out, "</td></tr>\n");
}

static bool add_settings(struct str *out, const struct record_state *s, struct err *e)
{
    struct json_document d = {0};
    struct str json = {0};
    s->about.write_settings(&(struct json_writer){.out = &json}, s->about.options);
    bool ok = json.failed ? err_set(e, ERR_MEMORY, "no host memory for a report")
                          : json_parse(&d, "settings", str_text(&json), json.size, e);
    str_free(&json);
    if (!ok)
        return false;
    str_add(out, "<details open><summary>Settings</summary>\n<table>\n");
    for (const struct json *v = d.root->child; v; v = v->next) {
        if (v->kind == JSON_NULL || (v->kind == JSON_BOOL && !v->truth) ||
            (v->kind == JSON_ARRAY && v->size == 0) ||
            (v->kind == JSON_STRING && v->size == 0))
            continue;
        str_add(out, "<tr><th scope=\"row\">");
        html_add_text(out, v->key);
        str_add(out, "</th><td>");
        add_value(out, v);
        str_add(out, "</td></tr>\n");
    }
    add_row(out, "version", "diffens " DIFFENS_VERSION);
    add_row(out, "libtorch", s->about.libtorch);
    add_row(out, "computed on", s->device);
    add_row(out, "precision", s->dtype);
    str_add(out, "</table></details>\n");
    json_free(&d);
    return true;
}

static void add_network(struct str *out, const struct network_entry *n)
{
    for (int i = 0; i < n->file_count; i++) {
        str_add(out, "<tr><td>");
        html_add_text(out, n->role);
        if (strcmp(n->role, n->name) != 0) {
            str_add(out, " ");
            html_add_text(out, n->name);
        }
        str_add(out, "</td><td>");
        html_add_text(out, n->files[i].inside);
        str_addf(out, "</td><td class=\"hash\">%s</td></tr>\n", n->files[i].sha256);
    }
}

static void add_networks(struct str *out, const struct record_state *s)
{
    if (s->network_count == 0)
        return;
    str_add(out, "<details open><summary>Models");
    if (s->about.ensemble) {
        str_add(out, " of ");
        html_add_text(out, s->about.ensemble);
    }
    str_add(out,
            "</summary>\n<table>\n<thead><tr><th scope=\"col\">network</th>"
            "<th scope=\"col\">file</th><th scope=\"col\">SHA-256</th></tr></thead>\n");
    for (int i = 0; i < s->network_count; i++)
        add_network(out, &s->networks[i]);
    str_add(out, "</table></details>\n");
}

bool report_add_making(struct report_page *p, struct err *e)
{
    const struct record_state *s = p->record->state;
    str_add(&p->text,
            "<section class=\"case\" id=\"making\">\n<h2>How it was made</h2>\n");
    if (s->about.command_line) {
        str_add(&p->text, "<p>The same command makes the same pictures:</p>\n"
                          "<pre class=\"command\" tabindex=\"0\" "
                          "aria-label=\"command line\">");
        html_add_text(&p->text, s->about.command_line);
        str_add(&p->text, "</pre>\n");
    }
    if (s->about.write_settings && !add_settings(&p->text, s, e))
        return false;
    add_networks(&p->text, s);
    str_add(&p->text,
            "<p>All of it, for programs: <a href=\"run.json\">run.json</a>.</p>\n"
            "</section>\n");
    return report_flush(p, e);
}
