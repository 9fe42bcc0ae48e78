/* clip.c: opens, checks, loads and unloads the CLIP image encoder. Leaves the reading of
 * its settings to clip_config.c. */
#include "models/clip.h"

#include "base/str.h"
#include "models/model_dir.h"

#include <stdlib.h>

static bool read_settings(struct clip *c, const char *directory, struct err *e)
{
    char *config = str_path(directory, "config.json");
    char *preprocessor = str_path(directory, "preprocessor_config.json");
    bool ok = config && preprocessor
                  ? clip_vision_config_read(config, &c->config, e) &&
                        clip_normalisation_read(preprocessor, c->mean, c->deviation, e)
                  : err_set(e, ERR_MEMORY, "no host memory for a path");
    free(config);
    free(preprocessor);
    return ok;
}

static bool check_weights(struct clip *c, const struct progress *progress, struct err *e)
{
    tc_scope *s = tc_push(c->shapes);
    int64_t side = c->config.image_size;
    clip_vision_forward(s, c->network.asked, &c->config,
                        tc_zeros(s, TC_F32, SHAPE(1, 3, side, side)));
    bool ok = network_check(&c->network, s, progress, e);
    network_leave_out(
        &c->network, (const char *const[]){"text_model", "text_projection", "logit_scale",
                                           "vision_model.embeddings.position_ids", NULL});
    tc_pop(s, NULL);
    return ok;
}

bool clip_open(struct clip *c, const char *directory, const struct progress *progress,
               struct err *e)
{
    char *path = NULL;
    c->shapes = tc_open(&(struct tc_settings){.device = "meta"}, e);
    bool ok = c->shapes && read_settings(c, directory, e) &&
              model_dir_weights(directory, "model", &path, e) &&
              network_open_as(&c->network, path, layout_clip_vision, c->shapes, e) &&
              check_weights(c, progress, e);
    if (!ok)
        clip_close(c);
    return ok;
}

bool clip_load(struct clip *c, tc_scope *root, enum tc_dtype dtype, struct err *e)
{
    c->dtype = dtype;
    c->scope = tc_push(root);
    tc_context(c->scope, "clip");
    c->w = network_load(&c->network, c->scope, dtype, e);
    if (!c->w.node)
        clip_unload(c);
    return c->w.node != NULL;
}

void clip_unload(struct clip *c)
{
    if (!c->scope)
        return;
    weights_unload(c->w);
    tc_pop(c->scope, NULL);
    c->w.node = NULL;
    c->scope = NULL;
}

void clip_close(struct clip *c)
{
    clip_unload(c);
    network_close(&c->network);
    tc_close(c->shapes);
    *c = (struct clip){0};
}
