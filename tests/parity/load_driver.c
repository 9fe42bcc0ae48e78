/* load_driver.c: opens and loads a diffuser as the program does, and says how long each
 * took.
 *
 *   load_driver DIFFUSER THREADS
 *
 * Prints the seconds of opening and those of loading in f32. */
#include "diffusion/diffuser.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct diffuser d = {.tokenizer_folder = NULL};
    if (argc != 3)
        return 2;
    tc_scope *root =
        tc_open(&(struct tc_settings){.device = "cpu", .threads = atoi(argv[2])}, &e);
    double start = now();
    bool ok = root && diffuser_open(&d, "model", argv[1], NULL, NULL, &e);
    double opened = now();
    struct diffuser_weights w = diffuser_weights_new(root, &d, TC_F32);
    for (enum diffuser_part part = PART_TEXT; ok && part <= PART_VAE; part++)
        ok = diffuser_need(&w, part, &e);
    double loaded = now();
    if (ok)
        printf("%.4f %.4f\n", opened - start, loaded - opened);
    else
        fprintf(stderr, "load_driver: %s\n", e.message);
    diffuser_unload(&w);
    diffuser_close(&d);
    tc_close(root);
    return !ok;
}
