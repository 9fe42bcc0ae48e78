/* configs.c: config.json files of Hugging Face directories. Leaves JSON's rules to
 * io/config.h, and the VQGAN, which has no such file, to vqgan_config.c. */
#include "models/configs.h"

#include "base/str.h"
#include "io/config.h"
#include "io/limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH_MAX 65536 /* channels, tokens, rows: far above any published network */

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Opens a config file whose `_class_name` or `architectures` field, where there is one,
 * names `class_name`. */
static bool config_open(struct json_document *d, const char *path, const char *class_name,
                        struct err *e)
{
    const char *found = class_name;
    return json_read(d, path, LIMIT_JSON_CONFIG, e) && config_as_object(d->root, e) &&
           config_may_string(d->root, "_class_name", &found, e) &&
           (strcmp(found, class_name) == 0 ||
            json_fail(json_get(d->root, "_class_name"), e,
                      "found \"%s\", expected \"%s\"", STR_SHOW(found), class_name));
}

/* A setting for which only one value is supported, spelled as in JSON; absent and null
 * mean that value too. */
struct fixed_setting {
    const char *key, *value;
};

static bool is_value(const struct json *found, const char *expected)
{
    switch (found->kind) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return strcmp(expected, found->truth ? "true" : "false") == 0;
    case JSON_NUMBER: {
        double number;
        struct err ignored = {0};
        return config_as_double(found, -INFINITY, INFINITY, &number, &ignored) &&
               number == strtod(expected, NULL);
    }
    case JSON_STRING:
        return strcmp(expected, found->text) == 0;
    default:
        return false;
    }
}

static bool check_fixed(const struct json *object, const struct fixed_setting *fixed,
                        size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const struct json *found = json_get(object, fixed[i].key);
        char text[128];
        if (found && !is_value(found, fixed[i].value))
            return json_fail(found, e,
                             "found %s, expected %s (nothing else is supported)",
                             json_describe(found, text, sizeof text), fixed[i].value);
    }
    return true;
}

/* A number for every level: one for all, or an array of one each. Absent: `out` stays. */
static bool read_per_level(const struct json *object, const char *key, int levels,
                           int64_t low, int64_t high, int64_t *out, struct err *e)
{
    const struct json *value = json_get(object, key);
    if (!config_has(object, key))
        return true;
    if (value->kind != JSON_ARRAY) {
        if (!config_as_int(value, low, high, &out[0], e))
            return false;
        for (int i = 1; i < levels; i++)
            out[i] = out[0];
        return true;
    }
    if (!config_as_array(value, (size_t)levels, (size_t)levels, e))
        return false;
    int i = 0;
    for (const struct json *element = value->child; element; element = element->next)
        if (!config_as_int(element, low, high, &out[i++], e))
            return false;
    return true;
}

static bool read_int_per_level(const struct json *object, const char *key, int levels,
                               int low, int high, int *out, struct err *e)
{
    int64_t wide[NET_MAX_LEVELS];
    for (int i = 0; i < levels; i++)
        wide[i] = out[i];
    if (!read_per_level(object, key, levels, low, high, wide, e))
        return false;
    for (int i = 0; i < levels; i++)
        out[i] = (int)wide[i];
    return true;
}

static bool read_bool_per_level(const struct json *object, const char *key, int levels,
                                bool *out, struct err *e)
{
    const struct json *value = json_get(object, key);
    if (!config_has(object, key))
        return true;
    if (value->kind != JSON_ARRAY) {
        if (!config_as_bool(value, &out[0], e))
            return false;
        for (int i = 1; i < levels; i++)
            out[i] = out[0];
        return true;
    }
    if (!config_as_array(value, (size_t)levels, (size_t)levels, e))
        return false;
    int i = 0;
    for (const struct json *element = value->child; element; element = element->next)
        if (!config_as_bool(element, &out[i++], e))
            return false;
    return true;
}

static bool read_channels(const struct json *object, int *levels, int64_t *channels,
                          struct err *e)
{
    const struct json *array;
    if (!config_need_array(object, "block_out_channels", 1, NET_MAX_LEVELS, &array, e))
        return false;
    *levels = (int)array->size;
    return read_per_level(object, "block_out_channels", *levels, 1, WIDTH_MAX, channels,
                          e);
}

/* An array of block types, one a level: with_attention[i] says which of the two names. */
static bool read_block_types(const struct json *object, const char *key, int levels,
                             const char *plain, const char *attention,
                             bool *with_attention, struct err *e)
{
    const struct json *array;
    if (!config_need_array(object, key, (size_t)levels, (size_t)levels, &array, e))
        return false;
    int i = 0;
    for (const struct json *element = array->child; element; element = element->next) {
        const char *name;
        if (!config_as_string(element, &name, e))
            return false;
        with_attention[i] = attention && strcmp(name, attention) == 0;
        if (!with_attention[i] && strcmp(name, plain) != 0)
            return json_fail(element, e, "found \"%s\", expected %s%s%s", STR_SHOW(name),
                             plain, attention ? " or " : "", attention ? attention : "");
        i++;
    }
    return true;
}

/* CLIP text encoder */

static bool read_activation(const struct json *object, const char *key,
                            enum nn_activation *out, struct err *e)
{
    const char *name = NULL;
    if (!config_may_string(object, key, &name, e))
        return false;
    if (!name)
        return true;
    if (strcmp(name, "quick_gelu") == 0)
        *out = NN_QUICK_GELU;
    else if (strcmp(name, "gelu") == 0)
        *out = NN_GELU;
    else
        return json_fail(json_get(object, key), e,
                         "found \"%s\", expected quick_gelu or gelu", STR_SHOW(name));
    return true;
}

bool clip_text_config_read(const char *path, struct clip_text_config *c, struct err *e)
{
    *c = (struct clip_text_config){.max_position_embeddings = 77,
                                   .hidden_act = NN_QUICK_GELU,
                                   .layer_norm_eps = 1e-5};
    struct json_document d = {0};
    bool ok = config_open(&d, path, "CLIPTextModel", e);
    const struct json *o = d.root;
    ok =
        ok && config_need_int(o, "vocab_size", 1, 1 << 22, &c->vocab_size, e) &&
        config_need_int(o, "hidden_size", 1, WIDTH_MAX, &c->hidden_size, e) &&
        config_need_int(o, "intermediate_size", 1, WIDTH_MAX, &c->intermediate_size, e) &&
        config_need_int(o, "num_hidden_layers", 1, 256, &c->num_hidden_layers, e) &&
        config_need_int(o, "num_attention_heads", 1, 1024, &c->num_attention_heads, e) &&
        config_may_int(o, "max_position_embeddings", 2, WIDTH_MAX,
                       &c->max_position_embeddings, e) &&
        config_may_double(o, "layer_norm_eps", 0, 1, &c->layer_norm_eps, e) &&
        read_activation(o, "hidden_act", &c->hidden_act, e);
    if (ok && c->hidden_size % c->num_attention_heads != 0)
        ok = json_fail(json_get(o, "num_attention_heads"), e,
                       "found %lld, expected a divisor of hidden_size %lld",
                       (long long)c->num_attention_heads, (long long)c->hidden_size);
    json_free(&d);
    return ok;
}

/* UNet */

static const struct fixed_setting unet_fixed[] = {
    {"act_fn", "silu"},
    {"addition_embed_type", "null"},
    {"attention_type", "default"},
    {"center_input_sample", "false"},
    {"class_embed_type", "null"},
    {"class_embeddings_concat", "false"},
    {"conv_in_kernel", "3"},
    {"conv_out_kernel", "3"},
    {"cross_attention_norm", "null"},
    {"downsample_padding", "1"},
    {"dual_cross_attention", "false"},
    {"encoder_hid_dim", "null"},
    {"encoder_hid_dim_type", "null"},
    {"mid_block_only_cross_attention", "false"},
    {"mid_block_scale_factor", "1"},
    {"num_attention_heads", "null"},
    {"num_class_embeds", "null"},
    {"projection_class_embeddings_input_dim", "null"},
    {"resnet_out_scale_factor", "1"},
    {"resnet_skip_time_act", "false"},
    {"resnet_time_scale_shift", "default"},
    {"reverse_transformer_layers_per_block", "null"},
    {"time_cond_proj_dim", "null"},
    {"time_embedding_act_fn", "null"},
    {"time_embedding_dim", "null"},
    {"time_embedding_type", "positional"},
    {"timestep_post_act", "null"},
};

static bool read_mid_block(const struct json *object, bool *attention, struct err *e)
{
    const char *name = "UNetMidBlock2DCrossAttn";
    if (!config_may_string(object, "mid_block_type", &name, e))
        return false;
    *attention = strcmp(name, "UNetMidBlock2DCrossAttn") == 0;
    return *attention || strcmp(name, "UNetMidBlock2D") == 0 ||
           json_fail(json_get(object, "mid_block_type"), e,
                     "found \"%s\", expected UNetMidBlock2DCrossAttn or UNetMidBlock2D",
                     STR_SHOW(name));
}

static bool check_divides(const struct json *object, const char *key, int64_t divisor,
                          const int64_t *channels, int levels, struct err *e)
{
    for (int i = 0; i < levels; i++)
        if (channels[i] % divisor != 0)
            return json_fail(json_get(object, key) ? json_get(object, key) : object, e,
                             "found %lld, expected a divisor of %lld channels",
                             (long long)divisor, (long long)channels[i]);
    return true;
}

static bool check_heads(const struct json *object, const struct unet_config *c,
                        struct err *e)
{
    for (int i = 0; i < c->levels; i++) {
        bool attends = c->down_attention[i] || c->up_attention[c->levels - 1 - i];
        if (attends && !check_divides(object, "attention_head_dim", c->heads[i],
                                      &c->block_out_channels[i], 1, e))
            return false;
    }
    return true;
}

/* diffusers calls the number of heads attention_head_dim (UNet2DConditionModel.__init__,
 * "num_attention_heads or attention_head_dim"). */
static bool read_unet(const struct json *o, struct unet_config *c, struct err *e)
{
    int64_t groups = 32;
    if (!check_fixed(o, unet_fixed, COUNT(unet_fixed), e) ||
        !read_channels(o, &c->levels, c->block_out_channels, e))
        return false;
    for (int i = 0; i < c->levels; i++) {
        c->layers_per_block[i] = 2;
        c->transformer_layers[i] = 1;
        c->heads[i] = 8;
    }
    bool ok =
        config_may_int(o, "in_channels", 1, 64, &c->in_channels, e) &&
        config_may_int(o, "out_channels", 1, 64, &c->out_channels, e) &&
        read_int_per_level(o, "layers_per_block", c->levels, 1, 16, c->layers_per_block,
                           e) &&
        read_int_per_level(o, "transformer_layers_per_block", c->levels, 1, 16,
                           c->transformer_layers, e) &&
        read_int_per_level(o, "attention_head_dim", c->levels, 1, 1024, c->heads, e) &&
        read_block_types(o, "down_block_types", c->levels, "DownBlock2D",
                         "CrossAttnDownBlock2D", c->down_attention, e) &&
        read_block_types(o, "up_block_types", c->levels, "UpBlock2D",
                         "CrossAttnUpBlock2D", c->up_attention, e) &&
        read_mid_block(o, &c->mid_attention, e) &&
        read_bool_per_level(o, "only_cross_attention", c->levels, c->only_cross_attention,
                            e) &&
        config_may_bool(o, "use_linear_projection", &c->use_linear_projection, e) &&
        config_may_int(o, "cross_attention_dim", 1, WIDTH_MAX, &c->cross_attention_dim,
                       e) &&
        config_may_int(o, "norm_num_groups", 1, 1024, &groups, e) &&
        config_may_double(o, "norm_eps", 0, 1, &c->norm_eps, e) &&
        config_may_bool(o, "flip_sin_to_cos", &c->flip_sin_to_cos, e) &&
        config_may_double(o, "freq_shift", 0, 1, &c->freq_shift, e) &&
        config_may_int(o, "sample_size", 1, 4096, &c->sample_size, e) &&
        check_divides(o, "norm_num_groups", groups, c->block_out_channels, c->levels,
                      e) &&
        check_heads(o, c, e);
    c->norm_num_groups = (int)groups;
    return ok;
}

bool unet_config_read(const char *path, struct unet_config *c, struct err *e)
{
    *c = (struct unet_config){.in_channels = 4,
                              .out_channels = 4,
                              .cross_attention_dim = 1280,
                              .norm_eps = 1e-5,
                              .flip_sin_to_cos = true,
                              .sample_size = 64};
    struct json_document d = {0};
    bool ok = config_open(&d, path, "UNet2DConditionModel", e) && read_unet(d.root, c, e);
    json_free(&d);
    return ok;
}

/* VAE */

static const struct fixed_setting vae_fixed[] = {
    {"act_fn", "silu"},
    {"latents_mean", "null"},
    {"latents_std", "null"},
};

static bool read_vae(const struct json *o, struct vae_config *c, struct err *e)
{
    bool ignored[NET_MAX_LEVELS];
    int64_t layers = 1, groups = 32;
    bool ok =
        check_fixed(o, vae_fixed, COUNT(vae_fixed), e) &&
        read_channels(o, &c->levels, c->block_out_channels, e) &&
        read_block_types(o, "down_block_types", c->levels, "DownEncoderBlock2D", NULL,
                         ignored, e) &&
        read_block_types(o, "up_block_types", c->levels, "UpDecoderBlock2D", NULL,
                         ignored, e) &&
        config_may_int(o, "in_channels", 3, 3, &c->in_channels, e) &&
        config_may_int(o, "out_channels", 3, 3, &c->out_channels, e) &&
        config_may_int(o, "latent_channels", 1, 64, &c->latent_channels, e) &&
        config_may_int(o, "layers_per_block", 1, 16, &layers, e) &&
        config_may_int(o, "norm_num_groups", 1, 1024, &groups, e) &&
        config_may_bool(o, "mid_block_add_attention", &c->mid_block_add_attention, e) &&
        config_may_bool(o, "use_quant_conv", &c->use_quant_conv, e) &&
        config_may_bool(o, "use_post_quant_conv", &c->use_post_quant_conv, e) &&
        config_may_bool(o, "force_upcast", &c->force_upcast, e) &&
        config_may_double(o, "scaling_factor", 1e-6, 1e6, &c->scaling_factor, e) &&
        config_may_double(o, "shift_factor", -1e6, 1e6, &c->shift_factor, e) &&
        config_may_int(o, "sample_size", 1, 16384, &c->sample_size, e) &&
        check_divides(o, "norm_num_groups", groups, c->block_out_channels, c->levels, e);
    c->layers_per_block = (int)layers;
    c->norm_num_groups = (int)groups;
    return ok;
}

bool vae_config_read(const char *path, struct vae_config *c, struct err *e)
{
    *c = (struct vae_config){.in_channels = 3,
                             .out_channels = 3,
                             .latent_channels = 4,
                             .mid_block_add_attention = true,
                             .use_quant_conv = true,
                             .use_post_quant_conv = true,
                             .force_upcast = true,
                             .scaling_factor = 0.18215,
                             .sample_size = 32};
    struct json_document d = {0};
    bool ok = config_open(&d, path, "AutoencoderKL", e) && read_vae(d.root, c, e);
    json_free(&d);
    return ok;
}
