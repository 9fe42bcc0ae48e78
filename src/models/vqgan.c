/* vqgan.c: opens, checks, loads and unloads the VQGAN. Leaves the reading of its
 * architecture to vqgan_config.c. */
#include "models/vqgan.h"

#include "base/str.h"
#include "models/configs.h"

static bool check_weights(struct vqgan *v, const struct progress *progress, struct err *e)
{
    tc_scope *s = tc_push(v->shapes);
    int64_t side = 2 * vqgan_factor(&v->config);
    weights w = v->network.asked;
    tc_tensor *z =
        vqgan_encode(s, w, &v->config, tc_zeros(s, TC_F32, SHAPE(1, 3, side, side)));
    z = vqgan_quantize(s, w, &v->config, vqgan_quant_conv(s, w, &v->config, z));
    vqgan_decode(s, w, &v->config, z);
    bool ok = network_check(&v->network, s, progress, e);
    network_leave_out(&v->network, (const char *const[]){"loss", NULL});
    tc_pop(s, NULL);
    return ok;
}

bool vqgan_open(struct vqgan *v, const char *path, const struct progress *progress,
                struct err *e)
{
    char *copy = str_dup(path);
    if (!copy)
        return err_set(e, ERR_MEMORY, "no host memory for a path");
    v->shapes = tc_open(&(struct tc_settings){.device = "meta"}, e);
    bool ok =
        v->shapes && network_open_as(&v->network, copy, layout_vqgan, v->shapes, e) &&
        vqgan_config_from_tensors(&v->network.file, STR_SHOW(path), &v->config, e) &&
        check_weights(v, progress, e);
    if (!ok)
        vqgan_close(v);
    return ok;
}

bool vqgan_load(struct vqgan *v, tc_scope *root, enum tc_dtype dtype, struct err *e)
{
    v->dtype = dtype;
    v->scope = tc_push(root);
    tc_context(v->scope, "vqgan");
    v->w = network_load(&v->network, v->scope, dtype, e);
    if (!v->w.node)
        vqgan_unload(v);
    return v->w.node != NULL;
}

void vqgan_unload(struct vqgan *v)
{
    if (!v->scope)
        return;
    weights_unload(v->w);
    tc_pop(v->scope, NULL);
    v->w.node = NULL;
    v->scope = NULL;
}

void vqgan_close(struct vqgan *v)
{
    vqgan_unload(v);
    network_close(&v->network);
    tc_close(v->shapes);
    *v = (struct vqgan){0};
}
