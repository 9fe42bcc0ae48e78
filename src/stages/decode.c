/* decode.c: latents become pictures. Leaves publishing them to mixtures.c and
 * optimizing.c. */
#include "diffens/stages.h"
#include "models/vqgan.h"

bool stage_decode(tc_scope *up, const struct vqgan *v, tc_tensor *z,
                  struct image *picture, struct err *e)
{
    tc_scope *s = tc_push(up);
    tc_tensor *x =
        tc_cast(s, vqgan_decode(s, v->w, &v->config, z), TC_F32); /* [1,3,H,W] */
    if (!tc_all_finite(s, x))
        tc_fail(s, ERR_NONFINITE, "the decoded picture is not finite");
    x = tc_scale(s, tc_add_scalar(s, x, 1), 127.5);
    x = tc_round(s, tc_clamp(s, x, 0, 255));
    x = tc_cast(s, tc_permute(s, x, SHAPE(0, 2, 3, 1)), TC_U8); /* [1,H,W,3] */
    bool ok =
        tc_check(s, e) && image_new(picture, (int)tc_size(x, 2), (int)tc_size(x, 1), e) &&
        (tc_to_host(s, x, TC_U8, picture->rgb, (size_t)tc_numel(x)) || tc_check(s, e));
    tc_pop(s, NULL);
    return ok;
}
