/* plan_work.c: counts what a planned run computes. Leaves the counting of one operation
 * to tc.h, and how long that takes to plan_measure.c. */
#include "stages/plan_work.h"

#include "run/record.h"
#include "stages/crops.h"
#include "stages/generate.h"

static void add_work(struct tc_work *to, const struct tc_work *one, double times)
{
    to->convolutions += times * one->convolutions;
    to->products += times * one->products;
    to->results += times * one->results;
    to->bytes += times * one->bytes;
    to->calls += times * one->calls;
}

static void take_peak(struct tc_work *to, double bytes)
{
    if ((double)to->peak < bytes)
        to->peak = (int64_t)bytes;
}

/* Drawing */

/* Evaluations of a UNet on one batch: the prompt alone, or beside the negative. */
struct evaluations {
    int whole, outermost;               /* how many */
    struct tc_work first, later, outer; /* the first one prepares the others */
};

/* The forward runs of one picture with one diffuser. */
struct drawn {
    struct tc_work text, vae;
    struct evaluations unet[2]; /* [1]: with guidance */
};

static bool count_evaluations(const struct plan *p, const struct diffuser *d,
                              struct drawn *w, struct err *e)
{
    struct sampler_settings settings = generate_settings(p);
    int total;
    if (!generate_count_evaluations(p, d, &total, e))
        return false;
    for (int i = 0; i < total; i++) {
        struct sampler_evaluation now = sampler_evaluation(&settings, i, total);
        w->unet[now.guided].whole += now.whole;
        w->unet[now.guided].outermost += !now.whole;
    }
    return true;
}

/* The UNet on `rows` latents and texts. */
static void count_unet(const struct diffuser *d, struct tc_shape latent, int64_t rows,
                       int64_t tokens, struct evaluations *w)
{
    weights asked = d->unet_network.asked;
    tc_scope *s = tc_push(d->shapes);
    struct tc_shape text = SHAPE(rows, tokens, d->unet.cross_attention_dim);
    struct unet_condition condition = {.scope = s, .text = tc_zeros(s, TC_F32, text)};
    struct unet_cache cache = {.scope = s}, *used = w->outermost > 0 ? &cache : NULL;
    latent.dim[0] = rows;
    tc_tensor *x = tc_zeros(s, TC_F32, latent);
    tc_count(s, &w->first);
    unet_forward(s, asked, &d->unet, x, 0, &condition, used);
    tc_count(s, &w->outer);
    if (used)
        unet_forward(s, asked, &d->unet, x, 0, &condition, used);
    tc_count(s, &w->later);
    unet_forward(s, asked, &d->unet, x, 0, &condition, NULL);
    tc_count(s, NULL);
    tc_pop(s, NULL);
}

static bool count_diffuser(const struct plan *p, const struct diffuser *d,
                           struct drawn *w, struct err *e)
{
    int64_t factor = diffuser_factor(d), tokens = tokenizer_max_length(d->tokenizer);
    struct tc_shape latent =
        SHAPE(1, d->unet.in_channels, p->height / factor, p->width / factor);
    if (!count_evaluations(p, d, w, e))
        return false;
    struct sampler_settings settings = generate_settings(p);
    int64_t texts = sampler_takes_negative(&settings) ? 2 : 1;
    tc_scope *s = tc_push(d->shapes);
    tc_count(s, &w->text);
    clip_text_forward(s, d->text_network.asked, &d->text,
                      tc_zeros(s, TC_I64, SHAPE(texts, tokens)), 0);
    tc_count(s, &w->vae);
    vae_decode(s, d->vae_network.asked, &d->vae, tc_zeros(s, TC_F32, latent));
    tc_count(s, NULL);
    for (int guided = 0; guided < 2; guided++)
        if (w->unet[guided].whole > 0)
            count_unet(d, latent, 1 + guided, tokens, &w->unet[guided]);
    bool ok = tc_check(s, e);
    tc_pop(s, NULL);
    return ok;
}

static void add_evaluations(const struct evaluations *w, double cells, struct tc_work *to)
{
    if (w->whole == 0)
        return;
    add_work(to, &w->first, cells);
    add_work(to, &w->later, cells * (w->whole - 1));
    add_work(to, &w->outer, cells * w->outermost);
    take_peak(to, (double)w->first.peak);
}

static bool count_drawing(const struct plan *p, struct plan_work *work, struct err *e)
{
    struct tc_work *to = &work->draw;
    for (int m = 0; p->diffusers && m < p->models; m++) {
        struct drawn w = {0};
        int64_t cells = 0;
        for (int64_t n = 0; n < p->cases; n++)
            cells += !record_cell_is_done(p->run->record, plan_parent_cell(p, n, m));
        if (cells == 0)
            continue;
        if (!count_diffuser(p, &p->diffusers[m], &w, e))
            return false;
        add_work(to, &w.text, (double)cells);
        add_work(to, &w.vae, (double)cells);
        for (int guided = 0; guided < 2; guided++) {
            add_evaluations(&w.unet[guided], (double)cells, to);
            work->unet_runs += cells * (1 + guided) * w.unet[guided].whole;
            work->outer_runs += cells * (1 + guided) * w.unet[guided].outermost;
        }
        take_peak(to, (double)w.vae.peak);
    }
    return true;
}

/* Mixing */

struct vqgan_work {
    struct tc_work encode, quantize, decode;
};

static bool count_vqgan(const struct plan *p, struct vqgan_work *w, struct err *e)
{
    const struct vqgan *v = &p->vqgan;
    weights asked = v->network.asked;
    tc_scope *s = tc_push(v->shapes);
    tc_count(s, &w->encode);
    tc_tensor *z = tc_zeros(s, TC_F32, SHAPE(1, 3, p->vq_height, p->vq_width));
    z = vqgan_encode(s, asked, &v->config, z);
    tc_count(s, &w->quantize);
    z = vqgan_quant_conv(s, asked, &v->config, z);
    z = vqgan_quantize(s, asked, &v->config, z);
    tc_count(s, &w->decode);
    vqgan_decode(s, asked, &v->config, z);
    tc_count(s, NULL);
    bool ok = tc_check(s, e);
    tc_pop(s, NULL);
    return ok;
}

/* Once through the codebook for each picture: where a layer leaves it out it is little.
 */
static void add_mixtures(const struct plan *p, const struct vqgan_work *w, int64_t cases,
                         struct tc_work *to)
{
    add_work(to, &w->encode, (double)(cases * p->models));
    add_work(to, &w->quantize, (double)(cases * (p->models + p->results)));
    add_work(to, &w->decode, (double)(cases * p->results));
    take_peak(to, (double)w->encode.peak);
    take_peak(to, (double)w->decode.peak);
}

/* What pictures are compared by. */
struct critics_work {
    struct tc_work clip; /* of one window */
    struct tc_work vgg;  /* of one picture */
    int windows, pool;
};

static bool count_windows(const struct plan *p, struct critics_work *w, struct err *e)
{
    struct crops crops = {0};
    bool ok = crops_open(&crops, p->clip.shapes, &p->settings.crops, p->settings.pool, 0,
                         p->vq_height, p->vq_width, p->clip.config.image_size, TC_F32, e);
    w->windows = crops.total;
    w->pool = crops.pool;
    crops_close(&crops);
    return ok;
}

static bool count_critics(const struct plan *p, struct critics_work *w, struct err *e)
{
    int64_t side = p->clip.config.image_size;
    tc_tensor *maps[VGG_TAPS];
    tc_scope *s = tc_push(p->clip.shapes), *t = tc_push(p->perceptual.shapes);
    tc_count(s, &w->clip);
    clip_vision_forward(s, p->clip.network.asked, &p->clip.config,
                        tc_zeros(s, TC_F32, SHAPE(1, 3, side, side)));
    tc_count(s, NULL);
    tc_count(t, &w->vgg);
    vgg_unit_maps(t, p->perceptual.vgg_network.asked, &p->perceptual.config,
                  tc_zeros(t, TC_F32, SHAPE(1, 3, p->vq_height, p->vq_width)), maps);
    tc_count(t, NULL);
    bool ok = tc_check(s, e) && tc_check(t, e);
    tc_pop(s, NULL);
    tc_pop(t, NULL);
    return ok && count_windows(p, w, e);
}

/* A comparison with the parents, as often as the losses are not left out. */
static void add_comparison(const struct plan *p, const struct critics_work *w,
                           double windows, double times, struct tc_work *to)
{
    if (p->settings.clip_weight != 0)
        add_work(to, &w->clip, times * windows);
    if (p->settings.perceptual_weight != 0)
        add_work(to, &w->vgg, times);
}

/* Of a case: the parents' side, the epochs, and the comparison of the result, its best
 * and the baselines on four draws of windows (optimize_report.c). */
static void add_case(const struct plan *p, const struct vqgan_work *v,
                     const struct critics_work *w, struct tc_work *to)
{
    double epochs = (double)p->settings.epochs, models = p->models;
    /* A gradient with respect to pictures alone costs what the forward run does. */
    add_work(to, &v->decode, 2 * epochs);
    add_work(to, &v->quantize, epochs);
    add_comparison(p, w, w->windows, 2 * epochs, to);
    add_work(to, &v->encode, models);
    add_work(to, &v->quantize, models);
    add_comparison(p, w, w->pool, models, to);
    add_work(to, &v->decode, models + 3 + p->results);
    add_comparison(p, w, w->windows, 4 * (models + 4), to);
}

/* A recorded graph keeps nearly all that is made until its gradient is taken: the
 * decoder's until the end, the critics' one after the other. */
static double bytes_kept(const struct tc_work *w)
{
    return w->bytes + w->results;
}

static void take_graph(const struct plan *p, const struct vqgan_work *v,
                       const struct critics_work *w, struct tc_work *to)
{
    int windows = p->settings.crop_batch > 0 && p->settings.crop_batch < w->windows
                      ? p->settings.crop_batch
                      : w->windows;
    double clip = windows * bytes_kept(&w->clip), vgg = bytes_kept(&w->vgg);
    take_peak(to, bytes_kept(&v->decode) + (clip > vgg ? clip : vgg));
}

static bool count_mixing(const struct plan *p, struct tc_work *to, struct err *e)
{
    struct vqgan_work v = {0};
    struct critics_work w = {0};
    int64_t cases = 0;
    for (int64_t n = 0; n < p->cases; n++)
        cases += !plan_case_is_done(p, n);
    if (p->results == 0 || cases == 0)
        return true;
    if (!count_vqgan(p, &v, e))
        return false;
    if (p->run->options->command == COMMAND_BLEND) {
        add_mixtures(p, &v, cases, to);
        return true;
    }
    if (!count_critics(p, &w, e))
        return false;
    for (int64_t n = 0; n < cases; n++)
        add_case(p, &v, &w, to);
    take_graph(p, &v, &w, to);
    return true;
}

bool plan_count_work(const struct plan *p, struct plan_work *work, struct err *e)
{
    *work = (struct plan_work){0};
    return count_drawing(p, work, e) && count_mixing(p, &work->mix, e);
}
