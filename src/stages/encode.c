/* encode.c: parents become latents at the three layers. Leaves mixing to blend.c. */
#include "diffens/stages.h"
#include "models/vqgan.h"

tc_tensor *stage_picture(tc_scope *up, const struct image *picture, int64_t height,
                         int64_t width)
{
    tc_scope *s = tc_push(up);
    tc_tensor *x = tc_from_host(s, TC_U8, SHAPE(1, picture->height, picture->width, 3),
                                picture->rgb);
    x = tc_cast(s, tc_permute(s, x, SHAPE(0, 3, 1, 2)), TC_F32);
    if (picture->height != height || picture->width != width) {
        x = tc_resize_bicubic(s, tc_contiguous(s, x), height, width);
        x = tc_clamp(s, x, 0, 255); /* bicubic overshoots at edges */
    }
    return tc_pop(s, tc_add_scalar(s, tc_scale(s, x, 1 / 127.5), -1));
}

struct latents stage_encode(tc_scope *s, const struct vqgan *v,
                            const struct image *parent, int64_t height, int64_t width)
{
    struct latents z;
    tc_tensor *x = stage_picture(s, parent, height, width);
    x = tc_cast(s, x, v->dtype);
    z.at[PRECONV] = vqgan_encode(s, v->w, &v->config, x);
    z.at[PREQUANT] = vqgan_quant_conv(s, v->w, &v->config, z.at[PRECONV]);
    z.at[POSTQUANT] = vqgan_quantize(s, v->w, &v->config, z.at[PREQUANT]);
    return z;
}
