/* blend.c: the closed-form mix at a layer and its way through the codebook. Leaves which
 * mixtures are made to mixtures.c. */
#include "diffens/stages.h"
#include "models/vqgan.h"

#include <math.h>

static int heaviest(int count, const double *shares)
{
    int best = 0;
    for (int m = 1; m < count; m++)
        if (shares[m] > shares[best])
            best = m;
    return best;
}

/* sum_m w_m z_m, written as z_a + sum_{m != a} w_m (z_m - z_a) + (sum_m w_m - 1) z_a
 * about the heaviest parent a: in this form rounding cannot change a parent of weight 1
 * or a mix of equal parents. */
static tc_tensor *mix(tc_scope *up, enum layer layer, int count, const double *shares,
                      const struct latents *parents)
{
    tc_scope *s = tc_push(up);
    int anchor = heaviest(count, shares);
    tc_tensor *z_anchor = parents[anchor].at[layer];
    tc_tensor *z = z_anchor;
    double excess = -1;
    for (int m = 0; m < count; m++) {
        excess += shares[m];
        if (m == anchor || shares[m] == 0)
            continue;
        tc_tensor *towards = tc_sub(s, parents[m].at[layer], z_anchor);
        z = tc_combine(s, 2, (double[]){1, shares[m]}, (tc_tensor *[]){z, towards});
    }
    if (fabs(excess) > 1e-9) /* weights such as 0.1 x 10 add up to 1 but for rounding */
        z = tc_combine(s, 2, (double[]){1, excess}, (tc_tensor *[]){z, z_anchor});
    return tc_pop(s, z);
}

tc_tensor *stage_blend(tc_scope *up, const struct vqgan *v, enum layer layer, int count,
                       const double *shares, const struct latents *parents,
                       bool requantize)
{
    tc_scope *s = tc_push(up);
    tc_tensor *z = mix(s, layer, count, shares, parents);
    if (layer == PRECONV)
        z = vqgan_quant_conv(s, v->w, &v->config, z);
    if (layer != POSTQUANT || requantize)
        z = vqgan_quantize(s, v->w, &v->config, z);
    return tc_pop(s, z);
}
