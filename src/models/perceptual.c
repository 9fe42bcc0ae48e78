/* perceptual.c: opens, checks, loads and unloads VGG16 and its LPIPS heads. Leaves
 * formats to tensor_file.h and names to weights.h. */
#include "models/perceptual.h"

#include "base/str.h"
#include "models/model_dir.h"

#include <stdio.h>

#define WIDTH_MAX 65536

/* Widths are read off the file: it carries no config. */
static bool read_widths(struct perceptual *p, struct err *e)
{
    for (int i = 0; i < VGG_CONVOLUTIONS; i++) {
        char name[32];
        snprintf(name, sizeof name, "features.%d.weight", vgg_feature(i));
        const struct tensor_entry *entry = tensor_file_find(&p->vgg_network.file, name);
        if (!entry || entry->rank != 4 || entry->dim[0] < 1 || entry->dim[0] > WIDTH_MAX)
            return err_set(e, ERR_INPUT,
                           "%s: %s: found %s, expected a convolution of 1..%d channels "
                           "(torchvision's vgg16)",
                           STR_SHOW(p->vgg_network.path), name,
                           entry ? "another shape" : "no such tensor", WIDTH_MAX);
        p->config.channels[i] = entry->dim[0];
    }
    return true;
}

/* The names of our own ensembles, of torchvision's download and of the lpips package. */
static const char *const vgg_stems[] = {"vgg16", "vgg16-397923af", NULL};
static const char *const heads_stems[] = {"lpips", "vgg", NULL};

/* The first of these that is there; *path is NULL where none is. */
static bool find_weights(const char *directory, const char *const *stems, char **path,
                         struct err *e)
{
    for (; *stems; stems++) {
        if (!model_dir_find_weights(directory, *stems, path, e))
            return false;
        if (*path)
            return true;
    }
    return true;
}

static bool open_vgg(struct perceptual *p, const char *directory, struct err *e)
{
    char *path = NULL;
    if (!find_weights(directory, vgg_stems, &path, e) ||
        (!path && !model_dir_weights(directory, vgg_stems[0], &path, e)))
        return false;
    return network_open_as(&p->vgg_network, path, layout_vgg, p->shapes, e);
}

static bool open_heads(struct perceptual *p, const char *directory, struct err *e)
{
    char *path = NULL;
    if (!find_weights(directory, heads_stems, &path, e))
        return false;
    p->has_heads = path != NULL;
    return !path || network_open(&p->heads_network, path, p->shapes, e);
}

static bool check_weights(struct perceptual *p, const struct progress *progress,
                          struct err *e)
{
    tc_scope *s = tc_push(p->shapes);
    tc_tensor *maps[VGG_TAPS];
    vgg_unit_maps(s, p->vgg_network.asked, &p->config,
                  tc_zeros(s, TC_F32, SHAPE(1, 3, 32, 32)), maps);
    bool ok = network_check(&p->vgg_network, s, progress, e);
    network_leave_out(&p->vgg_network, (const char *const[]){"classifier", NULL});
    if (ok && p->has_heads) {
        lpips_distance(s, p->heads_network.asked, maps, maps);
        ok = network_check(&p->heads_network, s, progress, e);
    }
    tc_pop(s, NULL);
    return ok;
}

bool perceptual_open(struct perceptual *p, const char *directory,
                     const struct progress *progress, struct err *e)
{
    p->shapes = tc_open(&(struct tc_settings){.device = "meta"}, e);
    bool ok = p->shapes && open_vgg(p, directory, e) && read_widths(p, e) &&
              open_heads(p, directory, e) && check_weights(p, progress, e);
    if (!ok)
        perceptual_close(p);
    return ok;
}

static bool check_heads(const struct perceptual *p, struct err *e)
{
    tc_scope *s = tc_push(p->scope);
    bool ok = true;
    for (int i = 0; ok && i < VGG_TAPS; i++) {
        int64_t channels = p->config.channels[(int[]){1, 3, 6, 9, 12}[i]];
        tc_tensor *x = w_tensor(s, lpips_head(p->heads, i), SHAPE(1, channels, 1, 1));
        x = tc_amin(s, tc_reshape(s, x, SHAPE(channels)), 0);
        double least;
        ok = tc_to_host(s, x, TC_F64, &least, sizeof least) || tc_check(s, e);
        if (ok && !(least >= 0))
            ok =
                err_set(e, ERR_INPUT,
                        "%s: lin%d.model.1.weight: found %g, expected no negative weight",
                        STR_SHOW(p->heads_network.path), i, least);
    }
    tc_pop(s, NULL);
    return ok;
}

bool perceptual_load(struct perceptual *p, tc_scope *root, enum tc_dtype dtype,
                     struct err *e)
{
    p->dtype = dtype;
    p->scope = tc_push(root);
    tc_context(p->scope, "perceptual network");
    p->vgg = network_load(&p->vgg_network, p->scope, dtype, e);
    bool ok = p->vgg.node != NULL;
    if (ok && p->has_heads) {
        p->heads = network_load(&p->heads_network, p->scope, dtype, e);
        ok = p->heads.node && check_heads(p, e);
    }
    if (!ok)
        perceptual_unload(p);
    return ok;
}

void perceptual_unload(struct perceptual *p)
{
    if (!p->scope)
        return;
    weights_unload(p->vgg);
    weights_unload(p->heads);
    tc_pop(p->scope, NULL);
    p->vgg.node = p->heads.node = NULL;
    p->scope = NULL;
}

void perceptual_close(struct perceptual *p)
{
    perceptual_unload(p);
    network_close(&p->vgg_network);
    network_close(&p->heads_network);
    tc_close(p->shapes);
    *p = (struct perceptual){0};
}
