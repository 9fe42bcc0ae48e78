/* single_file_config.c: the architectures in a single-file Stable Diffusion checkpoint,
 * read off its tensors after their layouts have been renamed. Whether all tensors fit is
 * found by running the networks on shapes alone (weights_check()). */
#include "models/configs.h"

#include "models/shapes.h"

#include <stdio.h>

#define GROUPS 32     /* of every norm */
#define HEAD_WIDTH 64 /* of CLIP's heads and of those in the UNets of SD 2.x */
#define V1_HEADS 8    /* in the UNets of SD 1.x, at every level */

static int count_at(const struct tensor_file *file, const char *format, int most)
{
    char name[160];
    int count = 0;
    while (count < most) {
        snprintf(name, sizeof name, format, count);
        if (!tensor_file_find(file, name))
            break;
        count++;
    }
    return count;
}

/* Channels that norms can be taken over. */
static bool need_channels(const struct tensor_file *file, const char *path,
                          const char *name, const char *what, int64_t *channels,
                          struct err *e)
{
    const struct tensor_entry *conv = NULL;
    if (!shapes_need(file, path, name, 4, what, &conv, e))
        return false;
    *channels = conv->dim[0];
    return *channels % GROUPS == 0 ||
           err_set(e, ERR_INPUT, "%s: %s: found %lld channels, expected a multiple of %d",
                   path, name, (long long)*channels, GROUPS);
}

/* UNet */

#define UNET "a UNet of Stable Diffusion"

static bool read_unet_level(const struct tensor_file *file, const char *path, int i,
                            struct unet_config *c, struct err *e)
{
    char name[160];
    snprintf(name, sizeof name, "down_blocks.%d.resnets.0.conv1.weight", i);
    if (!need_channels(file, path, name, UNET, &c->block_out_channels[i], e))
        return false;
    snprintf(name, sizeof name, "down_blocks.%d.resnets.%%d.conv1.weight", i);
    c->layers_per_block[i] = count_at(file, name, 16);
    snprintf(name, sizeof name,
             "down_blocks.%d.attentions.0.transformer_blocks.%%d.norm1.weight", i);
    c->transformer_layers[i] = count_at(file, name, 16);
    c->down_attention[i] = c->transformer_layers[i] > 0;
    if (!c->down_attention[i])
        c->transformer_layers[i] = 1;
    c->up_attention[i] = shapes_at(file, "up_blocks.%d.attentions.0.norm.weight", i);
    c->heads[i] = c->use_linear_projection ? (int)(c->block_out_channels[i] / HEAD_WIDTH)
                                           : V1_HEADS;
    return c->heads[i] > 0 ||
           err_set(e, ERR_INPUT, "%s: level %d: found %lld channels, expected %d or more",
                   path, i, (long long)c->block_out_channels[i], HEAD_WIDTH);
}

bool unet_config_from_tensors(const struct tensor_file *file, const char *path,
                              struct unet_config *c, struct err *e)
{
    static const char middle[] = "mid_block.attentions.0.";
    const struct tensor_entry *first = NULL, *last = NULL, *key, *projection;
    *c = (struct unet_config){.norm_num_groups = GROUPS,
                              .norm_eps = 1e-5,
                              .flip_sin_to_cos = true,
                              .sample_size = 64};
    if (!shapes_need(file, path, "conv_in.weight", 4, UNET, &first, e) ||
        !shapes_need(file, path, "conv_out.weight", 4, UNET, &last, e))
        return false;
    key = shapes_at(file, "%stransformer_blocks.0.attn2.to_k.weight", middle);
    projection = shapes_at(file, "%sproj_in.weight", middle);
    c->in_channels = first->dim[1];
    c->out_channels = last->dim[0];
    c->cross_attention_dim = key && key->rank == 2 ? key->dim[1] : 0;
    c->mid_attention = projection != NULL;
    c->use_linear_projection = projection && projection->rank == 2;
    if (c->use_linear_projection)
        c->sample_size = 96; /* stable-diffusion-2-1: 768 pixels */
    c->levels = count_at(file, "down_blocks.%d.resnets.0.conv1.weight", NET_MAX_LEVELS);
    for (int i = 0; i < c->levels; i++)
        if (!read_unet_level(file, path, i, c, e))
            return false;
    return (c->levels > 0 && c->cross_attention_dim > 0) ||
           err_set(e, ERR_INPUT,
                   "%s: found %d levels and a text of width %lld, expected " UNET
                   " 1.x or 2.x",
                   path, c->levels, (long long)c->cross_attention_dim);
}

/* VAE */

#define VAE "an autoencoder of Stable Diffusion"

bool vae_config_from_tensors(const struct tensor_file *file, const char *path,
                             struct vae_config *c, struct err *e)
{
    static const char block[] = "decoder.up_blocks.%d.resnets.0.conv1.weight";
    const struct tensor_entry *first = NULL;
    *c = (struct vae_config){.in_channels = 3,
                             .out_channels = 3,
                             .norm_num_groups = GROUPS,
                             .force_upcast = true,
                             .scaling_factor = 0.18215};
    if (!shapes_need(file, path, "decoder.conv_in.weight", 4, VAE, &first, e))
        return false;
    c->latent_channels = first->dim[1];
    c->levels = count_at(file, block, NET_MAX_LEVELS);
    c->layers_per_block =
        count_at(file, "decoder.up_blocks.0.resnets.%d.conv1.weight", 16) - 1;
    c->mid_block_add_attention =
        shapes_at(file, "decoder.mid_block.attentions.0.group_norm.weight") != NULL;
    c->use_quant_conv = shapes_at(file, "quant_conv.weight") != NULL;
    c->use_post_quant_conv = shapes_at(file, "post_quant_conv.weight") != NULL;
    for (int i = 0; i < c->levels; i++) {
        char name[160];
        snprintf(name, sizeof name, block, i);
        int64_t *channels = &c->block_out_channels[c->levels - 1 - i];
        if (!need_channels(file, path, name, VAE, channels, e))
            return false;
    }
    c->sample_size = (int64_t)64 << (c->levels ? c->levels - 1 : 0);
    return (c->levels > 0 && c->layers_per_block > 0) ||
           err_set(e, ERR_INPUT, "%s: found %d levels of %d layers, expected " VAE, path,
                   c->levels, c->layers_per_block);
}

/* Text encoder */

#define TEXT "a CLIP text encoder"

bool clip_text_config_from_tensors(const struct tensor_file *file, const char *path,
                                   bool v2, struct clip_text_config *c, struct err *e)
{
    const struct tensor_entry *tokens = NULL, *positions = NULL, *inner = NULL;
    *c = (struct clip_text_config){.hidden_act = v2 ? NN_GELU : NN_QUICK_GELU,
                                   .layer_norm_eps = 1e-5};
    if (!shapes_need(file, path, "embeddings.token_embedding.weight", 2, TEXT, &tokens,
                     e) ||
        !shapes_need(file, path, "embeddings.position_embedding.weight", 2, TEXT,
                     &positions, e) ||
        !shapes_need(file, path, "encoder.layers.0.mlp.fc1.weight", 2, TEXT, &inner, e))
        return false;
    c->vocab_size = tokens->dim[0];
    c->hidden_size = tokens->dim[1];
    c->max_position_embeddings = positions->dim[0];
    c->intermediate_size = inner->dim[0];
    c->num_attention_heads = c->hidden_size / HEAD_WIDTH;
    c->num_hidden_layers = count_at(file, "encoder.layers.%d.layer_norm1.weight", 256);
    /* ldm: FrozenOpenCLIPEmbedder(layer="penultimate") */
    c->num_hidden_layers -= v2;
    return (c->hidden_size % HEAD_WIDTH == 0 && c->num_hidden_layers > 0) ||
           err_set(e, ERR_INPUT,
                   "%s: found a text encoder of width %lld and %lld layers, expected a "
                   "multiple of %d and 1 or more",
                   path, (long long)c->hidden_size, (long long)c->num_hidden_layers,
                   HEAD_WIDTH);
}
