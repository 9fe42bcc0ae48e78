/* inject_driver.c: makes every tensor operation of a tiny run fail once, and asks it to
 * stop at every place within, and says whether each came back as an error with nothing
 * left behind.
 *
 *   inject_driver DIFFUSER VQGAN.safetensors */
#include "base/stop.h"
#include "diffens/stages.h"
#include "diffusion/sampler.h"
#include "models/vqgan.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* One thing that is made to fail. */
struct trial {
    const struct diffuser *diffuser;
    struct vqgan *vqgan;
    struct diffuser_weights weights;
};

static bool load_diffuser(struct diffuser_weights *w, tc_scope *root,
                          const struct diffuser *d, struct err *e)
{
    *w = diffuser_weights_new(root, d, TC_F32);
    return diffuser_need(w, PART_TEXT, e) && diffuser_need(w, PART_UNET, e) &&
           diffuser_need(w, PART_VAE, e);
}

static bool load(struct trial *t, tc_scope *root, struct err *e)
{
    struct diffuser_weights w;
    bool ok = load_diffuser(&w, root, t->diffuser, e);
    diffuser_unload(&w);
    ok = ok && vqgan_load(t->vqgan, root, TC_F32, e);
    vqgan_unload(t->vqgan);
    return ok;
}

static bool sample(struct trial *t, tc_scope *root, struct err *e)
{
    const struct sampler_settings settings = {
        .steps = 2,
        .guidance = 7.5,
        .guided_to = 0.7, /* of three evaluations the last without */
        .cache_interval = 2,
        .height = 64,
        .width = 64};
    struct sampler_cell cell = {.noise_seed = 1};
    struct sampler_picture picture = {0};
    tc_scope *s = tc_push(root);
    bool ok =
        (cell.prompt = sampler_encode(s, &t->weights, "a cat", e)) &&
        (cell.negative = sampler_encode(s, &t->weights, "", e)) &&
        sampler_run(root, &t->weights, &settings, &cell, 1, NULL, NULL, &picture, e);
    tc_pop(s, NULL);
    image_free(&picture.image);
    return ok;
}

static bool blend(struct trial *t, tc_scope *root, struct err *e)
{
    struct image parent = {0}, picture = {0};
    struct latents z[2];
    tc_scope *s = tc_push(root);
    bool ok = image_new(&parent, 96, 96, e);
    for (int m = 0; ok && m < 2; m++)
        z[m] = stage_encode(s, t->vqgan, &parent, 64, 64);
    for (enum layer layer = PRECONV; ok && layer <= POSTQUANT; layer++) {
        image_free(&picture);
        ok = stage_decode(
            s, t->vqgan,
            stage_blend(s, t->vqgan, layer, 2, (double[]){0.6, 0.4}, z, true), &picture,
            e);
    }
    tc_pop(s, NULL);
    image_free(&parent);
    image_free(&picture);
    return ok;
}

/* A way to break a run at its n-th place, or with 0 no longer. */
struct fault {
    int code;
    void (*place)(tc_scope *root, int64_t n);
};

static void fail_at(tc_scope *root, int64_t n)
{
    tc_inject_failure(root, n);
}

static int64_t taps_left;

static void stop_at_tap(tc_scope *s, const char *name, tc_tensor *x, void *user)
{
    (void)s, (void)name, (void)x, (void)user;
    if (--taps_left == 0)
        stop_request(SIGTERM);
}

/* Impatiently: also within a step. */
static void stop_at(tc_scope *root, int64_t n)
{
    taps_left = n;
    stop_request(0);
    stop_set_patience(0);
    tc_set_tap(root, n > 0 ? stop_at_tap : NULL, NULL);
}

static const struct fault failing = {ERR_BUG, fail_at}, stopping = {ERR_STOPPED, stop_at};

/* Breaks it at the first place, the second, ... until a run gets through. Returns how
 * many there were, -1 when one of them was not reported or left tensors behind. */
static int64_t break_each(const char *what, const struct fault *fault, struct trial *t,
                          tc_scope *root,
                          bool (*run)(struct trial *, tc_scope *, struct err *))
{
    int64_t alive = tc_live_tensors();
    for (int64_t n = 1;; n++) {
        struct err e = {0};
        fault->place(root, n);
        bool ok = run(t, root, &e);
        fault->place(root, 0);
        tc_recover(root);
        if (tc_live_tensors() != alive || (!ok && e.code != fault->code)) {
            fprintf(stderr, "%s: place %lld: status %d, %lld tensors left: %s\n", what,
                    (long long)n, e.code, (long long)(tc_live_tensors() - alive),
                    e.message);
            return -1;
        }
        if (ok)
            return n - 1;
    }
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct diffuser diffuser = {0};
    struct vqgan vqgan = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 1}, &e);
    if (argc != 3 || !root ||
        !diffuser_open(&diffuser, "tiny", argv[1], NULL, NULL, &e) ||
        !vqgan_open(&vqgan, argv[2], NULL, &e)) {
        fprintf(stderr, "inject_driver: %s\n", e.message);
        return 1;
    }
    struct trial t = {.diffuser = &diffuser, .vqgan = &vqgan};
    int64_t loads = break_each("load", &failing, &t, root, load);
    int64_t samples = -1, stops = -1, blends = -1;
    if (load_diffuser(&t.weights, root, &diffuser, &e)) {
        samples = break_each("sample", &failing, &t, root, sample);
        stops = break_each("stop", &stopping, &t, root, sample);
    }
    diffuser_unload(&t.weights);
    if (vqgan_load(&vqgan, root, TC_F32, &e))
        blends = break_each("blend", &failing, &t, root, blend);
    vqgan_close(&vqgan);
    diffuser_close(&diffuser);
    tc_close(root);
    printf("%lld %lld %lld %lld\n", (long long)loads, (long long)samples,
           (long long)stops, (long long)blends);
    return loads < 0 || samples < 0 || stops < 0 || blends < 0 || tc_live_tensors() != 0;
}
