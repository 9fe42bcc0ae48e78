/* scheduler_driver.c: runs schedulers for test_schedulers.py, which compares every step
 * with diffusers. The network is a fixed function of latent and timestep, so that errors
 * add up as in real use. Knows nothing of what is expected.
 *
 * Usage: scheduler_driver CASES LATENTS B C h w OUT
 * CASES: a line "CONFIG NAME STEPS" each, NAME "-" for the config's own class. LATENTS:
 * f32 [B,C,h,w]. Writes for each case to OUT, as f64: the evaluations, init_noise_sigma,
 * and for each evaluation its timestep and the latents after it. */
#include "diffusion/scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    tc_scope *root;
    struct tc_shape shape;
    size_t count; /* elements of the latents */
    float *start, *latents;
    FILE *out;
};

static tc_tensor *network(tc_scope *s, tc_tensor *x, double timestep)
{
    tc_tensor *wave = tc_cos(s, tc_add_scalar(s, tc_scale(s, x, 2), 0.002 * timestep));
    return tc_combine(s, 2, (double[]){0.8, 0.3}, (tc_tensor *[]){tc_sin(s, x), wave});
}

static bool put(struct run *r, double number)
{
    return fwrite(&number, sizeof number, 1, r->out) == 1;
}

static bool put_latents(struct run *r, tc_scope *s, tc_tensor *x)
{
    if (!tc_to_host(s, x, TC_F32, r->latents, r->count * sizeof *r->latents))
        return false;
    for (size_t i = 0; i < r->count; i++)
        if (!put(r, r->latents[i]))
            return false;
    return true;
}

static bool run_steps(struct run *r, tc_scope *s, struct scheduler *sch)
{
    tc_rng *rngs[16] = {0};
    for (int64_t b = 0; b < r->shape.dim[0] && b < 16; b++)
        rngs[b] = tc_rng_new(s, (uint64_t)(100 + b));
    int evaluations = scheduler_evaluations(sch);
    double sigma = scheduler_init_noise_sigma(sch);
    tc_tensor *x = tc_scale(s, tc_from_host(s, TC_F32, r->shape, r->start), sigma);
    bool ok = put(r, evaluations) && put(r, sigma);
    for (int i = 0; ok && i < evaluations; i++) {
        tc_scope *step = tc_push(s);
        double t = scheduler_timestep(sch, i);
        tc_tensor *output = network(step, scheduler_scale_input(step, sch, x, i), t);
        x = tc_replace(s, x, tc_pop(step, scheduler_step(step, sch, i, output, x, rngs)));
        ok = put(r, t) && put_latents(r, s, x);
    }
    return ok;
}

static bool run_case(struct run *r, const char *config, const char *name, int steps,
                     struct err *e)
{
    struct scheduler_config c;
    if (!scheduler_config_read(&c, config, strcmp(name, "-") == 0 ? NULL : name, e))
        return false;
    tc_scope *s = tc_push(r->root);
    int64_t alive = tc_live_tensors();
    struct scheduler *sch = scheduler_new(s, &c, steps, e);
    scheduler_config_free(&c);
    bool ok = sch && run_steps(r, s, sch);
    scheduler_free(sch);
    ok = tc_check(s, e) && ok;
    tc_pop(s, NULL);
    if (ok && tc_live_tensors() != alive)
        ok = err_set(e, ERR_BUG, "%lld tensors left", (long long)tc_live_tensors());
    return ok;
}

static bool run_cases(struct run *r, FILE *cases, struct err *e)
{
    char config[512], name[64];
    int steps;
    while (fscanf(cases, "%511s %63s %d", config, name, &steps) == 3)
        if (!run_case(r, config, name, steps, e))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct run r = {0};
    if (argc != 8)
        return 2;
    r.shape = (struct tc_shape)SHAPE(atoll(argv[3]), atoll(argv[4]), atoll(argv[5]),
                                     atoll(argv[6]));
    r.count = 1;
    for (int i = 0; i < 4; i++)
        r.count *= (size_t)r.shape.dim[i];
    r.start = malloc(r.count * sizeof *r.start);
    r.latents = malloc(r.count * sizeof *r.latents);
    FILE *cases = fopen(argv[1], "r"), *latents = fopen(argv[2], "rb");
    r.out = fopen(argv[7], "wb");
    r.root = tc_open(&(struct tc_settings){.device = "cpu", .threads = 1}, &e);
    bool ok = r.start && r.latents && cases && latents && r.out && r.root &&
              fread(r.start, sizeof *r.start, r.count, latents) == r.count &&
              run_cases(&r, cases, &e);
    if (cases)
        fclose(cases);
    if (latents)
        fclose(latents);
    ok = r.out && fclose(r.out) == 0 && ok;
    if (!ok)
        fprintf(stderr, "scheduler_driver: %s\n", e.message);
    tc_close(r.root);
    free(r.start);
    free(r.latents);
    return ok ? 0 : 1;
}
