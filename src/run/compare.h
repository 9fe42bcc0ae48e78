/* compare.h: the differences of two records that decide what a run makes. */
#ifndef DIFFENS_RUN_COMPARE_H
#define DIFFENS_RUN_COMPARE_H

#include "base/str.h"
#include "io/json.h"

#define COMPARE_SHOWN 4 /* differences that are named */

/* Start with `may_change` and `words`; the caller frees `differences`. */
struct comparison {
    bool (*may_change)(const char *option); /* NULL: no option may */
    const char *words[2];   /* before what was found and what is now: " was ", ", now " */
    struct str differences; /* "$.options.steps was number 4, now number 5; ..." */
    int count;
};

/* Whether a member of a record says what became of things, or may change without changing
 * the pictures. */
bool compare_is_free(const struct comparison *c, const struct json *member);

/* Adds the differences between the members of that name. */
void compare_member(struct comparison *c, const struct json *found,
                    const struct json *now, const char *key);

#endif
