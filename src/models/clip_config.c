/* clip_config.c: the settings of a CLIP image encoder, from the JSON files of a Hugging
 * Face directory. Leaves JSON's rules to io/config.h. */
#include "models/clip.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define WIDTH_MAX 65536
#define SIDE_MAX 4096

/* The object that describes the vision tower. */
static bool find_tower(const struct json *root, const struct json **tower, struct err *e)
{
    const char *type = "clip_vision_model";
    *tower = root;
    if (!config_as_object(root, e) || !config_may_string(root, "model_type", &type, e))
        return false;
    if (strcmp(type, "clip") == 0)
        return config_need_object(root, "vision_config", tower, e);
    return strcmp(type, "clip_vision_model") == 0 ||
           json_fail(json_get(root, "model_type"), e,
                     "found \"%s\", expected clip or clip_vision_model", STR_SHOW(type));
}

static bool read_activation(const struct json *tower, enum nn_activation *out,
                            struct err *e)
{
    const char *name = "quick_gelu";
    if (!config_may_string(tower, "hidden_act", &name, e))
        return false;
    *out = strcmp(name, "gelu") == 0 ? NN_GELU : NN_QUICK_GELU;
    return *out == NN_GELU || strcmp(name, "quick_gelu") == 0 ||
           json_fail(json_get(tower, "hidden_act"), e,
                     "found \"%s\", expected quick_gelu or gelu", STR_SHOW(name));
}

static bool read_tower(const struct json *o, struct clip_vision_config *c, struct err *e)
{
    int64_t channels = 3;
    return config_may_int(o, "hidden_size", 1, WIDTH_MAX, &c->hidden_size, e) &&
           config_may_int(o, "intermediate_size", 1, WIDTH_MAX, &c->intermediate_size,
                          e) &&
           config_may_int(o, "num_hidden_layers", 1, 256, &c->num_hidden_layers, e) &&
           config_may_int(o, "num_attention_heads", 1, 1024, &c->num_attention_heads,
                          e) &&
           config_may_int(o, "image_size", 1, SIDE_MAX, &c->image_size, e) &&
           config_may_int(o, "patch_size", 1, SIDE_MAX, &c->patch_size, e) &&
           config_may_int(o, "num_channels", 3, 3, &channels, e) &&
           config_may_double(o, "layer_norm_eps", 0, 1, &c->layer_norm_eps, e) &&
           read_activation(o, &c->hidden_act, e);
}

static bool check_divides(const struct json *o, const char *key, int64_t divisor,
                          const char *of, int64_t number, struct err *e)
{
    return number % divisor == 0 ||
           json_fail(o, e, "%s: found %lld, expected a divisor of %s %lld", key,
                     (long long)divisor, of, (long long)number);
}

bool clip_vision_config_read(const char *path, struct clip_vision_config *c,
                             struct err *e)
{
    *c = (struct clip_vision_config){.hidden_size = 768,
                                     .intermediate_size = 3072,
                                     .num_hidden_layers = 12,
                                     .num_attention_heads = 12,
                                     .image_size = 224,
                                     .patch_size = 32,
                                     .projection_dim = 512,
                                     .layer_norm_eps = 1e-5};
    struct json_document d = {0};
    const struct json *tower = NULL;
    /* A CLIPModel's own projection_dim counts, not its tower's (transformers: CLIPModel).
     */
    bool ok =
        json_read(&d, path, LIMIT_JSON_CONFIG, e) && find_tower(d.root, &tower, e) &&
        read_tower(tower, c, e) &&
        config_may_int(d.root, "projection_dim", 1, WIDTH_MAX, &c->projection_dim, e) &&
        check_divides(tower, "num_attention_heads", c->num_attention_heads, "hidden_size",
                      c->hidden_size, e) &&
        check_divides(tower, "patch_size", c->patch_size, "image_size", c->image_size, e);
    json_free(&d);
    return ok;
}

/* Three numbers, or `out` as it is where the field is absent. */
static bool read_triple(const struct json *object, const char *key, double low,
                        float *out, struct err *e)
{
    const struct json *array = NULL;
    if (!config_may_array(object, key, 3, 3, &array, e))
        return false;
    const struct json *element = array ? array->child : NULL;
    for (int i = 0; element; element = element->next, i++) {
        double number;
        if (!config_as_double(element, low, 10, &number, e))
            return false;
        out[i] = (float)number;
    }
    return true;
}

bool clip_normalisation_read(const char *path, float mean[3], float deviation[3],
                             struct err *e)
{
    /* transformers: OPENAI_CLIP_MEAN, OPENAI_CLIP_STD */
    static const float openai_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
    static const float openai_deviation[3] = {0.26862954f, 0.26130258f, 0.27577711f};
    memcpy(mean, openai_mean, sizeof openai_mean);
    memcpy(deviation, openai_deviation, sizeof openai_deviation);
    struct stat status;
    if (lstat(path, &status) != 0 && errno == ENOENT)
        return true;
    struct json_document d = {0};
    bool ok = json_read(&d, path, LIMIT_JSON_CONFIG, e) && config_as_object(d.root, e) &&
              read_triple(d.root, "image_mean", -10, mean, e) &&
              read_triple(d.root, "image_std", 1e-3, deviation, e);
    json_free(&d);
    return ok;
}
