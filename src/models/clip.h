/* clip.h: the CLIP image encoder that `optimize` compares pictures with: its directory,
 * checked, and its weights on the device. Leaves its arithmetic to nets.h. */
#ifndef DIFFENS_CLIP_H
#define DIFFENS_CLIP_H

#include "diffens/nets.h"
#include "models/network.h"

/* Start from `{0}`. */
struct clip {
    struct clip_vision_config config;
    float mean[3], deviation[3]; /* of pictures in [0,1], for each of RGB */
    struct network network;
    tc_scope *shapes;    /* root on the "meta" device that holds the checked shapes */
    tc_scope *scope;     /* owns the weights while they are loaded */
    enum tc_dtype dtype; /* of the computation */
    weights w;
};

/* Reads everything but the weights' bytes of a Hugging Face directory (CLIPModel or
 * CLIPVisionModelWithProjection) and checks it. */
bool clip_open(struct clip *c, const char *directory, const struct progress *progress,
               struct err *e);

/* Puts the weights on the device of `root`. */
bool clip_load(struct clip *c, tc_scope *root, enum tc_dtype dtype, struct err *e);

/* Takes them off the device. Accepts one that is not loaded. */
void clip_unload(struct clip *c);

/* Accepts a zeroed or half-built object. */
void clip_close(struct clip *c);

/* The settings of the vision tower from config.json, its own or a CLIPModel's. Absent
 * fields have transformers' defaults (CLIPVisionConfig): they may be left out. */
bool clip_vision_config_read(const char *path, struct clip_vision_config *c,
                             struct err *e);

/* image_mean and image_std of preprocessor_config.json; OpenAI's where there is no such
 * file or field. */
bool clip_normalisation_read(const char *path, float mean[3], float deviation[3],
                             struct err *e);

#endif
