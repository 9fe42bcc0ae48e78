/* ensemble_defaults.c: the options for which an ensemble has defaults of its own. Leaves
 * what their values mean, and their ranges, to the options (src/cli/tune.c). */
#include "models/ensemble_internal.h"

#include "base/str.h"
#include "io/config.h"

#include <math.h>
#include <string.h>

#define FROM_INPUT "from_input" /* of the section "optimize": with --seed input */

struct field {
    const char *name;
    bool is_text; /* else a number */
};

/* Values keep their spelling. */
static bool read_field(struct ensemble *s, const struct json *object,
                       const struct ensemble_default *of, bool is_text, struct err *e)
{
    const struct json *value = json_get(object, of->field);
    const char *text;
    double number;
    if (!value)
        return true;
    bool ok = is_text ? config_as_string(value, &text, e)
                      : config_as_double(value, 0, INFINITY, &number, e);
    if (!ok)
        return false;
    struct ensemble_default *d = &s->defaults[s->default_count];
    *d = *of;
    d->text = strndup(value->text, value->size);
    if (!d->text)
        return ensemble_no_memory(e);
    s->default_count++;
    return true;
}

/* A section that may be NULL, and may hold `inner` as well unless that is. */
static bool read_section(struct ensemble *s, const struct json *object,
                         const char *section, const struct field *fields, size_t count,
                         const char *inner, struct err *e)
{
    const char *known[ENSEMBLE_MAX_DEFAULTS + 1];
    for (size_t i = 0; i < count; i++)
        known[i] = fields[i].name;
    known[count] = inner;
    if (!object)
        return true;
    if (!config_only(object, known, count + (inner != NULL), e))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct ensemble_default of = {.section = section, .field = known[i]};
        if (!read_field(s, object, &of, fields[i].is_text, e))
            return false;
    }
    return true;
}

bool ensemble_read_defaults(struct ensemble *s, const struct json *root, struct err *e)
{
    static const struct field generate[] = {{"guidance", false},
                                            {"guidance_interval", true},
                                            {"cache_interval", false},
                                            {"scheduler", true},
                                            {"steps", false}};
    static const struct field optimize[] = {
        {"augment", true},         {"crops", true},        {"epochs", false},
        {"layer", true},           {"lr", false},          {"lr_decay", false},
        {"lr_decay_every", false}, {"clip_weight", false}, {"perceptual_weight", false},
        {"perceptual", true},      {"tv_weight", false}};
    enum {
        GENERATE_COUNT = sizeof generate / sizeof *generate,
        OPTIMIZE_COUNT = sizeof optimize / sizeof *optimize
    };
    _Static_assert(GENERATE_COUNT + 2 * OPTIMIZE_COUNT == ENSEMBLE_MAX_DEFAULTS,
                   "ensemble.h: ENSEMBLE_MAX_DEFAULTS");
    const struct json *draw = NULL, *move = NULL, *from_input = NULL;
    return config_may_object(root, "generate", &draw, e) &&
           read_section(s, draw, "generate", generate, GENERATE_COUNT, NULL, e) &&
           config_may_object(root, "optimize", &move, e) &&
           read_section(s, move, "optimize", optimize, OPTIMIZE_COUNT, FROM_INPUT, e) &&
           (!move || config_may_object(move, FROM_INPUT, &from_input, e)) &&
           read_section(s, from_input, "optimize." FROM_INPUT, optimize, OPTIMIZE_COUNT,
                        NULL, e);
}
