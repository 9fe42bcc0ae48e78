/* layout_rules.c: renames, splits and reshapes the entries of a tensor file. Leaves which
 * rules there are to layout.c. */
#include "models/layout_rules.h"

#include "base/str.h"
#include "io/tensor_file_parts.h"

#include <stdlib.h>
#include <string.h>

#define MOST_NUMBERS 2

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_MEMORY, "no host memory for the names of tensors");
}

/* What follows `from` in the name, or NULL where it does not begin so; at most four
 * digits a number. */
static const char *match(const char *name, const char *from, int *numbers)
{
    for (; *from; from++) {
        if (*from != '#') {
            if (*name++ != *from)
                return NULL;
            continue;
        }
        size_t digits = strspn(name, "0123456789");
        if (digits == 0 || digits > 4)
            return NULL;
        *numbers++ = atoi(name);
        name += digits;
    }
    return *name == '\0' || *name == '.' ? name : NULL;
}

/* False for a number that has no counterpart. */
static bool recount(enum layout_count count, int n, int *numbers)
{
    int first = numbers[0];
    switch (count) {
    case COUNT_DOWN:
        numbers[0] = (first - 1) / (n + 1);
        numbers[1] = (first - 1) % (n + 1);
        return first > 0;
    case COUNT_UP:
        numbers[0] = first / (n + 1);
        numbers[1] = first % (n + 1);
        return true;
    case COUNT_MIRROR:
        numbers[0] = n - 1 - first;
        return first < n;
    default:
        return true;
    }
}

static void add_name(struct str *out, const struct layout_rule *rules, const char *name,
                     int n)
{
    for (; rules && rules->from; rules++) {
        int numbers[MOST_NUMBERS] = {0}, next = 0;
        const char *rest = match(name, rules->from, numbers);
        if (!rest || !recount(rules->count, n, numbers))
            continue;
        for (const char *to = rules->to; *to; to++) {
            if (*to == '#')
                str_addf(out, "%d", numbers[next++]);
            else
                str_add_bytes(out, to, 1);
        }
        if (*rest == '.') {
            str_add(out, ".");
            add_name(out, rules->rest, rest + 1, n);
        }
        return;
    }
    str_add(out, name);
}

bool layout_rename(struct tensor_file *t, const struct layout_rule *rules, int n,
                   struct err *e)
{
    for (size_t i = 0; i < t->count; i++) {
        struct str name = {0};
        add_name(&name, rules, t->entries[i].name, n);
        char *renamed = str_take(&name);
        if (!renamed)
            return no_memory(e);
        free(t->entries[i].name);
        t->entries[i].name = renamed;
    }
    return tensor_file_sort(t, e);
}

bool layout_keep(struct tensor_file *t, const char *prefix, bool *kept, struct err *e)
{
    size_t size = strlen(prefix), count = 0;
    *kept = false;
    for (size_t i = 0; !*kept && i < t->count; i++)
        *kept = strncmp(t->entries[i].name, prefix, size) == 0;
    if (!*kept)
        return true;
    for (size_t i = 0; i < t->count; i++) {
        struct tensor_entry *entry = &t->entries[i];
        size_t length = strlen(entry->name);
        if (strncmp(entry->name, prefix, size) != 0 || length == size) {
            free(entry->name);
            continue;
        }
        memmove(entry->name, entry->name + size, length - size + 1);
        t->entries[count++] = *entry;
    }
    t->count = count;
    return tensor_file_sort(t, e);
}

/* The third number `part` of an entry, as an entry of its own. */
static bool add_third(struct tensor_file *t, const struct tensor_entry *whole, int part,
                      const char *end, size_t *capacity, struct err *e)
{
    struct tensor_entry third = *whole;
    struct str name = {0};
    int64_t row = whole->strided ? whole->stride[0] : 1;
    for (int i = 1; !whole->strided && i < whole->rank; i++)
        row *= whole->dim[i];
    third.dim[0] /= 3;
    third.bytes /= 3;
    third.offset += (uint64_t)part * (uint64_t)third.dim[0] * (uint64_t)row *
                    file_dtype_size(whole->dtype);
    str_add_bytes(&name, whole->name, (size_t)(end - whole->name));
    str_addf(&name, ".%c_proj.%s", "qkv"[part], end + sizeof ".in_proj." - 1);
    third.name = str_take(&name);
    return third.name ? tensor_file_add_entry(t, third, capacity, e) : no_memory(e);
}

bool layout_split(struct tensor_file *t, struct err *e)
{
    size_t capacity = t->count, before = t->count, count = 0;
    for (size_t i = 0; i < before; i++) {
        struct tensor_entry whole = t->entries[i];
        const char *end = strstr(whole.name, ".in_proj.");
        if (!end || whole.rank < 1 || whole.dim[0] % 3 != 0)
            continue;
        for (int part = 0; part < 3; part++)
            if (!add_third(t, &whole, part, end, &capacity, e))
                return false;
        free(whole.name);
        t->entries[i].name = NULL;
    }
    for (size_t i = 0; i < t->count; i++)
        if (t->entries[i].name)
            t->entries[count++] = t->entries[i];
    t->count = count;
    return tensor_file_sort(t, e);
}

void layout_flatten(struct tensor_file *t, const char *part)
{
    for (size_t i = 0; i < t->count; i++) {
        struct tensor_entry *entry = &t->entries[i];
        if (entry->rank == 4 && entry->dim[2] == 1 && entry->dim[3] == 1 &&
            strstr(entry->name, part))
            entry->rank = 2;
    }
}
