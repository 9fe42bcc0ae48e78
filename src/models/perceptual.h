/* perceptual.h: VGG16 and its LPIPS heads: their files, checked, and their weights on the
 * device. Leaves their arithmetic to nets.h. */
#ifndef DIFFENS_PERCEPTUAL_H
#define DIFFENS_PERCEPTUAL_H

#include "diffens/nets.h"
#include "models/network.h"

/* Start from `{0}`. */
struct perceptual {
    struct vgg_config config;
    bool has_heads;
    struct network vgg_network, heads_network;
    tc_scope *shapes;    /* root on the "meta" device that holds the checked shapes */
    tc_scope *scope;     /* owns the weights while they are loaded */
    enum tc_dtype dtype; /* of the computation */
    weights vgg, heads;  /* the node of `heads` is NULL where there are none */
};

/* Reads everything but the weights' bytes of a directory that holds vgg16.safetensors or
 * .pth (torchvision's names) and perhaps lpips.safetensors or vgg.pth (the lpips
 * package's names), and checks it. */
bool perceptual_open(struct perceptual *p, const char *directory,
                     const struct progress *progress, struct err *e);

/* Puts the weights on the device of `root`. ERR_INPUT for a head with a negative weight:
 * a distance must not be negative. */
bool perceptual_load(struct perceptual *p, tc_scope *root, enum tc_dtype dtype,
                     struct err *e);

/* Takes them off the device. Accepts one that is not loaded. */
void perceptual_unload(struct perceptual *p);

/* Accepts a zeroed or half-built object. */
void perceptual_close(struct perceptual *p);

#endif
