/* compare.c: walks two records. Leaves what to do about differences to the caller. */
#include "run/compare.h"

#include <string.h>

static void note_difference(struct comparison *c, const struct json *place,
                            const struct json *found, const struct json *now)
{
    char before[80], after[80];
    if (c->count++ >= COMPARE_SHOWN)
        return;
    str_add(&c->differences, c->count > 1 ? "; " : "");
    json_add_path(&c->differences, place);
    str_addf(&c->differences, "%s%s%s%s", c->words[0],
             found ? json_describe(found, before, sizeof before) : "not there",
             c->words[1], now ? json_describe(now, after, sizeof after) : "not there");
}

bool compare_is_free(const struct comparison *c, const struct json *member)
{
    static const char *const results[] = {"state", "sha256", "pixels_sha256", "seconds"};
    const struct json *parent = member->parent;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (strcmp(member->key, results[i]) == 0)
            return true;
    bool option = parent->key && strcmp(parent->key, "options") == 0;
    return option && c->may_change && c->may_change(member->key);
}

static bool same_text(const struct json *a, const struct json *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

static void compare(struct comparison *c, const struct json *found,
                    const struct json *now);

static void compare_objects(struct comparison *c, const struct json *found,
                            const struct json *now)
{
    for (const struct json *v = now->child; v; v = v->next) {
        const struct json *other = json_get(found, v->key);
        if (compare_is_free(c, v))
            continue;
        if (other)
            compare(c, other, v);
        else
            note_difference(c, v, NULL, v);
    }
    for (const struct json *v = found->child; v; v = v->next)
        if (!compare_is_free(c, v) && !json_get(now, v->key))
            note_difference(c, v, v, NULL);
}

/* As deep as documents are: JSON_SCAN_DEPTH. */
static void compare(struct comparison *c, const struct json *found,
                    const struct json *now)
{
    const struct json *a = found->child, *b = now->child;
    bool differ = found->kind != now->kind;
    if (!differ && now->kind == JSON_OBJECT) {
        compare_objects(c, found, now);
        return;
    }
    if (!differ && now->kind == JSON_ARRAY) {
        for (; a && b; a = a->next, b = b->next)
            compare(c, a, b);
        differ = a || b;
    } else if (!differ && now->kind == JSON_BOOL) {
        differ = found->truth != now->truth;
    } else if (!differ && now->kind != JSON_NULL) {
        differ = !same_text(found, now);
    }
    if (differ)
        note_difference(c, now, found, now);
}

void compare_member(struct comparison *c, const struct json *found,
                    const struct json *now, const char *key)
{
    const struct json *a = json_get(found, key), *b = json_get(now, key);
    if (a && b)
        compare(c, a, b);
    else if (a || b)
        note_difference(c, a ? a : b, a, b);
}
