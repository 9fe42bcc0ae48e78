/* single_file.c: opens a single-file checkpoint. Leaves names to layout.h, architectures
 * to configs.h and the check against the tensors to diffuser.c. */
#include "diffusion/single_file.h"

#include "base/str.h"
#include "models/configs.h"
#include "models/shapes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool open_network(struct network *n, const char *path, layout_function *layout,
                         tc_scope *shapes, struct err *e)
{
    char *copy = str_dup(path);
    if (!copy)
        return err_set(e, ERR_MEMORY, "no host memory for a path");
    return network_open_as(n, copy, layout, shapes, e) &&
           (n->file.count > 0 ||
            err_set(e, ERR_INPUT, "%s: found no tensors, expected some", STR_SHOW(path)));
}

/* What the file is where it is not what it should be (diffusers: single_file_utils.py,
 * CHECKPOINT_KEY_NAMES). */
static bool check_kind(const struct tensor_file *whole, const char *path, struct err *e)
{
    static const struct {
        const char *name, *kind;
    } kinds[] = {
        {"conditioner.embedders.0.transformer.text_model.embeddings.token_embedding."
         "weight",
         "Stable Diffusion XL"},
        {"conditioner.embedders.0.model.token_embedding.weight",
         "the refiner of Stable Diffusion XL"},
        {"control_model.time_embed.0.weight", "a ControlNet"},
        {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight",
         "Stable Diffusion 3"},
        {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "a LoRA"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (tensor_file_find(whole, kinds[i].name))
            return err_set(e, ERR_INPUT,
                           "%s: found %s, expected Stable Diffusion 1.x or 2.x", path,
                           kinds[i].kind);
    return tensor_file_find(whole, "model.diffusion_model.input_blocks.0.0.weight") ||
           err_set(e, ERR_INPUT,
                   "%s: found no model.diffusion_model.input_blocks.0.0.weight, expected "
                   "a single-file Stable Diffusion checkpoint or a diffusers directory",
                   path);
}

static bool open_networks(struct diffuser *d, const char *path, struct err *e)
{
    struct tensor_file whole;
    if (!tensor_file_open(&whole, path, e))
        return false;
    bool ok = check_kind(&whole, STR_SHOW(path), e);
    tensor_file_close(&whole);
    return ok && open_network(&d->unet_network, path, layout_unet, d->shapes, e) &&
           open_network(&d->vae_network, path, layout_vae, d->shapes, e) &&
           open_network(&d->text_network, path, layout_clip_text, d->shapes, e);
}

/* The folder `tokenizer` beside the file; NULL where there is none or memory is out. */
static char *tokenizer_beside(const char *path)
{
    struct str folder = {0};
    struct stat status;
    str_add_bytes(&folder, path, (size_t)(str_file_name(path) - path));
    str_add(&folder, "tokenizer");
    char *found = str_take(&folder);
    if (found && stat(found, &status) == 0 && S_ISDIR(status.st_mode))
        return found;
    free(found);
    return NULL;
}

static bool load_tokenizer(struct diffuser *d, const char *path, bool v2, struct err *e)
{
    char *beside = tokenizer_beside(path);
    const char *folder = beside ? beside : d->tokenizer_folder;
    if (!folder && d->without_tokenizer)
        return true;
    if (folder)
        d->tokenizer = tokenizer_load(folder, e);
    else
        err_set(e, ERR_INPUT,
                "%s: found no tokenizer, which such a file comes without, expected one "
                "in a folder `tokenizer` beside it or in a diffusers directory of the "
                "ensemble",
                STR_SHOW(path));
    free(beside);
    if (!d->tokenizer)
        return false;
    tokenizer_set_padding(d->tokenizer, v2);
    long long vocabulary = tokenizer_vocab_size(d->tokenizer),
              most = tokenizer_max_length(d->tokenizer);
    if (most > d->text.max_position_embeddings)
        return err_set(e, ERR_INPUT,
                       "%s: found a text encoder of %lld positions, expected the "
                       "tokenizer's %lld or more",
                       STR_SHOW(path), (long long)d->text.max_position_embeddings, most);
    return vocabulary == d->text.vocab_size ||
           err_set(e, ERR_INPUT,
                   "%s: found a text encoder of %lld tokens, expected the tokenizer's "
                   "%lld",
                   STR_SHOW(path), (long long)d->text.vocab_size, vocabulary);
}

static bool check_agreement(const struct diffuser *d, const char *path, struct err *e)
{
    long long in = d->unet.in_channels, out = d->unet.out_channels;
    long long latent = d->vae.latent_channels, width = d->text.hidden_size;
    if (in != latent || out != latent)
        return err_set(e, ERR_INPUT,
                       "%s: found a UNet of %lld input and %lld output channels, "
                       "expected the autoencoder's %lld (inpainting and depth models are "
                       "not supported)",
                       STR_SHOW(path), in, out, latent);
    return d->unet.cross_attention_dim == width ||
           err_set(e, ERR_INPUT,
                   "%s: found a UNet for texts of width %lld, expected the text "
                   "encoder's %lld",
                   STR_SHOW(path), (long long)d->unet.cross_attention_dim, width);
}

bool diffuser_open_single_file(struct diffuser *d, const char *path,
                               const char *scheduler, struct err *e)
{
    const char *shown = STR_SHOW(path);
    if (!open_networks(d, path, e) ||
        !unet_config_from_tensors(&d->unet_network.file, shown, &d->unet, e) ||
        !vae_config_from_tensors(&d->vae_network.file, shown, &d->vae, e))
        return false;
    bool v2 = d->unet.use_linear_projection;
    const char *prediction = d->prediction ? d->prediction
                             : v2          ? "v_prediction"
                                           : "epsilon";
    if (v2 && strcmp(prediction, "epsilon") == 0)
        d->unet.sample_size = 64; /* stable-diffusion-2-1-base: 512 pixels */
    return clip_text_config_from_tensors(&d->text_network.file, shown, v2, &d->text, e) &&
           scheduler_config_default(&d->scheduler, v2, prediction, scheduler, e) &&
           load_tokenizer(d, path, v2, e) && check_agreement(d, path, e);
}
