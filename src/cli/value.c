/* value.c: from the text of a value to the field of struct options. Leaves messages to
 * parse.c, and what goes together with what to check.c. */
#include "cli/value.h"

#include "base/utf8.h"
#include "diffens/optimize.h"
#include "io/limits.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_NUMBER 64
#define LONGEST_TEXT 65536

bool value_digits(const char *text, size_t length, uint64_t *out)
{
    uint64_t value = 0;
    if (length == 0)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static size_t count_digits(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && text[n] >= '0' && text[n] <= '9')
        n++;
    return n;
}

static bool looks_like_number(const char *text, size_t length)
{
    size_t at = length > 0 && text[0] == '-';
    size_t whole = count_digits(text + at, length - at);
    at += whole;
    size_t fraction = 0;
    if (at < length && text[at] == '.') {
        at++;
        fraction = count_digits(text + at, length - at);
        at += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (at < length && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        at += at < length && (text[at] == '-' || text[at] == '+');
        size_t exponent = count_digits(text + at, length - at);
        if (exponent == 0)
            return false;
        at += exponent;
    }
    return at == length;
}

bool value_number(const char *text, size_t length, double *out)
{
    char copy[LONGEST_NUMBER + 1];
    if (length > LONGEST_NUMBER || !looks_like_number(text, length))
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    /* strtod() alone would want a comma where the user's locale has one */
    locale_t c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!c)
        return false;
    *out = strtod_l(copy, NULL, c);
    freelocale(c);
    return isfinite(*out);
}

static bool number_within(const struct option *option, const char *text, size_t length,
                          double *out)
{
    /* -0 would make names and records that differ from those of 0 */
    if (!value_number(text, length, out))
        return false;
    *out = *out == 0 ? 0 : *out;
    return *out >= option->min && *out <= option->max;
}

static bool integer_within(const struct option *option, const char *text, size_t length,
                           int *out)
{
    uint64_t value;
    if (!value_digits(text, length, &value) || (double)value < option->min ||
        (double)value > option->max)
        return false;
    *out = (int)value;
    return true;
}

/* Takes the next item of a list off *at; false past the end. */
static bool next_item(const char **at, char separator, const char **item, size_t *length)
{
    if (!*at)
        return false;
    const char *end = strchr(*at, separator);
    *item = *at;
    *length = end ? (size_t)(end - *at) : strlen(*at);
    *at = end ? end + 1 : NULL;
    return true;
}

static int choice_index(const struct option *option, const char *text, size_t length)
{
    const char *word;
    size_t word_length;
    for (int i = 0; (word_length = option_choice(option, i, &word)) > 0; i++)
        if (word_length == length && memcmp(word, text, length) == 0)
            return i;
    return -1;
}

static bool read_size(const struct option *option, const char *text,
                      struct option_size *out)
{
    const char *cross = strchr(text, 'x');
    struct option_size size;
    if (!cross || !integer_within(option, text, (size_t)(cross - text), &size.height) ||
        !integer_within(option, cross + 1, strlen(cross + 1), &size.width) ||
        size.height % option->multiple || size.width % option->multiple)
        return false;
    *out = size;
    return true;
}

static enum value_result read_names(const struct option *option, const char *text,
                                    struct option_names *out)
{
    const char *item;
    size_t length;
    while (next_item(&text, ',', &item, &length)) {
        if (length == 0 || out->count >= (int)option->max ||
            !utf8_valid(item, length, NULL))
            return VALUE_WRONG;
        for (int i = 0; i < out->count; i++)
            if (strlen(out->name[i]) == length && memcmp(out->name[i], item, length) == 0)
                return VALUE_WRONG;
        out->name[out->count] = strndup(item, length);
        if (!out->name[out->count])
            return VALUE_NO_MEMORY;
        out->count++;
    }
    return out->count >= (int)option->min ? VALUE_OK : VALUE_WRONG;
}

static enum value_result read_limits(const char *text, struct option_names *out)
{
    const char *item;
    size_t length;
    enum limit limit, other;
    uint64_t value, other_value;
    while (next_item(&text, ',', &item, &length)) {
        bool known = false;
        if (!limit_parse(item, length, &limit, &value))
            return VALUE_WRONG;
        for (int i = 0; i < out->count; i++) {
            const char *before = out->name[i];
            if (!limit_parse(before, strlen(before), &other, &other_value) ||
                other != limit)
                continue;
            if (other_value != value)
                return VALUE_WRONG;
            known = true;
        }
        if (known)
            continue;
        out->name[out->count] = strndup(item, length);
        if (!out->name[out->count])
            return VALUE_NO_MEMORY;
        out->count++;
    }
    return VALUE_OK;
}

_Static_assert(LIMIT_COUNT <= OPTIONS_MAX_MODELS, "options.h: struct option_names");

static bool read_interval(const struct option *option, const char *text,
                          struct option_interval *out)
{
    const char *colon = strchr(text, ':');
    struct option_interval interval;
    if (!colon || !number_within(option, text, (size_t)(colon - text), &interval.from) ||
        !number_within(option, colon + 1, strlen(colon + 1), &interval.to) ||
        interval.from > interval.to)
        return false;
    *out = interval;
    return true;
}

static bool add_gamma(struct option_numbers *out, double value)
{
    if (out->count >= OPTIONS_MAX_GAMMAS)
        return false;
    for (int i = 0; i < out->count; i++)
        if (out->value[i] == value)
            return false;
    out->value[out->count++] = value;
    return true;
}

static bool read_range(const struct option *option, const char *text,
                       struct option_numbers *out)
{
    const char *item;
    size_t length;
    double start, stop;
    uint64_t count;
    if (!next_item(&text, ':', &item, &length) ||
        !number_within(option, item, length, &start) ||
        !next_item(&text, ':', &item, &length) ||
        !number_within(option, item, length, &stop) ||
        !next_item(&text, ':', &item, &length) || !value_digits(item, length, &count) ||
        text || count < 1 || count > OPTIONS_MAX_GAMMAS)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        double part = count > 1 ? (double)i / (double)(count - 1) : 0;
        if (!add_gamma(out, part == 1 ? stop : start + (stop - start) * part))
            return false;
    }
    return true;
}

static bool read_gamma(const struct option *option, const char *text,
                       struct option_numbers *out)
{
    struct option_numbers numbers = {0};
    const char *item;
    size_t length;
    double value;
    if (strchr(text, ':')) {
        if (!read_range(option, text, &numbers))
            return false;
        *out = numbers;
        return true;
    }
    while (next_item(&text, ',', &item, &length))
        if (!number_within(option, item, length, &value) || !add_gamma(&numbers, value))
            return false;
    *out = numbers;
    return true;
}

static bool equal_weights(const struct option_weights *a, const struct option_weights *b)
{
    if (a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (a->value[i] != b->value[i])
            return false;
    return true;
}

static bool read_weights(const struct option *option, const char *text,
                         struct option_weight_sets *out)
{
    struct option_weights weights = {0};
    const char *item;
    size_t length;
    double sum = 0;
    while (next_item(&text, ',', &item, &length)) {
        if (weights.count >= OPTIONS_MAX_MODELS ||
            !number_within(option, item, length, &weights.value[weights.count]))
            return false;
        sum += weights.value[weights.count++];
    }
    if (sum <= 0 || out->count >= OPTIONS_MAX_WEIGHTS)
        return false;
    for (int i = 0; i < out->count; i++)
        if (equal_weights(&out->set[i], &weights))
            return true;
    out->set[out->count++] = weights;
    return true;
}

static bool read_set(const struct option *option, const char *text, unsigned *out)
{
    const char *item;
    size_t length;
    unsigned set = 0;
    if (strcmp(text, "all") == 0) {
        for (int i = 0; option_choice(option, i, &item) > 0; i++)
            set |= 1u << i;
        *out = set;
        return true;
    }
    if (option->min == 0 && strcmp(text, "none") == 0) {
        *out = 0;
        return true;
    }
    while (next_item(&text, ',', &item, &length)) {
        int index = choice_index(option, item, length);
        if (index < 0)
            return false;
        set |= 1u << index;
    }
    *out = set;
    return true;
}

static bool read_shard(const struct option *option, const char *text,
                       struct option_shard *out)
{
    const char *slash = strchr(text, '/');
    struct option_shard shard = {.automatic = strcmp(text, "auto") == 0};
    if (!shard.automatic &&
        (!slash || !integer_within(option, text, (size_t)(slash - text), &shard.index) ||
         !integer_within(option, slash + 1, strlen(slash + 1), &shard.count) ||
         shard.index >= shard.count))
        return false;
    *out = shard;
    return true;
}

static bool read_choice(const struct option *option, const char *text, int *out)
{
    int index = choice_index(option, text, strlen(text));
    if (index >= 0)
        *out = index;
    return index >= 0;
}

static bool read_integer(const struct option *option, const char *text, int *out)
{
    if (option->automatic && strcmp(text, "auto") == 0) {
        *out = 0;
        return true;
    }
    return integer_within(option, text, strlen(text), out);
}

static bool read_text(const struct option *option, const char *text, const char **out)
{
    size_t length = strlen(text);
    bool ok = false;
    if (option->kind == OPTION_WORD)
        ok = choice_index(option, text, length) >= 0;
    else if (option->kind == OPTION_PATH)
        ok = length > 0;
    else
        ok = length <= LONGEST_TEXT && utf8_valid(text, length, NULL);
    if (ok)
        *out = text;
    return ok;
}

static bool read_crops(const char *text, const char **out)
{
    struct crop_spec spec;
    struct err ignored = {0};
    bool ok = crop_spec_parse(&spec, text, &ignored);
    if (ok)
        *out = text;
    return ok;
}

enum value_result value_read(const struct option *option, const char *text,
                             struct options *o)
{
    void *field = (char *)o + option->offset;
    bool ok = true;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        break;
    case OPTION_TEXT:
    case OPTION_PATH:
    case OPTION_WORD:
        ok = read_text(option, text, field);
        break;
    case OPTION_INTEGER:
        ok = read_integer(option, text, field);
        break;
    case OPTION_SEED:
        ok = value_digits(text, strlen(text), field);
        break;
    case OPTION_REAL:
        ok = number_within(option, text, strlen(text), field);
        break;
    case OPTION_CHOICE:
        ok = read_choice(option, text, field);
        break;
    case OPTION_SIZE:
        ok = read_size(option, text, field);
        break;
    case OPTION_NAMES:
        return read_names(option, text, field);
    case OPTION_LIMITS:
        return read_limits(text, field);
    case OPTION_INTERVAL:
        ok = read_interval(option, text, field);
        break;
    case OPTION_GAMMA:
        ok = read_gamma(option, text, field);
        break;
    case OPTION_WEIGHTS:
        ok = read_weights(option, text, field);
        break;
    case OPTION_SET:
        ok = read_set(option, text, field);
        break;
    case OPTION_SHARD:
        ok = read_shard(option, text, field);
        break;
    case OPTION_CROPS:
        ok = read_crops(text, field);
        break;
    }
    return ok ? VALUE_OK : VALUE_WRONG;
}
