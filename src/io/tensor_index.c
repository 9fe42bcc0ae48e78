/* tensor_index.c: the shards that a .safetensors.index.json or .bin.index.json names.
 * Leaves each shard to the reader of its format. */
#include "io/tensor_file_parts.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"

#include <stdlib.h>
#include <string.h>

/* Files that the index names, each once, in the order of first use. */
struct shards {
    const char **name;
    int count, most;
};

static int find_shard(const struct shards *s, const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->name[i], name) == 0)
            return i;
    return -1;
}

static bool collect(struct shards *s, const struct json *map, struct err *e)
{
    for (const struct json *m = map->child; m; m = m->next) {
        const char *name;
        if (!config_as_file_name(m, &name, e))
            return false;
        if (find_shard(s, name) >= 0)
            continue;
        if (!str_ends_with(name, ".safetensors") && !str_ends_with(name, ".bin"))
            return json_fail(m, e, "found \"%s\", expected a .safetensors or .bin file",
                             STR_SHOW(name));
        if (s->count == s->most) {
            json_fail(map, e, "found more than %d shards, expected at most that",
                      s->most);
            return limit_hint(LIMIT_SHARDS, e);
        }
        s->name[s->count++] = name;
    }
    return s->count > 0 || json_fail(map, e, "found no tensors, expected some");
}

static bool append_shards(struct tensor_file *t, const struct shards *s,
                          const char *index_path, struct err *e)
{
    size_t directory_size = (size_t)(str_file_name(index_path) - index_path);
    for (int i = 0; i < s->count; i++) {
        struct str path = {0};
        str_add_bytes(&path, index_path, directory_size);
        str_add(&path, s->name[i]);
        bool ok = path.failed ? err_set(e, ERR_MEMORY, "out of memory for a path")
                              : tensor_file_append(t, str_text(&path), e);
        str_free(&path);
        if (!ok)
            return false;
    }
    return true;
}

static bool check_map(const struct tensor_file *t, const struct shards *s,
                      const struct json *map, struct err *e)
{
    for (const struct json *m = map->child; m; m = m->next) {
        const struct tensor_entry *entry = tensor_file_find(t, m->key);
        if (!entry)
            return json_fail(m, e, "found no such tensor in \"%s\", expected one",
                             STR_SHOW(m->text));
        if (entry->part != find_shard(s, m->text))
            return json_fail(m, e, "found the tensor in \"%s\", expected it in \"%s\"",
                             STR_SHOW(s->name[entry->part]), STR_SHOW(m->text));
    }
    return true;
}

bool tensor_index_is(const char *path)
{
    return str_ends_with(path, ".json") && strstr(str_file_name(path), ".index.");
}

bool tensor_index_append(struct tensor_file *t, const char *path, struct err *e)
{
    struct json_document d = {0};
    struct shards shards = {.most = (int)limit_of(LIMIT_SHARDS)};
    const struct json *map;
    shards.name = calloc((size_t)shards.most, sizeof *shards.name);
    if (!shards.name)
        return err_set(e, ERR_MEMORY, "out of memory for the names of shards");
    bool ok = json_read(&d, path, LIMIT_SHARD_INDEX, e) &&
              config_need_object(d.root, "weight_map", &map, e) &&
              collect(&shards, map, e) && append_shards(t, &shards, path, e) &&
              tensor_file_sort(t, e) && check_map(t, &shards, map, e);
    json_free(&d);
    free(shards.name);
    return ok;
}
