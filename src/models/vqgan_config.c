/* vqgan_config.c: the architecture of a taming-transformers VQGAN, read off the names and
 * shapes of its tensors, since its checkpoints carry no config. Whether all tensors fit
 * is found by running the network on shapes alone (weights_check()). */
#include "models/configs.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>

#define WIDTH_MAX 65536

/* The tensor of that name, of this rank and with sane sizes. */
static bool find_shaped(const struct tensor_file *file, const char *path,
                        const char *name, int rank, const struct tensor_entry **out,
                        struct err *e)
{
    const struct tensor_entry *entry = tensor_file_find(file, name);
    if (!entry)
        return err_set(e, ERR_INPUT,
                       "%s: %s: found no such tensor, expected a VQGAN of "
                       "taming-transformers",
                       path, name);
    if (entry->rank != rank)
        return err_set(e, ERR_INPUT, "%s: %s: found rank %d, expected %d", path, name,
                       entry->rank, rank);
    for (int i = 0; i < rank; i++)
        if (entry->dim[i] < 1 || entry->dim[i] > WIDTH_MAX)
            return err_set(e, ERR_INPUT,
                           "%s: %s: dimension %d: found %lld, expected 1..%d", path, name,
                           i, (long long)entry->dim[i], WIDTH_MAX);
    *out = entry;
    return true;
}

/* The tensor at a path with numbers in it, or NULL. */
static const struct tensor_entry *find_at(const struct tensor_file *file,
                                          const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const struct tensor_entry *find_at(const struct tensor_file *file,
                                          const char *format, ...)
{
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return tensor_file_find(file, name);
}

static bool read_levels(const struct tensor_file *file, const char *path,
                        struct vqgan_config *c, struct err *e)
{
    const char *block = "encoder.down.%d.block.%d.conv1.weight";
    while (c->levels < NET_MAX_LEVELS && find_at(file, block, c->levels, 0)) {
        char name[96];
        const struct tensor_entry *conv;
        snprintf(name, sizeof name, block, c->levels, 0);
        if (!find_shaped(file, path, name, 4, &conv, e))
            return false;
        if (conv->dim[0] % c->ch != 0)
            return err_set(e, ERR_INPUT,
                           "%s: %s: found %lld channels, expected a multiple "
                           "of %lld",
                           path, name, (long long)conv->dim[0], (long long)c->ch);
        c->ch_mult[c->levels] = conv->dim[0] / c->ch;
        c->attention[c->levels] =
            find_at(file, "encoder.down.%d.attn.0.norm.weight", c->levels) != NULL;
        c->levels++;
    }
    while (c->num_res_blocks < 64 && find_at(file, block, 0, c->num_res_blocks))
        c->num_res_blocks++;
    return c->levels > 0 || find_shaped(file, path, "encoder.down.0.block.0.conv1.weight",
                                        4, &(const struct tensor_entry *){NULL}, e);
}

bool vqgan_config_from_tensors(const struct tensor_file *file, const char *path,
                               struct vqgan_config *c, struct err *e)
{
    *c = (struct vqgan_config){0};
    const struct tensor_entry *first = NULL, *last = NULL, *out = NULL, *quant = NULL,
                              *codebook = NULL;
    if (!find_shaped(file, path, "encoder.conv_in.weight", 4, &first, e) ||
        !find_shaped(file, path, "encoder.conv_out.weight", 4, &last, e) ||
        !find_shaped(file, path, "decoder.conv_out.weight", 4, &out, e) ||
        !find_shaped(file, path, "quant_conv.weight", 4, &quant, e) ||
        !find_shaped(file, path, "quantize.embedding.weight", 2, &codebook, e))
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
