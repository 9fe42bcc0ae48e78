/* work_driver.c: draws one picture and says how many floating-point operations it really
 * took, by the operations that ran.
 *
 *   work_driver DIFFUSER SCHEDULER STEPS FROM TO CACHE_INTERVAL */
#include "diffusion/sampler.h"

#include <stdio.h>
#include <stdlib.h>

static bool draw(tc_scope *root, const struct diffuser *d,
                 const struct sampler_settings *settings, struct err *e)
{
    struct sampler_cell cell = {.noise_seed = 1};
    struct sampler_picture picture = {0};
    struct diffuser_weights loaded = diffuser_weights_new(root, d, TC_F32);
    struct tc_work work = {0};
    tc_scope *s = tc_push(root);
    tc_count(root, &work);
    bool ok = (cell.prompt = sampler_encode(s, &loaded, "a cat", e)) &&
              (!sampler_takes_negative(settings) ||
               (cell.negative = sampler_encode(s, &loaded, "fog", e))) &&
              sampler_run(root, &loaded, settings, &cell, 1, NULL, NULL, &picture, e);
    tc_count(root, NULL);
    tc_pop(s, NULL);
    diffuser_unload(&loaded);
    image_free(&picture.image);
    printf("%.0f\n", work.convolutions + work.products);
    return ok && picture.finite;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct diffuser diffuser = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 1}, &e);
    bool ok =
        argc == 7 && root && diffuser_open(&diffuser, "tiny", argv[1], argv[2], NULL, &e);
    if (ok) {
        struct sampler_settings settings = {.steps = atoi(argv[3]),
                                            .guidance = 7.5,
                                            .guided_from = atof(argv[4]),
                                            .guided_to = atof(argv[5]),
                                            .cache_interval = atoi(argv[6]),
                                            .height = 64,
                                            .width = 64};
        ok = draw(root, &diffuser, &settings, &e);
    }
    if (!ok)
        fprintf(stderr, "work_driver: %s\n", e.message);
    diffuser_close(&diffuser);
    tc_close(root);
    return !ok;
}
