/* prompts_fields.c: names, negatives and seeds of the cases. Leaves the prompts
 * themselves to prompts.c. */
#include "base/str.h"
#include "io/config.h"
#include "models/prompts_internal.h"
#include "models/safe_name.h"

#include <stdlib.h>
#include <string.h>

static int name_width(int64_t cases)
{
    int width = 3;
    for (int64_t limit = 1000; limit < cases; limit *= 10)
        width++;
    return width;
}

static bool set_negative(struct prompts *p, int64_t n, const char *text, struct err *e)
{
    free(p->negative[n]);
    p->negative[n] = NULL;
    return prompts_account(p, n, "negative", strlen(text), e) &&
           ((p->negative[n] = str_dup(text)) || prompts_no_memory(e));
}

bool prompts_set_defaults(struct prompts *p, const struct prompts_source *source,
                          struct err *e)
{
    int width = name_width(p->cases);
    for (int64_t n = 0; n < p->cases; n++) {
        struct str name = {0};
        str_addf(&name, "%0*lld", width, (long long)n);
        p->names[n] = str_take(&name);
        p->seeds[n] = source->random_seed + (uint64_t)n;
        if (!p->names[n])
            return prompts_no_memory(e);
        if (!set_negative(p, n, source->negative ? source->negative : "", e))
            return false;
    }
    return true;
}

static bool replace_text(char **text, const char *by, struct err *e)
{
    free(*text);
    *text = str_dup(by);
    return *text || prompts_no_memory(e);
}

/* A field with one entry per case; *out is NULL where it is not there. */
static bool per_case_array(const struct prompts *p, const struct json *root,
                           const char *key, const struct json **out, struct err *e)
{
    *out = NULL;
    return config_may_array(root, key, (size_t)p->cases, (size_t)p->cases, out, e);
}

static bool read_negative(struct prompts *p, const struct json *root, struct err *e)
{
    const struct json *field = json_get(root, "negative");
    const char *text = NULL;
    if (!field || field->kind == JSON_NULL)
        return true;
    if (field->kind == JSON_ARRAY) {
        int64_t n = 0;
        if (!per_case_array(p, root, "negative", &field, e))
            return false;
        for (const struct json *v = field->child; v; v = v->next, n++)
            if (!prompts_read_text(v, &text, e) || !set_negative(p, n, text, e))
                return false;
        return true;
    }
    if (!prompts_read_text(field, &text, e))
        return false;
    for (int64_t n = 0; n < p->cases; n++)
        if (!set_negative(p, n, text, e))
            return false;
    return true;
}

static int by_name(const void *a, const void *b, void *names)
{
    char **all = names;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    int order = strcmp(all[i], all[j]);
    return order ? order : (i > j) - (i < j);
}

static bool check_different(const struct prompts *p, const struct json *field,
                            struct err *e)
{
    int64_t *order = calloc((size_t)p->cases, sizeof *order);
    if (!order)
        return prompts_no_memory(e);
    for (int64_t n = 0; n < p->cases; n++)
        order[n] = n;
    qsort_r(order, (size_t)p->cases, sizeof *order, by_name, p->names);
    bool ok = true;
    for (int64_t i = 1; ok && i < p->cases; i++)
        if (strcmp(p->names[order[i - 1]], p->names[order[i]]) == 0)
            ok = json_fail(
                field, e,
                "found \"%s\" at [%lld] and at [%lld], expected different names",
                STR_SHOW(p->names[order[i]]), (long long)order[i - 1],
                (long long)order[i]);
    free(order);
    return ok;
}

static bool read_names(struct prompts *p, const struct json *root, struct err *e)
{
    const struct json *field;
    const char *name;
    int64_t n = 0;
    if (!per_case_array(p, root, "names", &field, e))
        return false;
    for (const struct json *v = field ? field->child : NULL; v; v = v->next, n++) {
        if (!config_as_string(v, &name, e))
            return false;
        if (!safe_name(name))
            return json_fail(v, e, "found \"%s\", expected %s", STR_SHOW(name),
                             SAFE_NAME_RULE);
        if (!replace_text(&p->names[n], name, e))
            return false;
    }
    return !field || check_different(p, field, e);
}

static bool read_seeds(struct prompts *p, const struct json *root, struct err *e)
{
    const struct json *field;
    int64_t n = 0;
    if (!per_case_array(p, root, "seeds", &field, e))
        return false;
    for (const struct json *v = field ? field->child : NULL; v; v = v->next, n++)
        if (v->kind != JSON_NULL && !config_as_uint64(v, &p->seeds[n], e))
            return false;
    return true;
}

bool prompts_read_fields(struct prompts *p, const struct json *root, struct err *e)
{
    return read_negative(p, root, e) && read_names(p, root, e) && read_seeds(p, root, e);
}
