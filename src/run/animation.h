/* animation.h: pictures one after another as one file, through ffmpeg. Leaves which
 * pictures to the caller. */
#ifndef DIFFENS_RUN_ANIMATION_H
#define DIFFENS_RUN_ANIMATION_H

#include "diffens/image.h"
#include "diffens/options.h"

/* Fetches a frame into `out`, which is zeroed and freed by the animation. */
typedef bool animation_frame_fn(void *user, int frame, struct image *out, struct err *e);

struct animation {
    enum animation_format format; /* not ANIMATION_NONE */
    int frames;
    int height, width; /* of every frame */
    int rate;          /* frames a second */
    animation_frame_fn *frame;
    void *user;
};

/* How the name of such a file ends: "gif", "webp", "mp4". */
const char *animation_suffix(enum animation_format format);

/* Whether there is an ffmpeg; ERR_INPUT where not. */
bool animation_check(struct err *e);

/* Publishes the file: complete, or not at all. GIF and WebP go round for ever. ERR_OUTPUT
 * where ffmpeg fails, ERR_STOPPED, or what `frame` reports. */
bool animation_write(const struct animation *a, const char *path, struct err *e);

#endif
