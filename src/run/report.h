/* report.h: report.html, the run as a page that opens without a network. Leaves what a
 * case consists of to the caller. */
#ifndef DIFFENS_RUN_REPORT_H
#define DIFFENS_RUN_REPORT_H

#include "run/loss_charts.h"
#include "run/record.h"

/* What a case has beside its pictures. Texts belong to the caller. */
struct report_case {
    const char *name;
    const char *prompt; /* as it was given; NULL: there is none */
    const char *losses; /* file inside the run directory; NULL: none */
    const char *animations[LAYER_COUNT]; /* files of its rows of results; NULL: none */
};

struct report {
    int64_t cases;
    int parents, results; /* pictures of a case */
    /* The record's cell of picture `i` of case `n`: parents, then results. */
    int (*cell)(const void *user, int64_t n, int i);
    void (*describe)(void *user, int64_t n, struct report_case *out);
    /* Of cases with losses. ERR_MEMORY. */
    bool (*levels)(void *user, int64_t n, struct loss_levels *out, struct err *e);
    void *user;
};

/* "report.html", "report-2.html", ... Returns `name`. */
const char *report_page_name(int page, char name[32]);

/* Publishes the pages in the record's directory and adds them to its files. Pictures are
 * read one at a time and become part of the page: small ones as they are, others as JPEG;
 * a page has about 200 of them. Waits for the hashes of the weights. */
bool report_write(struct record *r, const struct report *report, struct err *e);

#endif
