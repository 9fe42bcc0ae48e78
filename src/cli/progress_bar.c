/* progress_bar.c: a report as one line of a terminal. Leaves putting it there, and taking
 * it away, to display.c. */
#include "cli/progress_text.h"

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define BAR_LEAST 10
#define BAR_MOST 30
#define PIECES 6

/* What stands right of the bar, in this order. */
struct piece {
    char text[100];
    int drop; /* where the line is too long: lower ones first; 0: it is not there */
};

static int columns_of(const char *text)
{
    int columns = 0;
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t code;
        int size = utf8_decode(text, left, &code);
        columns += size ? utf8proc_charwidth((utf8proc_int32_t)code) : 1;
        text += size ? size : 1;
        left -= (size_t)(size ? size : 1);
    }
    return columns;
}

/* Adds what fits into `columns`; in ASCII, ? for all else. Returns the columns taken. */
static int add_cut(struct str *out, const char *text, int columns, bool utf8)
{
    int used = 0;
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t code;
        int size = utf8_decode(text, left, &code);
        bool plain = size == 1 || (size > 0 && utf8);
        int wide = plain ? utf8proc_charwidth((utf8proc_int32_t)code) : 1;
        if (used + wide > columns)
            break;
        str_add_bytes(out, plain ? text : "?", plain ? (size_t)size : 1);
        used += wide;
        text += size ? size : 1;
        left -= (size_t)(size ? size : 1);
    }
    return used;
}

static void set_rate(struct piece *piece, const struct progress_at *at, double rate)
{
    *piece = (struct piece){.drop = rate > 0 ? 3 : 0};
    if (rate >= 1 || rate <= 0)
        snprintf(piece->text, sizeof piece->text, "%.3g %s/s", rate,
                 at->unit ? at->unit : "");
    else /* "12.5 s/image" */
        snprintf(piece->text, sizeof piece->text, "%.3g s/%.*s", 1 / rate,
                 (int)strlen(at->unit) - 1, at->unit);
}

static void choose_pieces(struct piece pieces[PIECES], const struct progress_at *at,
                          const struct pace *p)
{
    char time[32];
    bool epochs = at->unit && strcmp(at->unit, "epochs") == 0;
    double left = pace_left(p);
    pieces[0] = (struct piece){.drop = 7};
    snprintf(pieces[0].text, sizeof pieces[0].text, "%3.0f %%", 100 * p->part);
    pieces[1] = (struct piece){.drop = at->steps > 0 ? 4 : 0};
    snprintf(pieces[1].text, sizeof pieces[1].text, "%s %lld/%lld",
             epochs ? "epoch" : "step", (long long)at->step, (long long)at->steps);
    pieces[2] = (struct piece){.drop = at->detail ? 2 : 0};
    snprintf(pieces[2].text, sizeof pieces[2].text, "%s",
             at->detail ? STR_SHOW(at->detail) : "");
    set_rate(&pieces[3], at, pace_rate(p, at));
    pieces[4] = (struct piece){.drop = left >= 0 ? 6 : 0};
    snprintf(pieces[4].text, sizeof pieces[4].text, "%s left",
             progress_duration(left, time));
    pieces[5] = (struct piece){.drop = at->memory > 0 ? 1 : 0};
    snprintf(pieces[5].text, sizeof pieces[5].text, "%.1f GB", (double)at->memory / 1e9);
}

static int columns_of_pieces(const struct piece pieces[PIECES])
{
    int columns = 0;
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].drop)
            columns += 2 + columns_of(pieces[i].text);
    return columns;
}

/* Removes the piece that is missed least; false when none is left. */
static bool drop_one(struct piece pieces[PIECES])
{
    int least = -1;
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].drop && (least < 0 || pieces[i].drop < pieces[least].drop))
            least = i;
    if (least >= 0)
        pieces[least].drop = 0;
    return least >= 0;
}

static void add_fill(struct str *out, double part, int columns,
                     const struct bar_style *style)
{
    int inner = style->utf8 ? columns : columns - 2;
    int full = (int)(part * inner + 0.5);
    str_add(out, style->color ? "\033[36m" : "");
    str_add(out, style->utf8 ? "" : "[");
    for (int i = 0; i < inner; i++) {
        if (i == full && style->color)
            str_add(out, "\033[2m");
        str_add(out, i < full ? style->utf8 ? "━" : "#" : style->utf8 ? "─" : "-");
    }
    str_add(out, style->utf8 ? "" : "]");
    str_add(out, style->color ? "\033[0m" : "");
}

/* "generate poster 003 +3" */
static void add_head(struct str *out, const struct progress_at *at)
{
    str_add(out, at->stage);
    if (at->model)
        str_addf(out, " %s", STR_SHOW(at->model));
    if (at->cell)
        str_addf(out, " %s", STR_SHOW(at->cell));
    if (at->cells > 1)
        str_addf(out, " +%lld", (long long)at->cells - 1);
}

int progress_add_bar(struct str *out, const struct progress_at *at, const struct pace *p,
                     const struct bar_style *style)
{
    struct piece pieces[PIECES];
    struct str head = {0};
    int most = style->columns > 1 ? style->columns - 1 : 1, used;
    add_head(&head, at);
    choose_pieces(pieces, at, p);
    int wide = columns_of(str_text(&head));
    while (wide + 1 + BAR_LEAST + columns_of_pieces(pieces) > most)
        if (!drop_one(pieces))
            break;
    int bar = most - wide - 1 - columns_of_pieces(pieces);
    bar = bar > BAR_MOST ? BAR_MOST : bar;
    used = add_cut(out, str_text(&head), most, style->utf8);
    if (bar >= BAR_LEAST) {
        str_add(out, " ");
        add_fill(out, p->part, bar, style);
        used += 1 + bar;
    }
    for (int i = 0; i < PIECES; i++) {
        if (!pieces[i].drop)
            continue;
        str_add(out, "  ");
        used += 2 + add_cut(out, pieces[i].text, most - used - 2, style->utf8);
    }
    str_free(&head);
    return used;
}
