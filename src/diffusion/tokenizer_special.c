/* tokenizer_special.c: special and added tokens as a tokenizer's directory declares them.
 * Leaves matching them in text to tokenizer.c. */
#include "diffusion/tokenizer_special.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_ADDED_ID = (1 << 20) - 1,
    CLIP_MAX_LENGTH = 77,
    MAX_MAX_LENGTH = 4096,
};

/* The JSON files of one directory; absent ones have a NULL root. */
struct sources {
    const char *directory;
    const struct json *whole; /* tokenizer.json, or NULL */
    struct json_document config, map, added;
};

static bool read_optional(struct json_document *d, const char *directory,
                          const char *name, struct err *e)
{
    char *path = str_path(directory, name);
    if (!path)
        return err_set(e, ERR_MEMORY, "out of memory");
    bool ok = access(path, F_OK) != 0 ||
              (json_read(d, path, LIMIT_JSON_CONFIG, e) && config_as_object(d->root, e));
    free(path);
    return ok;
}

static struct special_token *find(const struct special_tokens *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->tokens[i].name, name) == 0)
            return &s->tokens[i];
    return NULL;
}

/* Declares a token; a later declaration of the same name replaces the earlier one
 * (tokenizers: AddedVocabulary::add_tokens). */
static bool declare(struct special_tokens *s, const char *name, int32_t id,
                    bool normalized, struct err *e)
{
    struct special_token *token = find(s, name);
    if (!token) {
        struct special_token *grown = realloc(s->tokens, (s->count + 1) * sizeof *grown);
        if (!grown)
            return err_set(e, ERR_MEMORY, "out of memory");
        s->tokens = grown;
        token = &s->tokens[s->count];
        *token = (struct special_token){.name = str_dup(name), .size = strlen(name)};
        if (!token->name)
            return err_set(e, ERR_MEMORY, "out of memory");
        s->count++;
        if (!text_normalize(&token->normal, name, token->size, e))
            return false;
    }
    token->id = id;
    token->normalized = normalized;
    return true;
}

/* Flags of an object {"content": ..., "normalized": ...}. */
static bool read_flags(const struct json *value, bool *normalized, struct err *e)
{
    static const char *const refused[] = {"lstrip", "rstrip", "single_word"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        bool set = false;
        if (!config_may_bool(value, refused[i], &set, e))
            return false;
        if (set)
            return json_fail(json_get(value, refused[i]), e,
                             "found true, expected false");
    }
    return config_may_bool(value, "normalized", normalized, e);
}

/* An added token: known to the vocabulary by its name, or with an id of its own. */
static bool declare_added(struct special_tokens *s, const struct bpe *b,
                          const struct json *value, const char *name, int64_t id,
                          bool normalized, struct err *e)
{
    int32_t known = bpe_find(b, name, strlen(name));
    if (*name == 0)
        return json_fail(value, e, "found an empty token, expected a name");
    if (known < 0 && id < b->token_count && b->tokens[id].name)
        return json_fail(value, e, "found id %d, which is \"%s\", expected a free one",
                         (int)id, STR_SHOW(b->tokens[id].name));
    return declare(s, name, known < 0 ? (int32_t)id : known, normalized, e);
}

/* {"content": ..., "normalized": ...}, of that id */
static bool read_described(struct special_tokens *s, const struct bpe *b,
                           const struct json *value, int64_t id, struct err *e)
{
    const char *name;
    bool normalized = true;
    return config_need_string(value, "content", &name, e) &&
           read_flags(value, &normalized, e) &&
           declare_added(s, b, value, name, id, normalized, e);
}

/* tokenizer_config.json: "added_tokens_decoder": {"49406": {"content": ...}, ...} */
static bool read_decoder(struct special_tokens *s, const struct bpe *b,
                         const struct json *decoder, struct err *e)
{
    for (const struct json *value = decoder->child; value; value = value->next) {
        char *end;
        long id = strtol(value->key, &end, 10);
        if (*value->key == 0 || *end != 0 || id < 0 || id > MAX_ADDED_ID)
            return json_fail(value, e, "found key \"%s\", expected an integer 0..%d",
                             STR_SHOW(value->key), MAX_ADDED_ID);
        if (!read_described(s, b, value, id, e))
            return false;
    }
    return true;
}

/* tokenizer.json: "added_tokens": [{"id": 49406, "content": ...}, ...] */
static bool read_list(struct special_tokens *s, const struct bpe *b,
                      const struct json *whole, struct err *e)
{
    const struct json *list;
    int64_t id;
    if (!config_need_array(whole, "added_tokens", 0, BPE_MAX_TOKENS, &list, e))
        return false;
    for (const struct json *value = list->child; value; value = value->next)
        if (!config_as_object(value, e) ||
            !config_need_int(value, "id", 0, MAX_ADDED_ID, &id, e) ||
            !read_described(s, b, value, id, e))
            return false;
    return true;
}

/* added_tokens.json: {"<name>": 49408, ...} */
static bool read_added(struct special_tokens *s, const struct bpe *b,
                       const struct json *added, struct err *e)
{
    for (const struct json *value = added->child; value; value = value->next) {
        int64_t id;
        if (!config_as_int(value, 0, MAX_ADDED_ID, &id, e) ||
            !declare_added(s, b, value, value->key, id, true, e))
            return false;
    }
    return true;
}

/* One of bos_token and its like: a string, or an object as above. *id is -1 where nothing
 * is said and the vocabulary lacks `otherwise`. */
static bool read_role(struct special_tokens *s, const struct bpe *b,
                      const struct json *object, const char *role, const char *otherwise,
                      int32_t *id, struct err *e)
{
    const char *name = otherwise;
    bool normalized = false;
    const struct json *value = NULL;
    if (object && config_has(object, role)) {
        value = json_get(object, role);
        if (value->kind == JSON_OBJECT) {
            if (!config_need_string(value, "content", &name, e) ||
                !read_flags(value, &normalized, e))
                return false;
        } else if (!config_as_string(value, &name, e)) {
            return false;
        }
    }
    const struct special_token *known = find(s, name);
    *id = known ? known->id : bpe_find(b, name, strlen(name));
    if (*id < 0 && value)
        return json_fail(value, e, "found \"%s\", expected a token of vocab.json",
                         STR_SHOW(name));
    if (*id < 0)
        return true;
    /* What the list of added tokens says about a token stands. */
    if (known && known < s->tokens + s->added)
        return true;
    return declare(s, name, *id, normalized, e);
}

static bool read_max_length(struct special_tokens *s, const struct json *config,
                            struct err *e)
{
    double length = CLIP_MAX_LENGTH;
    if (config && !config_may_double(config, "model_max_length", 2, INFINITY, &length, e))
        return false;
    /* transformers writes 10^30 where there is no limit. */
    if (length > 1e15)
        length = CLIP_MAX_LENGTH;
    if (length > MAX_MAX_LENGTH || length != floor(length))
        return json_fail(json_get(config, "model_max_length"), e,
                         "found %g, expected an integer 2..%d", length, MAX_MAX_LENGTH);
    s->max_length = (int)length;
    return true;
}

/* The map belongs to the older layout, in which it has the last word; the newer one has
 * everything in tokenizer_config.json (transformers: PreTrainedTokenizerBase.
 * _from_pretrained). */
static bool read_sources(struct special_tokens *s, const struct bpe *b,
                         const struct sources *from, struct err *e)
{
    static const char begin[] = "<|startoftext|>", end[] = "<|endoftext|>";
    const struct json *config = from->config.root, *map = from->map.root;
    const struct json *decoder = NULL;
    if (config && !config_may_object(config, "added_tokens_decoder", &decoder, e))
        return false;
    if (decoder       ? !read_decoder(s, b, decoder, e)
        : from->whole ? !read_list(s, b, from->whole, e)
                      : from->added.root && !read_added(s, b, from->added.root, e))
        return false;
    s->added = s->count;
    struct {
        const char *name, *otherwise;
        int32_t *id;
    } roles[] = {{"bos_token", begin, &s->begin},
                 {"eos_token", end, &s->end},
                 {"unk_token", end, &s->unknown},
                 {"pad_token", end, &s->pad}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        bool mapped = !decoder && map && config_has(map, roles[i].name);
        if (!read_role(s, b, mapped ? map : config, roles[i].name, roles[i].otherwise,
                       roles[i].id, e))
            return false;
        if (*roles[i].id < 0)
            return err_set(e, ERR_INPUT,
                           "%s/vocab.json: found no token \"%s\", expected one",
                           STR_SHOW(from->directory), roles[i].otherwise);
    }
    return read_max_length(s, config, e);
}

bool special_tokens_read(struct special_tokens *s, const struct bpe *b,
                         const char *directory, const struct json *whole, struct err *e)
{
    struct sources from = {.directory = directory, .whole = whole};
    bool ok = read_optional(&from.config, directory, "tokenizer_config.json", e) &&
              read_optional(&from.map, directory, "special_tokens_map.json", e) &&
              read_optional(&from.added, directory, "added_tokens.json", e) &&
              read_sources(s, b, &from, e);
    json_free(&from.config);
    json_free(&from.map);
    json_free(&from.added);
    return ok;
}

void special_tokens_free(struct special_tokens *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->tokens[i].name);
        text_free(&s->tokens[i].normal);
    }
    free(s->tokens);
    *s = (struct special_tokens){0};
}
