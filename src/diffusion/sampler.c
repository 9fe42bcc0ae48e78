/* sampler.c: text to latent to picture, as diffusers' StableDiffusionPipeline goes about
 * it: encode the prompts, remove noise step by step under classifier-free guidance,
 * decode. Leaves loading to diffuser.c and the arithmetic of a step to the schedulers. */
#include "diffusion/sampler.h"

#include "base/stop.h"
#include "base/str.h"

#include <stdlib.h>

/* A latent is looked at every so many steps, since looking waits for the device. */
#define FINITE_CHECK_STEPS 10

/* One batch on its way. */
struct batch {
    const struct diffuser *d;
    const struct diffuser_weights *w;
    const struct sampler_settings *settings;
    const struct sampler_cell *cells;
    int count;
    bool guided;
    struct unet_condition text;
    struct scheduler *scheduler;
    tc_rng **rngs; /* one a picture, so that a picture's noise is its own */
};

/* Text */

static bool encode_ids(const struct batch *b, int64_t *ids, int tokens, struct err *e)
{
    /* diffusers puts the negative half first (encode_prompt, torch.cat). */
    int half = b->guided ? b->count : 0;
    for (int i = 0; i < b->count; i++) {
        const struct sampler_cell *cell = &b->cells[i];
        if (b->guided && !tokenizer_encode(b->d->tokenizer, cell->negative,
                                           ids + (ptrdiff_t)i * tokens, tokens, NULL, e))
            return false;
        if (!tokenizer_encode(b->d->tokenizer, cell->prompt,
                              ids + (ptrdiff_t)(half + i) * tokens, tokens, NULL, e))
            return false;
    }
    return true;
}

/* The text that steers every step: [2B,T,D] with guidance, [B,T,D] without. */
static bool encode_text(tc_scope *up, struct batch *b, struct err *e)
{
    int tokens = tokenizer_max_length(b->d->tokenizer);
    int rows = b->guided ? 2 * b->count : b->count;
    int64_t *ids = calloc((size_t)rows * (size_t)tokens, sizeof *ids);
    if (!ids)
        return err_set(e, ERR_MEMORY, "no host memory for the tokens of %d prompts",
                       rows);
    bool ok = encode_ids(b, ids, tokens, e);
    if (ok) {
        tc_scope *s = tc_push(up);
        tc_tensor *x = tc_from_host(s, TC_I64, SHAPE(rows, tokens), ids);
        x = clip_text_forward(s, b->w->text, &b->d->text, x, 0);
        b->text = (struct unet_condition){.scope = up, .text = tc_pop(s, x)};
        ok = tc_check(up, e);
    }
    free(ids);
    return ok;
}

/* Noise and steps */

/* Every picture's starting noise, from its own generator. -> [B,C,h,w] f32 */
static tc_tensor *start_noise(tc_scope *up, struct batch *b)
{
    tc_scope *s = tc_push(up);
    int64_t factor = diffuser_factor(b->d);
    struct tc_shape one = SHAPE(1, b->d->unet.in_channels, b->settings->height / factor,
                                b->settings->width / factor);
    tc_tensor *x = NULL;
    for (int i = 0; i < b->count; i++) {
        b->rngs[i] = tc_rng_new(up, b->cells[i].noise_seed);
        tc_tensor *next = tc_randn(s, b->rngs[i], one);
        x = x ? tc_cat(s, 2, (tc_tensor *[]){x, next}, 0) : next;
    }
    return tc_pop(s, tc_scale(s, x, scheduler_init_noise_sigma(b->scheduler)));
}

/* Classifier-free guidance: both halves in one batch, then away from the negative one.
 * x [B,C,h,w] -> model output [B,C,h,w] f32 */
static tc_tensor *guided_output(tc_scope *up, struct batch *b, tc_tensor *x, int i)
{
    tc_scope *s = tc_push(up);
    x = scheduler_scale_input(s, b->scheduler, x, i);
    if (b->guided)
        x = tc_cat(s, 2, (tc_tensor *[]){x, x}, 0);
    tc_tensor *out = unet_forward(s, b->w->unet, &b->d->unet, tc_cast(s, x, b->w->dtype),
                                  scheduler_timestep(b->scheduler, i), &b->text);
    out = tc_cast(s, out, TC_F32);
    if (b->guided) {
        tc_tensor *negative = tc_slice(s, out, 0, 0, b->count);
        tc_tensor *positive = tc_slice(s, out, 0, b->count, 2 * b->count);
        tc_tensor *away = tc_sub(s, positive, negative);
        out = tc_add(s, negative, tc_scale(s, away, b->settings->guidance));
    }
    return tc_pop(s, out);
}

/* Noise [B,C,h,w] -> latent [B,C,h,w] */
static tc_tensor *remove_noise(tc_scope *s, struct batch *b, tc_tensor *x,
                               sampler_step_fn *step, void *user)
{
    int total = scheduler_evaluations(b->scheduler);
    for (int i = 0; i < total && tc_ok(s); i++) {
        if (stop_asked()) {
            tc_fail(s, ERR_STOPPED, "stopped by %s", stop_reason());
            break;
        }
        tc_scope *t = tc_push(s);
        tc_context(t, "step %d of %d", i + 1, total);
        tc_tensor *out = guided_output(t, b, x, i);
        tc_tensor *next = scheduler_step(t, b->scheduler, i, out, x, b->rngs);
        x = tc_replace(s, x, tc_pop(t, next));
        bool look = (i + 1) % FINITE_CHECK_STEPS == 0 || i + 1 == total;
        if (look && !tc_all_finite(s, x))
            tc_fail(s, ERR_NONFINITE, "step %d of %d: the latent is not finite", i + 1,
                    total);
        if (step && tc_ok(s))
            step(user, i + 1, total);
    }
    return x;
}

/* Picture */

/* Latent [1,C,h,w] -> bytes [H,W,3] u8, as diffusers' VaeImageProcessor.postprocess */
static tc_tensor *decode(tc_scope *up, const struct batch *b, tc_tensor *latent)
{
    const struct vae_config *vae = &b->d->vae;
    tc_scope *s = tc_push(up);
    latent = tc_scale(s, latent, 1 / vae->scaling_factor);
    if (vae->shift_factor != 0)
        latent = tc_add_scalar(s, latent, vae->shift_factor);
    tc_tensor *x = vae_decode(s, b->w->vae, vae, tc_cast(s, latent, b->w->vae_dtype));
    x = tc_cast(s, x, TC_F32); /* [1,3,H,W] */
    if (!tc_all_finite(s, x))
        tc_fail(s, ERR_NONFINITE, "the decoded picture is not finite");
    x = tc_clamp(s, tc_add_scalar(s, tc_scale(s, x, 0.5), 0.5), 0, 1);
    x = tc_round(s, tc_scale(s, x, 255));
    x = tc_permute(s,
                   tc_reshape(s, x, SHAPE(tc_size(x, 1), tc_size(x, 2), tc_size(x, 3))),
                   SHAPE(1, 2, 0));
    return tc_pop(s, tc_cast(s, x, TC_U8));
}

/* One picture at a time: at full size a decoder's activations outweigh a UNet's. */
static bool decode_all(tc_scope *up, const struct batch *b, tc_tensor *latents,
                       struct image *pictures, struct err *e)
{
    for (int i = 0; i < b->count; i++) {
        if (!stop_check(e))
            return false;
        tc_scope *s = tc_push(up);
        tc_tensor *x = decode(s, b, tc_slice(s, latents, 0, i, i + 1));
        bool ok = tc_check(s, e) &&
                  image_new(&pictures[i], (int)tc_size(x, 1), (int)tc_size(x, 0), e) &&
                  (tc_to_host(s, x, TC_U8, pictures[i].rgb, (size_t)tc_numel(x)) ||
                   tc_check(s, e));
        tc_pop(s, NULL);
        if (!ok)
            return false;
    }
    return true;
}

static bool run_batch(tc_scope *s, struct batch *b, sampler_step_fn *step, void *user,
                      struct image *pictures, struct err *e)
{
    b->scheduler = scheduler_new(s, &b->d->scheduler, b->settings->steps, e);
    if (!b->scheduler || !encode_text(s, b, e))
        return false;
    tc_tensor *latents = remove_noise(s, b, start_noise(s, b), step, user);
    return tc_check(s, e) && decode_all(s, b, latents, pictures, e);
}

bool sampler_run(tc_scope *root, const struct diffuser *d,
                 const struct diffuser_weights *w,
                 const struct sampler_settings *settings,
                 const struct sampler_cell *cells, int count, sampler_step_fn *step,
                 void *user, struct image *pictures, struct err *e)
{
    struct batch b = {.d = d,
                      .w = w,
                      .settings = settings,
                      .cells = cells,
                      .count = count,
                      .guided = settings->guidance > 1};
    b.rngs = calloc((size_t)count, sizeof *b.rngs);
    if (!b.rngs)
        return err_set(e, ERR_MEMORY, "no host memory for a batch of %d", count);
    tc_scope *s = tc_push(root);
    tc_context(s, "%s", d->name);
    bool ok = run_batch(s, &b, step, user, pictures, e);
    scheduler_free(b.scheduler);
    tc_pop(s, NULL);
    free(b.rngs);
    return ok;
}
