/* layout_rules.h: renaming by table: what the layouts share. */
#ifndef DIFFENS_LAYOUT_RULES_H
#define DIFFENS_LAYOUT_RULES_H

#include "diffens/tensor_file.h"

/* How the numbers of a name are counted anew. */
enum layout_count {
    COUNT_SAME,
    COUNT_DOWN,   /* input block i -> level (i-1)/(n+1), layer (i-1)%(n+1) */
    COUNT_UP,     /* output block i -> block i/(n+1), layer i%(n+1) */
    COUNT_MIRROR, /* level i -> block n-1-i; a second number stays */
};

/* A name that begins with `from`, up to a dot or its end, begins with `to` instead; `#`
 * stands for a number in both. What follows goes through the rules of `rest`. */
struct layout_rule {
    const char *from, *to;
    const struct layout_rule *rest; /* NULL: it stays as it is */
    enum layout_count count;
};

/* Renames every entry by the first rule that fits; `rules` end with a NULL. `n` is that
 * of enum layout_count. Sorts the entries. */
bool layout_rename(struct tensor_file *t, const struct layout_rule *rules, int n,
                   struct err *e);

/* Where some names begin with `prefix`, keeps only those, without it: *kept says so. */
bool layout_keep(struct tensor_file *t, const char *prefix, bool *kept, struct err *e);

/* Splits the entries whose names end with `.in_proj.` and `weight` or `bias` into thirds
 * along the first dimension: `.q_proj.`, `.k_proj.`, `.v_proj.` (torch:
 * MultiheadAttention) */
bool layout_split(struct tensor_file *t, struct err *e);

/* Drops the last two dimensions of 1 of the entries of rank 4 that have `part` in their
 * names: a 1x1 convolution becomes a dense layer. */
void layout_flatten(struct tensor_file *t, const char *part);

#endif
