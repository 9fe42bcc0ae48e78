/* report_internal.h: what the parts of the report share. */
#ifndef DIFFENS_RUN_REPORT_INTERNAL_H
#define DIFFENS_RUN_REPORT_INTERNAL_H

#include "io/publish.h"
#include "run/record_internal.h"
#include "run/report.h"

/* One page on its way. Markup gathers in `text` and is written out now and then. */
struct report_page {
    struct publish file;
    struct str text;
    const struct record *record;
    const struct report *about;
    int number, count;  /* from 0 */
    int64_t first, end; /* its cases */
    int longest_side;   /* of embedded pictures, pixels */
};

/* Writes out what has gathered. */
bool report_flush(struct report_page *p, struct err *e);

/* One case: its pictures and its charts. */
bool report_add_case(struct report_page *p, int64_t n, struct err *e);

/* How the run was made: command line, settings, models. */
bool report_add_making(struct report_page *p, struct err *e);

/* Appends a data: URL of the picture in a PNG file. */
bool report_add_picture_url(struct str *out, const char *path, int longest_side,
                            struct err *e);

#endif
