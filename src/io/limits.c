/* limits.c: the table of limits. Leaves refusing to the readers. */
#include "io/limits.h"

#include "base/checked.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

const struct limit_row limit_table[LIMIT_COUNT] = {
    [LIMIT_SAFETENSORS_HEADER] = {"safetensors-header", 16 * MIB, 4 * GIB, true,
                                  "header of a safetensors file"},
    [LIMIT_TENSORS] = {"tensors", 200000, INT32_MAX, false, "tensors of a network"},
    [LIMIT_TENSOR_NAME] = {"tensor-name", KIB, MIB, true, "name of a tensor"},
    [LIMIT_TENSOR_BYTES] = {"tensor", 8 * GIB, KIB *GIB, true, "one tensor"},
    [LIMIT_TENSOR_TEXTS] = {"metadata", 10000, INT32_MAX, false,
                            "texts beside the tensors of a file"},
    [LIMIT_SHARDS] = {"shards", 256, 10000, false, "files that an index names"},
    [LIMIT_SHARD_INDEX] = {"shard-index", 16 * MIB, 4 * GIB, true, "such an index"},
    [LIMIT_PICKLE_BYTES] = {"pickle", 64 * MIB, GIB, true, "pickles of a PyTorch file"},
    [LIMIT_PICKLE_VALUES] = {"pickle-values", 256 * MIB, 64 * GIB, true,
                             "values of a pickle in memory; unless raised,\n"
                             "also 48 MiB + 3 times the pickle"},
    [LIMIT_PICKLE_OPCODES] = {"pickle-opcodes", 10000000, INT32_MAX, false,
                              "opcodes of a pickle"},
    [LIMIT_PICKLE_STACK] = {"pickle-stack", 100000, INT32_MAX, false,
                            "values on a pickle's stack"},
    [LIMIT_PICKLE_MEMO] = {"pickle-memo", 1000000, INT32_MAX, false,
                           "values that a pickle numbers"},
    [LIMIT_ZIP_ENTRIES] = {"zip-entries", 100000, INT32_MAX, false,
                           "entries of a PyTorch archive"},
    [LIMIT_ZIP_DIRECTORY] = {"zip-directory", 32 * MIB, 4 * GIB, true,
                             "directory of a PyTorch archive"},
    [LIMIT_JSON_CONFIG] = {"config", MIB, GIB, true,
                           "config.json and its like, SHA256SUMS"},
    [LIMIT_JSON_PROMPTS] = {"prompts", 16 * MIB, GIB, true,
                            "file of prompts, vocabulary"},
    [LIMIT_JSON_RECORD] = {"record", GIB, 16 * GIB, true, "record of a run"},
    [LIMIT_JSON_VALUES] = {"json-values", 500000, INT32_MAX, false,
                           "values of a JSON file; or one for 16 bytes\n"
                           "of a large one"},
    [LIMIT_CASES] = {"cases", 100000, 10000000, false, "cases of a run"},
    [LIMIT_PROMPT] = {"prompt", 64 * KIB, 16 * MIB, true,
                      "one prompt, its template applied"},
    [LIMIT_PROMPT_TEXTS] = {"prompt-texts", 256 * MIB, 64 * GIB, true,
                            "all prompts of a run, templates applied"},
    [LIMIT_IMAGE_FILE] = {"image-file", 256 * MIB, 2 * GIB - 1, true, "PNG or JPEG file"},
    [LIMIT_IMAGE_SIDE] = {"image-side", 16384, 1000000, false,
                          "width and height of a picture in pixels"},
    [LIMIT_IMAGE_PIXELS] = {"image-pixels", 64 * MIB, 256 * MIB, false,
                            "pixels of a picture"},
};

/* What --limit has set; 0 elsewhere. */
static uint64_t chosen[LIMIT_COUNT];

uint64_t limit_of(enum limit limit)
{
    return chosen[limit] ? chosen[limit] : limit_table[limit].initial;
}

void limit_set(enum limit limit, uint64_t value)
{
    chosen[limit] = value;
}

static bool read_unit(const char *text, size_t length, uint64_t *unit)
{
    static const struct {
        const char *name;
        uint64_t size;
    } units[] = {{"", 1},      {"B", 1},         {"K", KIB},        {"KiB", KIB},
                 {"M", MIB},   {"MiB", MIB},     {"G", GIB},        {"GiB", GIB},
                 {"kB", 1000}, {"KB", 1000},     {"MB", 1000000},   {"GB", 1000000000},
                 {"k", KIB},   {"T", KIB * GIB}, {"TiB", KIB * GIB}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].name) == length && memcmp(units[i].name, text, length) == 0) {
            *unit = units[i].size;
            return true;
        }
    return false;
}

static bool read_size(const char *text, size_t length, uint64_t *value)
{
    size_t digits = 0;
    uint64_t unit;
    *value = 0;
    for (; digits < length && text[digits] >= '0' && text[digits] <= '9'; digits++)
        if (!checked_mul_u64(*value, 10, value) ||
            !checked_add_u64(*value, (uint64_t)(text[digits] - '0'), value))
            return false;
    return digits > 0 && read_unit(text + digits, length - digits, &unit) &&
           checked_mul_u64(*value, unit, value);
}

bool limit_parse(const char *text, size_t length, enum limit *limit, uint64_t *value)
{
    const char *equals = memchr(text, '=', length);
    size_t name = equals ? (size_t)(equals - text) : 0;
    for (int i = 0; equals && i < LIMIT_COUNT; i++) {
        const struct limit_row *row = &limit_table[i];
        if (strlen(row->name) != name || memcmp(row->name, text, name) != 0)
            continue;
        *limit = (enum limit)i;
        return read_size(equals + 1, length - name - 1, value) && *value >= 1 &&
               *value <= row->most;
    }
    return false;
}

bool limit_hint(enum limit limit, struct err *e)
{
    return err_hint(e, "--limit %s=... raises this limit; diffens help limits says more",
                    limit_table[limit].name);
}

const char *limit_show(const struct limit_row *row, uint64_t value, char *out,
                       size_t out_size)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    while (row->bytes && unit < 4 && value % KIB == 0) {
        value /= KIB;
        unit++;
    }
    snprintf(out, out_size, "%" PRIu64 "%s", value, units[unit]);
    return out;
}
