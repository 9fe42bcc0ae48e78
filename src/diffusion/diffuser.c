/* diffuser.c: opens, checks, loads and unloads one model directory. Leaves the formats to
 * src/models and src/io, and the making of pictures to sampler.c. */
#include "diffusion/diffuser.h"

#include "base/str.h"
#include "diffusion/single_file.h"
#include "models/configs.h"
#include "models/model_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int64_t diffuser_factor(const struct diffuser *d)
{
    return (int64_t)1 << (d->vae.levels - 1);
}

/* "directory/name". */
static bool path_in(struct str *path, const char *directory, const char *name,
                    struct err *e)
{
    str_clear(path);
    str_addf(path, "%s/%s", directory, name);
    return !path->failed ||
           err_set(e, ERR_MEMORY, "%s: out of memory for a path", STR_SHOW(directory));
}

static bool read_configs(struct diffuser *d, const char *directory, const char *scheduler,
                         struct err *e)
{
    struct str path = {0};
    bool ok = model_dir_check(directory, e) &&
              path_in(&path, directory, "text_encoder/config.json", e) &&
              clip_text_config_read(str_text(&path), &d->text, e) &&
              path_in(&path, directory, "unet/config.json", e) &&
              unet_config_read(str_text(&path), &d->unet, e) &&
              path_in(&path, directory, "vae/config.json", e) &&
              vae_config_read(str_text(&path), &d->vae, e) &&
              path_in(&path, directory, "scheduler/scheduler_config.json", e) &&
              scheduler_config_read(&d->scheduler, str_text(&path), scheduler, e) &&
              path_in(&path, directory, "tokenizer", e);
    if (ok)
        d->tokenizer = tokenizer_load(str_text(&path), e);
    str_free(&path);
    return ok && d->tokenizer;
}

/* What one part's config says must agree with the others'. */
static bool check_agreement(const struct diffuser *d, const char *directory,
                            struct err *e)
{
    long long vocabulary = tokenizer_vocab_size(d->tokenizer);
    if (vocabulary != d->text.vocab_size)
        return err_set(e, ERR_INPUT,
                       "%s: tokenizer/vocab.json: found %lld tokens, expected the text "
                       "encoder's vocab_size %lld",
                       STR_SHOW(directory), vocabulary, (long long)d->text.vocab_size);
    long long most = tokenizer_max_length(d->tokenizer);
    if (most > d->text.max_position_embeddings)
        return err_set(e, ERR_INPUT,
                       "%s: tokenizer/tokenizer_config.json: model_max_length: found "
                       "%lld, expected at most the text encoder's "
                       "max_position_embeddings %lld",
                       STR_SHOW(directory), most,
                       (long long)d->text.max_position_embeddings);
    if (d->unet.cross_attention_dim != d->text.hidden_size)
        return err_set(
            e, ERR_INPUT,
            "%s: unet/config.json: cross_attention_dim: found %lld, expected the "
            "text encoder's hidden_size %lld",
            STR_SHOW(directory), (long long)d->unet.cross_attention_dim,
            (long long)d->text.hidden_size);
    if (d->unet.in_channels != d->vae.latent_channels ||
        d->unet.out_channels != d->vae.latent_channels)
        return err_set(
            e, ERR_INPUT,
            "%s: unet/config.json: in_channels and out_channels: found %lld and "
            "%lld, expected the VAE's latent_channels %lld (inpainting and depth "
            "models are not supported)",
            STR_SHOW(directory), (long long)d->unet.in_channels,
            (long long)d->unet.out_channels, (long long)d->vae.latent_channels);
    return true;
}

/* Opens the weights of one part. */
static bool open_network(struct network *n, tc_scope *shapes, const char *directory,
                         const char *folder, const char *stem, layout_function *layout,
                         struct err *e)
{
    struct str place = {0};
    char *path = NULL;
    bool ok = path_in(&place, directory, folder, e) &&
              model_dir_weights(str_text(&place), stem, &path, e) &&
              network_open_as(n, path, layout, shapes, e);
    str_free(&place);
    return ok;
}

static bool open_networks(struct diffuser *d, const char *directory, struct err *e)
{
    return open_network(&d->text_network, d->shapes, directory, "text_encoder", "model",
                        layout_clip_text, e) &&
           open_network(&d->unet_network, d->shapes, directory, "unet",
                        "diffusion_pytorch_model", layout_unet, e) &&
           open_network(&d->vae_network, d->shapes, directory, "vae",
                        "diffusion_pytorch_model", layout_vae, e);
}

/* Runs the three networks on shapes alone. */
static bool check_weights(struct diffuser *d, const struct progress *progress,
                          struct err *e)
{
    tc_scope *s = tc_push(d->shapes);
    int64_t tokens = d->tokenizer ? tokenizer_max_length(d->tokenizer) : 1;
    tc_tensor *ids = tc_zeros(s, TC_I64, SHAPE(1, tokens));
    tc_tensor *text = clip_text_forward(s, d->text_network.asked, &d->text, ids, 0);
    bool ok = network_check(&d->text_network, s, progress, e);
    char last[64]; /* of SD 2.x in one file, which computes all layers but that one */
    snprintf(last, sizeof last, "encoder.layers.%lld",
             (long long)d->text.num_hidden_layers);
    network_leave_out(&d->text_network,
                      (const char *const[]){"text_projection", "logit_scale",
                                            "text_model.embeddings.position_ids",
                                            "embeddings.position_ids",
                                            d->single_file ? last : NULL, NULL});

    int64_t side = (int64_t)8 << d->unet.levels;
    tc_tensor *x = tc_zeros(s, TC_F32, SHAPE(1, d->unet.in_channels, side, side));
    struct unet_condition condition = {.scope = s, .text = text};
    x = unet_forward(s, d->unet_network.asked, &d->unet, x, 0, &condition, NULL);
    ok = network_check(&d->unet_network, s, progress, e) && ok;

    vae_decode(s, d->vae_network.asked, &d->vae, x);
    ok = network_check(&d->vae_network, s, progress, e) && ok;
    network_leave_out(&d->vae_network,
                      (const char *const[]){"encoder", "quant_conv", NULL});
    tc_pop(s, NULL);
    return ok;
}

bool diffuser_open(struct diffuser *d, const char *name, const char *path,
                   const char *scheduler, const struct progress *progress, struct err *e)
{
    struct stat status;
    d->name = name;
    d->shapes = tc_open(&(struct tc_settings){.device = "meta"}, e);
    d->single_file = stat(path, &status) == 0 && S_ISREG(status.st_mode);
    bool ok = d->shapes != NULL;
    if (ok && d->single_file)
        ok = diffuser_open_single_file(d, path, scheduler, e);
    else if (ok)
        ok = read_configs(d, path, scheduler, e) && check_agreement(d, path, e) &&
             open_networks(d, path, e);
    ok = ok && check_weights(d, progress, e);
    if (!ok)
        diffuser_close(d);
    return ok;
}

void diffuser_close(struct diffuser *d)
{
    network_close(&d->text_network);
    network_close(&d->unet_network);
    network_close(&d->vae_network);
    tc_close(d->shapes);
    tokenizer_free(d->tokenizer);
    scheduler_config_free(&d->scheduler);
    *d = (struct diffuser){0};
}

int diffuser_files(const struct diffuser *d, const struct tensor_file *files[3])
{
    files[0] = &d->text_network.file;
    files[1] = &d->unet_network.file;
    files[2] = &d->vae_network.file;
    return d->single_file ? 1 : 3;
}

static enum tc_dtype part_dtype(const struct diffuser_weights *w, enum diffuser_part part)
{
    bool upcast = part == PART_VAE && w->dtype == TC_F16 && w->diffuser->vae.force_upcast;
    return upcast || part == PART_VAE_F32 ? TC_F32 : w->dtype;
}

static void unload_part(struct diffuser_resident *part)
{
    if (!part->scope)
        return;
    weights_unload(part->w);
    tc_pop(part->scope, NULL);
    *part = (struct diffuser_resident){0};
}

static bool load_part(struct diffuser_weights *w, enum diffuser_part part, struct err *e)
{
    const struct diffuser *d = w->diffuser;
    const struct network *networks[PART_COUNT] = {&d->text_network, &d->unet_network,
                                                  &d->vae_network, &d->vae_network};
    struct diffuser_resident *p = &w->part[part];
    p->dtype = part_dtype(w, part);
    p->scope = tc_push(w->root);
    tc_context(p->scope, "%s", d->name);
    p->w = network_load(networks[part], p->scope, p->dtype, e);
    if (p->w.node)
        return true;
    unload_part(p);
    return false;
}

struct diffuser_weights diffuser_weights_new(tc_scope *root, const struct diffuser *d,
                                             enum tc_dtype dtype)
{
    return (struct diffuser_weights){.diffuser = d, .root = root, .dtype = dtype};
}

void diffuser_drop(struct diffuser_weights *w, enum diffuser_part part)
{
    unload_part(&w->part[part]);
}

static void drop_all(struct diffuser_weights *w)
{
    for (int part = 0; part < PART_COUNT; part++)
        unload_part(&w->part[part]);
}

void diffuser_keep_one_part(struct diffuser_weights *w)
{
    drop_all(w);
    tc_empty_cache(w->root);
    w->one_part = true;
}

bool diffuser_need(struct diffuser_weights *w, enum diffuser_part part, struct err *e)
{
    if (w->part[part].scope)
        return true;
    if (w->one_part)
        diffuser_keep_one_part(w);
    return load_part(w, part, e);
}

void diffuser_unload(struct diffuser_weights *w)
{
    drop_all(w);
    *w = (struct diffuser_weights){0};
}
