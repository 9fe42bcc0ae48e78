/* sampler.c: text to latent to picture, as diffusers' StableDiffusionPipeline goes about
 * it: encode the prompts, remove noise step by step under classifier-free guidance,
 * decode. Leaves loading to diffuser.c and the arithmetic of a step to the schedulers. */
#include "diffusion/sampler.h"

#include "base/stop.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

/* The host looks every so many steps for what broke, since looking waits for the device.
 */
#define LOOK_STEPS 10

/* What the UNet is steered by, and what it made of it. */
struct steering {
    struct unet_condition text;
    struct unet_cache cache;
};

/* One batch on its way. */
struct batch {
    const struct diffuser *d;
    struct diffuser_weights *w;
    const struct sampler_settings *settings;
    const struct sampler_cell *cells;
    int count;
    bool guided;                  /* in one evaluation at least */
    struct steering both, prompt; /* with guidance and without */
    struct scheduler *scheduler;
    tc_rng **rngs;     /* one a picture, so that a picture's noise is its own */
    tc_tensor **texts; /* [2B]: room to join the cells' */
    /* [B]: 0 for a picture whose numbers are finite so far, else NaN */
    tc_tensor *broken;
    struct sampler_picture *pictures;
};

struct sampler_evaluation sampler_evaluation(const struct sampler_settings *settings,
                                             int i, int total)
{
    struct sampler_evaluation now = {0};
    int alike = 0; /* evaluations before this one in a row */
    for (int j = 0; j <= i; j++) {
        double middle = (j + 0.5) / total;
        bool guided = settings->guidance > 1 && middle >= settings->guided_from &&
                      middle < settings->guided_to;
        alike = j > 0 && guided == now.guided ? alike + 1 : 0;
        now.guided = guided;
    }
    now.whole = settings->cache_interval <= 1 || alike % settings->cache_interval == 0;
    return now;
}

bool sampler_takes_negative(const struct sampler_settings *settings)
{
    return settings->guidance > 1 && settings->guided_from < settings->guided_to;
}

static bool is_ever_guided(const struct batch *b)
{
    int total = scheduler_evaluations(b->scheduler);
    bool guided = false;
    for (int i = 0; i < total; i++)
        guided |= sampler_evaluation(b->settings, i, total).guided;
    return guided;
}

/* Text */

tc_tensor *sampler_encode(tc_scope *up, struct diffuser_weights *w, const char *text,
                          struct err *e)
{
    const struct diffuser *d = w->diffuser;
    int tokens = tokenizer_max_length(d->tokenizer);
    tc_tensor *x = NULL;
    int64_t *ids = calloc((size_t)tokens, sizeof *ids);
    if (!ids) {
        err_set(e, ERR_MEMORY, "no host memory for %d tokens", tokens);
        return NULL;
    }
    if (diffuser_need(w, PART_TEXT, e) &&
        tokenizer_encode(d->tokenizer, text, ids, tokens, NULL, e)) {
        tc_scope *s = tc_push(up);
        x = tc_from_host(s, TC_I64, SHAPE(1, tokens), ids);
        x = tc_pop(s, clip_text_forward(s, w->part[PART_TEXT].w, &d->text, x, 0));
        if (!tc_check(up, e))
            x = NULL;
    }
    free(ids);
    return x;
}

/* The text that steers the steps: [2B,T,D] with guidance, [B,T,D] without. */
static void join_texts(tc_scope *up, struct batch *b)
{
    /* diffusers puts the negative half first (encode_prompt, torch.cat). */
    int half = b->guided ? b->count : 0;
    for (int i = 0; i < b->count; i++) {
        b->texts[i] = b->cells[i].negative;
        b->texts[half + i] = b->cells[i].prompt;
    }
    tc_tensor *x = tc_cat(up, half + b->count, b->texts, 0);
    b->both = (struct steering){{.scope = up, .text = x}, {.scope = up}};
    b->prompt = b->both;
    if (b->guided)
        b->prompt.text.text = tc_slice(up, x, 0, b->count, 2 * b->count);
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

static void empty_cache(struct unet_cache *cache)
{
    cache->features = tc_replace(cache->scope, cache->features, NULL);
}

/* Classifier-free guidance: both halves in one batch, then away from the negative one.
 * x [B,C,h,w] -> model output [B,C,h,w] f32 */
static tc_tensor *guided_output(tc_scope *up, struct batch *b, tc_tensor *x, int i)
{
    struct sampler_evaluation now =
        sampler_evaluation(b->settings, i, scheduler_evaluations(b->scheduler));
    struct steering *by = now.guided ? &b->both : &b->prompt;
    tc_scope *s = tc_push(up);
    x = scheduler_scale_input(s, b->scheduler, x, i);
    if (now.guided)
        x = tc_cat(s, 2, (tc_tensor *[]){x, x}, 0);
    if (now.whole) {
        empty_cache(&b->both.cache);
        empty_cache(&b->prompt.cache);
    }
    const struct diffuser_resident *unet = &b->w->part[PART_UNET];
    tc_tensor *out = unet_forward(s, unet->w, &b->d->unet, tc_cast(s, x, unet->dtype),
                                  scheduler_timestep(b->scheduler, i), &by->text,
                                  b->settings->cache_interval > 1 ? &by->cache : NULL);
    out = tc_cast(s, out, TC_F32);
    if (now.guided) {
        tc_tensor *negative = tc_slice(s, out, 0, 0, b->count);
        tc_tensor *positive = tc_slice(s, out, 0, b->count, 2 * b->count);
        tc_tensor *away = tc_sub(s, positive, negative);
        out = tc_add(s, negative, tc_scale(s, away, b->settings->guidance));
    }
    return tc_pop(s, out);
}

/* Numbers that break */

/* x - x is 0 where x is finite and NaN elsewhere, and a sum keeps a NaN: nothing that
 * breaks between two looks is missed. x [B,C,h,w] */
static void note_broken(tc_scope *up, struct batch *b, tc_tensor *x)
{
    tc_scope *s = tc_push(up);
    tc_tensor *zero = tc_reshape(s, tc_sub(s, x, x), SHAPE(b->count, -1));
    tc_tensor *sum = tc_sum(s, zero, 1); /* [B] */
    if (b->broken)
        sum = tc_add(s, b->broken, sum);
    b->broken = tc_replace(up, b->broken, tc_pop(s, sum));
}

/* Tells the host which pictures broke; false when all did. */
static bool look(tc_scope *s, struct batch *b)
{
    float *sums = calloc((size_t)b->count, sizeof *sums);
    bool any = false;
    if (!sums)
        tc_fail(s, ERR_MEMORY, "no host memory for a batch of %d", b->count);
    else if (tc_to_host(s, b->broken, TC_F32, sums, (size_t)b->count * sizeof *sums))
        for (int i = 0; i < b->count; i++)
            any |= b->pictures[i].finite = sums[i] == 0;
    free(sums);
    return any;
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
        note_broken(s, b, out);
        x = tc_replace(s, x, tc_pop(t, next));
        if (i + 1 == total)
            note_broken(s, b, x);
        if (((i + 1) % LOOK_STEPS == 0 || i + 1 == total) && !look(s, b))
            break;
        if (step && tc_ok(s))
            step(user, i + 1, total);
    }
    return x;
}

/* Picture */

/* Latent [1,C,h,w] -> [1,3,H,W] f32 in [-1,1] but for overshoot */
static tc_tensor *decode(tc_scope *up, const struct batch *b, enum diffuser_part part,
                         tc_tensor *latent)
{
    const struct vae_config *vae = &b->d->vae;
    const struct diffuser_resident *p = &b->w->part[part];
    tc_scope *s = tc_push(up);
    latent = tc_scale(s, latent, 1 / vae->scaling_factor);
    if (vae->shift_factor != 0)
        latent = tc_add_scalar(s, latent, vae->shift_factor);
    tc_tensor *x = vae_decode(s, p->w, vae, tc_cast(s, latent, p->dtype));
    return tc_pop(s, tc_cast(s, x, TC_F32));
}

/* [1,3,H,W] -> bytes [H,W,3], as diffusers' VaeImageProcessor.postprocess */
static bool copy_picture(tc_scope *up, tc_tensor *x, struct image *image, struct err *e)
{
    tc_scope *s = tc_push(up);
    x = tc_clamp(s, tc_add_scalar(s, tc_scale(s, x, 0.5), 0.5), 0, 1);
    x = tc_round(s, tc_scale(s, x, 255));
    x = tc_reshape(s, x, SHAPE(tc_size(x, 1), tc_size(x, 2), tc_size(x, 3)));
    x = tc_cast(s, tc_permute(s, x, SHAPE(1, 2, 0)), TC_U8);
    bool ok =
        tc_check(s, e) && image_new(image, (int)tc_size(x, 1), (int)tc_size(x, 0), e) &&
        (tc_to_host(s, x, TC_U8, image->rgb, (size_t)tc_numel(x)) || tc_check(s, e));
    tc_pop(s, NULL);
    return ok;
}

/* In the VAE's own precision and, where that overflows, once more in f32. */
static bool decode_one(tc_scope *up, const struct batch *b, tc_tensor *latent,
                       struct sampler_picture *picture, struct err *e)
{
    tc_scope *s = tc_push(up);
    bool ok = diffuser_need(b->w, PART_VAE, e);
    bool exact = ok && b->w->part[PART_VAE].dtype == TC_F32;
    tc_tensor *x = ok ? decode(s, b, PART_VAE, latent) : NULL;
    picture->finite = tc_all_finite(s, x);
    if (ok && tc_ok(s) && !picture->finite && !exact) {
        ok = diffuser_need(b->w, PART_VAE_F32, e);
        x = ok ? decode(s, b, PART_VAE_F32, latent) : NULL;
        picture->upcast = picture->finite = tc_all_finite(s, x);
    }
    ok = ok && tc_check(s, e) &&
         (!picture->finite || copy_picture(s, x, &picture->image, e));
    tc_pop(s, NULL);
    return ok;
}

/* One picture at a time: at full size a decoder's activations outweigh a UNet's. */
static bool decode_all(tc_scope *up, const struct batch *b, tc_tensor *latents,
                       struct err *e)
{
    for (int i = 0; i < b->count; i++) {
        if (!stop_check(e))
            return false;
        tc_scope *s = tc_push(up);
        tc_tensor *latent = tc_slice(s, latents, 0, i, i + 1);
        bool ok = !b->pictures[i].finite || decode_one(s, b, latent, &b->pictures[i], e);
        tc_pop(s, NULL);
        if (!ok)
            return false;
    }
    return true;
}

static bool run_batch(tc_scope *s, struct batch *b, sampler_step_fn *step, void *user,
                      struct err *e)
{
    b->scheduler = scheduler_new(s, &b->d->scheduler, b->settings->steps, e);
    if (!b->scheduler)
        return false;
    b->guided = is_ever_guided(b);
    join_texts(s, b);
    if (!tc_check(s, e) || !diffuser_need(b->w, PART_UNET, e))
        return false;
    tc_tensor *latents = remove_noise(s, b, start_noise(s, b), step, user);
    if (!tc_check(s, e))
        return false;
    if (b->settings->last)
        diffuser_drop(b->w, PART_UNET);
    return decode_all(s, b, latents, e);
}

bool sampler_run(tc_scope *root, struct diffuser_weights *w,
                 const struct sampler_settings *settings,
                 const struct sampler_cell *cells, int count, sampler_step_fn *step,
                 void *user, struct sampler_picture *pictures, struct err *e)
{
    struct batch b = {.d = w->diffuser,
                      .w = w,
                      .settings = settings,
                      .cells = cells,
                      .count = count,
                      .pictures = pictures};
    memset(pictures, 0, (size_t)count * sizeof *pictures);
    b.rngs = calloc((size_t)count, sizeof *b.rngs);
    b.texts = calloc(2 * (size_t)count, sizeof *b.texts);
    bool ok = (b.rngs && b.texts) ||
              err_set(e, ERR_MEMORY, "no host memory for a batch of %d", count);
    if (ok) {
        tc_scope *s = tc_push(root);
        tc_context(s, "%s", b.d->name);
        tc_interruptible(s, stop_check_overdue);
        ok = run_batch(s, &b, step, user, e);
        scheduler_free(b.scheduler);
        tc_pop(s, NULL);
    }
    free(b.rngs);
    free(b.texts);
    return ok;
}
