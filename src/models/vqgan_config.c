/* vqgan_config.c: the architecture of a taming-transformers VQGAN, read off the names and
 * shapes of its tensors, since its checkpoints carry no config. Whether all tensors fit
 * is found by running the network on shapes alone (weights_check()). */
#include "models/configs.h"

#include "models/shapes.h"

#include <stdio.h>

#define WHAT "a VQGAN of taming-transformers"

static bool read_levels(const struct tensor_file *file, const char *path,
                        struct vqgan_config *c, struct err *e)
{
    const char *block = "encoder.down.%d.block.%d.conv1.weight";
    while (c->levels < NET_MAX_LEVELS && shapes_at(file, block, c->levels, 0)) {
        char name[96];
        const struct tensor_entry *conv;
        snprintf(name, sizeof name, block, c->levels, 0);
        if (!shapes_need(file, path, name, 4, WHAT, &conv, e))
            return false;
        if (conv->dim[0] % c->ch != 0)
            return err_set(e, ERR_INPUT,
                           "%s: %s: found %lld channels, expected a multiple "
                           "of %lld",
                           path, name, (long long)conv->dim[0], (long long)c->ch);
        c->ch_mult[c->levels] = conv->dim[0] / c->ch;
        c->attention[c->levels] =
            shapes_at(file, "encoder.down.%d.attn.0.norm.weight", c->levels) != NULL;
        c->levels++;
    }
    while (c->num_res_blocks < 64 && shapes_at(file, block, 0, c->num_res_blocks))
        c->num_res_blocks++;
    return c->levels > 0 || shapes_need(file, path, "encoder.down.0.block.0.conv1.weight",
                                        4, WHAT, &(const struct tensor_entry *){NULL}, e);
}

bool vqgan_config_from_tensors(const struct tensor_file *file, const char *path,
                               struct vqgan_config *c, struct err *e)
{
    *c = (struct vqgan_config){0};
    const struct tensor_entry *first = NULL, *last = NULL, *out = NULL, *quant = NULL,
                              *codebook = NULL;
    if (shapes_at(file, "quantize.embed.weight"))
        return err_set(e, ERR_INPUT,
                       "%s: quantize.embed.weight: found the codebook of a GumbelVQ, "
                       "expected quantize.embedding.weight, that of a VQModel",
                       path);
    if (!shapes_need(file, path, "encoder.conv_in.weight", 4, WHAT, &first, e) ||
        !shapes_need(file, path, "encoder.conv_out.weight", 4, WHAT, &last, e) ||
        !shapes_need(file, path, "decoder.conv_out.weight", 4, WHAT, &out, e) ||
        !shapes_need(file, path, "quant_conv.weight", 4, WHAT, &quant, e) ||
        !shapes_need(file, path, "quantize.embedding.weight", 2, WHAT, &codebook, e))
        return false;
    c->ch = first->dim[0];
    c->in_channels = first->dim[1];
    c->out_channels = out->dim[0];
    c->z_channels = last->dim[0];
    c->embed_dim = quant->dim[0];
    c->n_embed = codebook->dim[0];
    if (c->in_channels != 3 || c->out_channels != 3)
        return err_set(e, ERR_INPUT,
                       "%s: found %lld input and %lld output channels, "
                       "expected 3 (RGB)",
                       path, (long long)c->in_channels, (long long)c->out_channels);
    if (c->ch % 32 != 0) /* taming: Normalize has 32 groups */
        return err_set(e, ERR_INPUT,
                       "%s: encoder.conv_in.weight: found %lld channels, "
                       "expected a multiple of 32",
                       path, (long long)c->ch);
    return read_levels(file, path, c, e);
}
