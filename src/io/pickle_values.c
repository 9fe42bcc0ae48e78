/* pickle_values.c: the values of a pickle: their memory, and questions about them. Leaves
 * opcodes to pickle.c. */
#include "io/pickle_internal.h"

#include "base/str.h"
#include "io/limits.h"

#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES ((size_t)64 << 10)

struct pickle_block {
    struct pickle_block *before;
    size_t size, used;
    alignas(max_align_t) unsigned char bytes[];
};

void *pickle_allocate(struct pickle *p, size_t size, struct err *e)
{
    size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    struct pickle_block *block = p->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        if (room > p->budget - p->used) {
            err_set(e, ERR_INPUT,
                    "found values of more than %zu bytes, expected at most that",
                    p->budget);
            limit_hint(LIMIT_PICKLE_VALUES, e);
            return NULL;
        }
        block = calloc(1, sizeof *block + room);
        if (!block) {
            err_set(e, ERR_MEMORY, "out of memory for %zu bytes of values", room);
            return NULL;
        }
        block->before = p->blocks;
        block->size = room;
        p->blocks = block;
        p->used += room;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

struct pickle_value *pickle_new(struct pickle *p, enum pickle_kind kind, struct err *e)
{
    struct pickle_value *value = pickle_allocate(p, sizeof *value, e);
    if (value)
        value->kind = kind;
    return value;
}

const char *pickle_copy(struct pickle *p, const void *bytes, size_t size, struct err *e)
{
    char *copy = pickle_allocate(p, size + 1, e);
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

bool pickle_append(struct pickle *p, struct pickle_value *value,
                   struct pickle_value *item, struct err *e)
{
    uint32_t count = value->count;
    if ((count & (count - 1)) == 0) {
        size_t more = count ? (size_t)count * 2 : 1;
        struct pickle_value **items = pickle_allocate(p, more * sizeof *items, e);
        if (!items)
            return false;
        if (count)
            memcpy(items, value->items, count * sizeof *items);
        value->items = items;
    }
    value->items[value->count++] = item;
    return true;
}

void pickle_free(struct pickle *p)
{
    while (p->blocks) {
        struct pickle_block *block = p->blocks;
        p->blocks = block->before;
        free(block);
    }
    *p = (struct pickle){0};
}

bool pickle_is_global(const struct pickle_value *value, const char *module,
                      const char *name)
{
    return value->kind == PICKLE_GLOBAL && strcmp(value->text, module) == 0 &&
           strcmp(value->name, name) == 0;
}

bool pickle_is_call(const struct pickle_value *value, const char *module,
                    const char *name)
{
    return value->kind == PICKLE_OBJECT &&
           pickle_is_global(value->call->callable, module, name);
}

bool pickle_is_mapping(const struct pickle_value *value)
{
    return value->kind == PICKLE_DICT || value->kind == PICKLE_OBJECT;
}

const struct pickle_value *pickle_get(const struct pickle_value *mapping, const char *key)
{
    size_t size = strlen(key);
    for (uint32_t i = mapping->count; i >= 2; i -= 2) {
        const struct pickle_value *k = mapping->items[i - 2];
        if (k->kind == PICKLE_TEXT && k->count == size && memcmp(k->text, key, size) == 0)
            return mapping->items[i - 1];
    }
    return NULL;
}

const char *pickle_describe(const struct pickle_value *value, char *out, size_t size)
{
    static const char *const words[] = {
        [PICKLE_NONE] = "None",           [PICKLE_BOOL] = "a bool",
        [PICKLE_INT] = "an integer",      [PICKLE_BIG] = "an integer beyond 64 bits",
        [PICKLE_FLOAT] = "a float",       [PICKLE_TEXT] = "a text",
        [PICKLE_BYTES] = "bytes",         [PICKLE_TUPLE] = "a tuple",
        [PICKLE_LIST] = "a list",         [PICKLE_SET] = "a set",
        [PICKLE_DICT] = "a dict",         [PICKLE_GLOBAL] = "the global",
        [PICKLE_OBJECT] = "an object of", [PICKLE_PERSISTENT] = "a persistent id",
    };
    const char *word = words[value->kind];
    const struct pickle_value *global =
        value->kind == PICKLE_OBJECT ? value->call->callable : value;
    if (value->kind == PICKLE_INT)
        snprintf(out, size, "the integer %" PRId64, value->integer);
    else if (value->kind == PICKLE_TEXT)
        snprintf(out, size, "\"%s\"", STR_SHOW(value->text));
    else if (value->kind >= PICKLE_TUPLE && value->kind <= PICKLE_DICT)
        snprintf(
            out, size, "%s of %u", word,
            (unsigned)(value->kind == PICKLE_DICT ? value->count / 2 : value->count));
    else if (global->kind == PICKLE_GLOBAL)
        snprintf(out, size, "%s %s.%s", word, STR_SHOW(global->text),
                 STR_SHOW(global->name));
    else
        snprintf(out, size, "%s%s", word,
                 value->kind == PICKLE_OBJECT ? " a computed class" : "");
    return out;
}
