/* pages.h: what `diffens help NAME` prints beside the help of commands: topics, and what
 * the build installs (manual page, completions). */
#ifndef DIFFENS_CLI_PAGES_H
#define DIFFENS_CLI_PAGES_H

#include "base/str.h"

struct page {
    const char *name;
    const char *summary;          /* one line of --help; NULL: for the build */
    const char *text;             /* lines of at most 79 columns; or NULL, */
    void (*add)(struct str *out); /* and this writes it */
};

extern const struct page page_table[];
extern const int page_count;

/* NULL when there is none of that name. */
const struct page *page_find(const char *name);

void page_add(struct str *out, const struct page *page);

/* src/cli/limits_page.c: the topic of that name */
void limits_add(struct str *out);

/* src/cli/manual.c: the manual page diffens(1), in the macros of man(7) */
void manual_add(struct str *out);

/* src/cli/completion.c: completions of three shells */
void completion_add_bash(struct str *out);
void completion_add_zsh(struct str *out);
void completion_add_fish(struct str *out);

#endif
