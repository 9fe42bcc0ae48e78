/* vqgan.h: the VQGAN in whose latent space pictures are mixed: its file, checked, and its
 * weights on the device. Leaves its arithmetic to nets.h. */
#ifndef DIFFENS_VQGAN_H
#define DIFFENS_VQGAN_H

#include "diffens/nets.h"
#include "models/network.h"

/* Start from `{0}`. */
struct vqgan {
    struct vqgan_config config;
    struct network network;
    tc_scope *shapes;    /* root on the "meta" device that holds the checked shapes */
    tc_scope *scope;     /* owns the weights while they are loaded */
    enum tc_dtype dtype; /* of the computation */
    weights w;
};

/* Reads everything but the weights' bytes from `path` and checks it. */
bool vqgan_open(struct vqgan *v, const char *path, const struct progress *progress,
                struct err *e);

/* Puts the weights on the device of `root`. */
bool vqgan_load(struct vqgan *v, tc_scope *root, enum tc_dtype dtype, struct err *e);

/* Takes them off the device. Accepts one that is not loaded. */
void vqgan_unload(struct vqgan *v);

/* Accepts a zeroed or half-built object. */
void vqgan_close(struct vqgan *v);

#endif
