/* scheduler_config.c: a model's scheduler_config.json and the scheduler that the user
 * asks for become settings. Leaves what they do to the schedulers. */
#include "diffusion/scheduler_kind.h"

#include "base/str.h"
#include "io/file.h"
#include "io/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

enum { MAX_TRAIN_TIMESTEPS = 100000, MAX_STEPS_OFFSET = 1000 };

static const struct scheduler_kind *const kinds[] = {
    &scheduler_pndm, &scheduler_ddim, &scheduler_euler, &scheduler_euler_a,
    &scheduler_heun, &scheduler_lms,  &scheduler_dpm,   &scheduler_unipc,
};

static const char *const names[] = {
    "pndm",           "ddim",        "euler",        "euler-karras", "euler-a",
    "heun",           "heun-karras", "lms",          "lms-karras",   "dpm++2m",
    "dpm++2m-karras", "unipc",       "unipc-karras",
};

const char *const *scheduler_names(int *count)
{
    *count = COUNT(names);
    return names;
}

/* Which scheduler */

static const struct scheduler_kind *kind_of_name(const char *name, bool *karras)
{
    static const char suffix[] = "-karras";
    size_t size = strlen(name);
    *karras = str_ends_with(name, suffix);
    if (*karras)
        size -= sizeof suffix - 1;
    for (int i = 0; i < COUNT(kinds); i++)
        if (strlen(kinds[i]->name) == size && memcmp(kinds[i]->name, name, size) == 0 &&
            (!*karras || kinds[i]->has_karras))
            return kinds[i];
    return NULL;
}

const char *scheduler_config_name(const struct scheduler_config *c)
{
    bool karras;
    for (int i = 0; i < COUNT(names); i++)
        if (kind_of_name(names[i], &karras) == c->kind && karras == c->use_karras_sigmas)
            return names[i];
    return c->kind->name;
}

static void list_words(const char *const *words, int count, char *out, size_t out_size)
{
    struct str list = {0};
    for (int i = 0; i < count; i++)
        str_addf(&list, "%s%s", i == 0 ? "" : i == count - 1 ? " or " : ", ", words[i]);
    str_escape(out, out_size, str_text(&list), list.size);
    str_free(&list);
}

static bool fail_name(const char *name, struct err *e)
{
    char known[320];
    list_words(names, COUNT(names), known, sizeof known);
    return err_set(e, ERR_USAGE, "scheduler: found \"%s\", expected %s", STR_SHOW(name),
                   known);
}

static bool kind_of_file(const struct json *object, const struct scheduler_kind **kind,
                         struct err *e)
{
    const char *class_name, *classes[COUNT(kinds)];
    char known[320];
    if (!config_need_string(object, "_class_name", &class_name, e))
        return false;
    for (int i = 0; i < COUNT(kinds); i++) {
        classes[i] = kinds[i]->class_name;
        if (strcmp(class_name, classes[i]) == 0) {
            *kind = kinds[i];
            return true;
        }
    }
    list_words(classes, COUNT(kinds), known, sizeof known);
    return json_fail(json_get(object, "_class_name"), e, "found \"%s\", expected %s",
                     STR_SHOW(class_name), known);
}

/* Fields */

bool scheduler_refuse_flags(const struct json *object, const char *const *keys, int count,
                            struct err *e)
{
    for (int i = 0; i < count; i++) {
        bool set = false;
        if (!config_may_bool(object, keys[i], &set, e))
            return false;
        if (set)
            return json_fail(json_get(object, keys[i]), e,
                             "found true, expected false (not supported)");
    }
    return true;
}

bool scheduler_read_choice(const struct json *object, const char *key,
                           const char *const *words, int count, int *choice,
                           struct err *e)
{
    const char *found = NULL;
    char known[320];
    if (!config_may_string(object, key, &found, e))
        return false;
    for (int i = 0; found && i < count; i++) {
        if (strcmp(found, words[i]) == 0) {
            *choice = i;
            return true;
        }
    }
    if (!found)
        return true;
    list_words(words, count, known, sizeof known);
    return json_fail(json_get(object, key), e, "found \"%s\", expected %s",
                     STR_SHOW(found), known);
}

bool scheduler_read_final_sigma(struct scheduler_config *c, const struct json *object,
                                struct err *e)
{
    static const char *const words[] = {"zero", "sigma_min"};
    int choice = c->final_sigma_is_min;
    if (!scheduler_read_choice(object, "final_sigmas_type", words, COUNT(words), &choice,
                               e))
        return false;
    c->final_sigma_is_min = choice == 1;
    return true;
}

bool scheduler_read_solver(struct scheduler_config *c, const struct json *object,
                           const char *const types[SOLVER_TYPES], int *type,
                           struct err *e)
{
    int64_t order = c->solver_order;
    if (!config_may_int(object, "solver_order", 1, SOLVER_MAX_ORDER, &order, e) ||
        !scheduler_read_choice(object, "solver_type", types, SOLVER_TYPES, type, e) ||
        !config_may_bool(object, "lower_order_final", &c->lower_order_final, e))
        return false;
    c->solver_order = (int)order;
    return scheduler_read_final_sigma(c, object, e);
}

static bool check_beta(const struct json *value, double beta, struct err *e)
{
    if (beta > 0 && beta < 1)
        return true;
    return json_fail(value, e, "found %g, expected a number between 0 and 1", beta);
}

static bool read_beta(const struct json *object, const char *key, double *beta,
                      struct err *e)
{
    return config_may_double(object, key, -INFINITY, INFINITY, beta, e) &&
           (!config_has(object, key) || check_beta(json_get(object, key), *beta, e));
}

static bool read_trained_betas(struct scheduler_config *c, const struct json *object,
                               struct err *e)
{
    const struct json *array = NULL;
    size_t count = (size_t)c->num_train_timesteps, i = 0;
    if (!config_may_array(object, "trained_betas", count, count, &array, e))
        return false;
    if (!array)
        return true;
    c->trained_betas = malloc(count * sizeof *c->trained_betas);
    if (!c->trained_betas)
        return err_set(e, ERR_MEMORY, "out of memory for %zu betas", count);
    for (const struct json *v = array->child; v; v = v->next, i++)
        if (!config_as_double(v, -INFINITY, INFINITY, &c->trained_betas[i], e) ||
            !check_beta(v, c->trained_betas[i], e))
            return false;
    return true;
}

static bool read_betas(struct scheduler_config *c, const struct json *object,
                       struct err *e)
{
    static const char *const schedules[] = {"linear", "scaled_linear",
                                            "squaredcos_cap_v2"};
    int64_t train = c->num_train_timesteps;
    int schedule = (int)c->beta_schedule;
    if (!config_may_int(object, "num_train_timesteps", 2, MAX_TRAIN_TIMESTEPS, &train,
                        e) ||
        !read_beta(object, "beta_start", &c->beta_start, e) ||
        !read_beta(object, "beta_end", &c->beta_end, e) ||
        !scheduler_read_choice(object, "beta_schedule", schedules, COUNT(schedules),
                               &schedule, e))
        return false;
    c->num_train_timesteps = (int)train;
    c->beta_schedule = (enum beta_schedule)schedule;
    return read_trained_betas(c, object, e);
}

static bool read_common(struct scheduler_config *c, const struct json *object,
                        struct err *e)
{
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample"};
    static const char *const spacings[] = {"leading", "trailing", "linspace"};
    int prediction = (int)c->prediction_type, spacing = (int)c->timestep_spacing;
    int64_t offset = c->steps_offset;
    if (!scheduler_read_choice(object, "prediction_type", predictions,
                               c->kind->predicts_sample ? 3 : 2, &prediction, e) ||
        !scheduler_read_choice(object, "timestep_spacing", spacings, COUNT(spacings),
                               &spacing, e) ||
        !config_may_int(object, "steps_offset", 0, MAX_STEPS_OFFSET, &offset, e))
        return false;
    c->prediction_type = (enum prediction_type)prediction;
    c->timestep_spacing = (enum timestep_spacing)spacing;
    c->steps_offset = (int)offset;
    return (!c->kind->has_zero_snr || config_may_bool(object, "rescale_betas_zero_snr",
                                                      &c->rescale_betas_zero_snr, e)) &&
           (!c->kind->has_karras ||
            config_may_bool(object, "use_karras_sigmas", &c->use_karras_sigmas, e));
}

static void set_defaults(struct scheduler_config *c, const struct scheduler_kind *kind)
{
    *c = (struct scheduler_config){
        .kind = kind,
        .num_train_timesteps = 1000,
        .beta_start = 0.0001,
        .beta_end = 0.02,
        .timestep_spacing = SPACING_LINSPACE,
        .clip_sample_range = 1,
    };
    if (kind->set_defaults)
        kind->set_defaults(c);
}

/* diffusers: StableDiffusionPipeline.__init__, "steps_offset!=1" and "clip_sample not
 * set". What the file leaves out is not corrected for another class, since from_config
 * does not hand on defaults. */
static void correct(struct scheduler_config *c, const struct json *object, bool own_class)
{
    if (own_class || config_has(object, "steps_offset"))
        c->steps_offset = 1;
    if (own_class || config_has(object, "clip_sample"))
        c->clip_sample = false;
}

static bool read_object(struct scheduler_config *c, const struct json *object,
                        const char *name, struct err *e)
{
    const struct scheduler_kind *kind = NULL;
    bool karras = false;
    if (!config_as_object(object, e) || !kind_of_file(object, &kind, e))
        return false;
    if (name && !(kind = kind_of_name(name, &karras)))
        return fail_name(name, e);
    set_defaults(c, kind);
    if (!read_betas(c, object, e) || !read_common(c, object, e) ||
        (kind->read && !kind->read(c, object, e)))
        return false;
    c->use_karras_sigmas |= karras;
    if (name && kind == &scheduler_dpm)
        c->solver_order = 2;
    correct(c, object, name == NULL);
    return true;
}

/* Python's json writes -Infinity (diffusers: "lambda_min_clipped": -Infinity), which JSON
 * does not know: null, which means the default, takes its place. */
static void replace_infinity(char *text, size_t size)
{
    static const char infinity[] = "-Infinity", null[] = "null     ";
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '"')
            in_string = !in_string;
        else if (in_string && text[i] == '\\')
            i++;
        else if (!in_string && size - i >= 9 && memcmp(text + i, infinity, 9) == 0)
            memcpy(text + i, null, 9);
    }
}

bool scheduler_config_read(struct scheduler_config *c, const char *path, const char *name,
                           struct err *e)
{
    struct json_document document = {0};
    char *text = NULL;
    size_t size;
    bool ok = false;
    *c = (struct scheduler_config){0};
    if (!file_read_all(path, LIMIT_JSON_CONFIG, &text, &size, e))
        goto done;
    replace_infinity(text, size);
    ok = json_parse(&document, path, text, size, e) &&
         read_object(c, document.root, name, e);
done:
    free(text);
    json_free(&document);
    if (!ok)
        scheduler_config_free(c);
    return ok;
}

bool scheduler_config_default(struct scheduler_config *c, bool v2, const char *prediction,
                              const char *name, struct err *e)
{
    struct json_document document = {0};
    char text[400];
    *c = (struct scheduler_config){0};
    int size =
        snprintf(text, sizeof text,
                 "{\"_class_name\":\"%s\",\"beta_start\":0.00085,\"beta_end\":0.012,"
                 "\"beta_schedule\":\"scaled_linear\",\"clip_sample\":false,"
                 "\"set_alpha_to_one\":false,\"skip_prk_steps\":true,"
                 "\"steps_offset\":1,\"prediction_type\":\"%s\"}",
                 v2 ? "DDIMScheduler" : "PNDMScheduler", prediction);
    bool ok = json_parse(&document, "the default scheduler", text, (size_t)size, e) &&
              read_object(c, document.root, name, e);
    json_free(&document);
    if (!ok)
        scheduler_config_free(c);
    return ok;
}

void scheduler_config_free(struct scheduler_config *c)
{
    free(c->trained_betas);
    *c = (struct scheduler_config){0};
}
