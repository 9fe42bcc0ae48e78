/* nets_driver.c: runs one network on tensors from a file and writes what comes out, and
 * on request what each block gives, so that test_nets.py can hold it against the
 * reference packages. Leaves every comparison to that test.
 *
 *   nets_driver clip_text|clip_vision|unet|vae|vqgan CONFIG WEIGHTS INPUTS OUTPUTS
 *               [--dtype f32|f16|bf16] [--skip-last N] [--cache N] [--taps]
 *               [--threads N] [--serve]
 *   nets_driver NETWORK CONFIG WEIGHTS INPUTS --meta
 *
 * With --meta the network runs on shapes alone and its findings go to stdout. With
 * --serve it runs once for each line on stdin and answers with its seconds, by the clock
 * and of the processor, so that scripts/bench can let it take turns with a reference;
 * OUTPUTS are those of the last run. The inputs' names say what is run; CONFIG is not
 * looked at for a vqgan. */
#include "diffens/nets.h"
#include "models/clip.h"
#include "models/configs.h"
#include "models/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_RESULTS 4096

struct result {
    char name[192];
    struct tc_shape shape;
    enum tc_dtype dtype;
    void *data;
    size_t bytes;
};

struct driver {
    const char *network, *config, *weights, *inputs, *outputs;
    enum tc_dtype dtype;
    int skip_last, threads;
    int cache; /* timesteps from one whole UNet to the next; 0: no cache */
    bool taps, meta, serve;

    struct tensor_file model, input;
    struct result results[MAX_RESULTS];
    int result_count;
};

static void keep(struct driver *d, tc_scope *s, const char *name, tc_tensor *x)
{
    if (d->meta || !tc_ok(s))
        return;
    if (d->result_count == MAX_RESULTS) {
        tc_fail(s, ERR_BUG, "nets_driver: more than %d results", MAX_RESULTS);
        return;
    }
    struct result *r = &d->results[d->result_count++];
    snprintf(r->name, sizeof r->name, "%s", name);
    r->dtype = tc_dtype_of(x) == TC_I64 ? TC_I64 : TC_F32;
    r->shape.rank = tc_rank(x);
    for (int i = 0; i < r->shape.rank; i++)
        r->shape.dim[i] = tc_size(x, i);
    r->bytes = (size_t)tc_numel(x) * tc_dtype_size(r->dtype);
    r->data = malloc(r->bytes);
    if (!r->data)
        tc_fail(s, ERR_MEMORY, "nets_driver: no memory for %s", name);
    tc_to_host(s, x, r->dtype, r->data, r->bytes);
}

static void keep_tap(tc_scope *s, const char *name, tc_tensor *x, void *user)
{
    struct driver *d = user;
    char numbered[192];

    snprintf(numbered, sizeof numbered, "tap/%04d/%s", d->result_count, name);
    keep(d, s, numbered, x);
}

static bool has_input(const struct driver *d, const char *name)
{
    return tensor_file_find(&d->input, name) != NULL;
}

/* The input of that name: integers as I64, numbers in the dtype of the run. */
static tc_tensor *input(struct driver *d, tc_scope *s, const char *name)
{
    const struct tensor_entry *entry = tensor_file_find(&d->input, name);
    struct err e = {0};
    tc_tensor *x = NULL;

    if (!entry) {
        tc_fail(s, ERR_INPUT, "%s: found no tensor %s", d->inputs, name);
        return NULL;
    }
    void *data = malloc(entry->bytes);
    if (!data || !tensor_file_read(&d->input, entry, data, &e)) {
        tc_fail(s, ERR_INPUT, "%s: %s", name, e.message);
    } else {
        struct tc_shape shape = {.rank = entry->rank};
        memcpy(shape.dim, entry->dim, sizeof shape.dim);
        enum tc_dtype dtype = entry->dtype == FILE_I64 ? TC_I64 : TC_F32;
        x = tc_from_host(s, dtype, shape, data);
        if (dtype == TC_F32)
            x = tc_cast(s, x, d->dtype);
    }
    free(data);
    return x;
}

static bool run_clip_text(struct driver *d, tc_scope *s, weights w, struct err *e)
{
    struct clip_text_config c = {0};

    if (!clip_text_config_read(d->config, &c, e))
        return false;
    if (w_has(w_at(w, "text_model")))
        w = w_at(w, "text_model");
    keep(d, s, "hidden", clip_text_forward(s, w, &c, input(d, s, "ids"), d->skip_last));
    return tc_check(s, e);
}

static bool run_clip_vision(struct driver *d, tc_scope *s, weights w, struct err *e)
{
    struct clip_vision_config c = {0};

    if (!clip_vision_config_read(d->config, &c, e))
        return false;
    keep(d, s, "embeddings", clip_vision_forward(s, w, &c, input(d, s, "x")));
    return tc_check(s, e);
}

/* A forward run for each of the `timesteps`, with one condition: the later ones use the
 * keys and values of the first. */
static bool run_unet(struct driver *d, tc_scope *s, weights w, struct err *e)
{
    struct unet_config c = {0};
    struct unet_condition condition = {.scope = s, .text = input(d, s, "text")};
    struct unet_cache cache = {.scope = s}, *used = d->cache > 0 ? &cache : NULL;
    const struct tensor_entry *entry = tensor_file_find(&d->input, "timesteps");
    float timesteps[8] = {0};

    if (!unet_config_read(d->config, &c, e))
        return false;
    if (!entry || entry->bytes > sizeof timesteps)
        return err_set(e, ERR_INPUT, "%s: expected 1 to 8 timesteps", d->inputs);
    if (!tensor_file_read(&d->input, entry, timesteps, e))
        return false;

    tc_tensor *x = input(d, s, "x");
    for (size_t i = 0; i < entry->bytes / sizeof timesteps[0] && tc_ok(s); i++) {
        char name[32];
        snprintf(name, sizeof name, "eps/%zu", i);
        if (used && i % (size_t)d->cache == 0)
            cache.features = tc_replace(s, cache.features, NULL);
        keep(d, s, name, unet_forward(s, w, &c, x, timesteps[i], &condition, used));
    }
    return tc_check(s, e);
}

static bool run_vae(struct driver *d, tc_scope *s, weights w, struct err *e)
{
    struct vae_config c = {0};

    if (!vae_config_read(d->config, &c, e))
        return false;
    if (has_input(d, "x"))
        keep(d, s, "moments", vae_encode(s, w, &c, input(d, s, "x")));
    if (has_input(d, "z"))
        keep(d, s, "image", vae_decode(s, w, &c, input(d, s, "z")));
    return tc_check(s, e);
}

static bool run_vqgan(struct driver *d, tc_scope *s, weights w, struct err *e)
{
    struct vqgan_config c = {0};

    if (!vqgan_config_from_tensors(&d->model, d->weights, &c, e))
        return false;
    tc_tensor *preconv = vqgan_encode(s, w, &c, input(d, s, "x"));
    tc_tensor *prequant = vqgan_quant_conv(s, w, &c, preconv);
    keep(d, s, "preconv", preconv);
    keep(d, s, "prequant", prequant);
    keep(d, s, "indices", vqgan_nearest(s, w, &c, prequant));
    keep(d, s, "quantized", vqgan_quantize(s, w, &c, prequant));
    if (!has_input(d, "prequant")) {
        keep(d, s, "image", vqgan_decode(s, w, &c, vqgan_quantize(s, w, &c, prequant)));
        return tc_check(s, e);
    }
    /* From here on the reference's latents, so that a tie is not taken for an error. */
    tc_tensor *indices = vqgan_nearest(s, w, &c, input(d, s, "prequant"));
    keep(d, s, "given/indices", indices);
    keep(d, s, "given/postquant", vqgan_lookup(s, w, &c, indices));
    keep(d, s, "image", vqgan_decode(s, w, &c, input(d, s, "postquant")));
    return tc_check(s, e);
}

static bool run_network(struct driver *d, tc_scope *s, weights w, struct err *e)
{
    if (strcmp(d->network, "clip_text") == 0)
        return run_clip_text(d, s, w, e);
    if (strcmp(d->network, "clip_vision") == 0)
        return run_clip_vision(d, s, w, e);
    if (strcmp(d->network, "unet") == 0)
        return run_unet(d, s, w, e);
    if (strcmp(d->network, "vae") == 0)
        return run_vae(d, s, w, e);
    if (strcmp(d->network, "vqgan") == 0)
        return run_vqgan(d, s, w, e);
    return err_set(e, ERR_USAGE, "nets_driver: found network %s", d->network);
}

static void forget_results(struct driver *d)
{
    for (int i = 0; i < d->result_count; i++)
        free(d->results[i].data);
    d->result_count = 0;
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Runs the network each time that a line comes in; the last results stay. */
static bool serve(struct driver *d, tc_scope *root, weights w, struct err *e)
{
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        forget_results(d);
        struct tc_work work = {0};
        double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        tc_scope *s = tc_push(root);
        tc_count(s, &work);
        bool ok = run_network(d, s, w, e);
        tc_count(s, NULL);
        tc_pop(s, NULL);
        if (!ok)
            return false;
        printf("%.6f %.6f %.0f\n", seconds(CLOCK_MONOTONIC) - wall,
               seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
               work.convolutions + work.products);
        fflush(stdout);
    }
    return true;
}

static void print_header(FILE *out, const struct driver *d)
{
    size_t offset = 0;

    fputc('{', out);
    for (int i = 0; i < d->result_count; i++) {
        const struct result *r = &d->results[i];
        fprintf(out, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", r->name,
                r->dtype == TC_I64 ? "I64" : "F32");
        for (int j = 0; j < r->shape.rank; j++)
            fprintf(out, "%s%lld", j ? "," : "", (long long)r->shape.dim[j]);
        fprintf(out, "],\"data_offsets\":[%zu,%zu]}", offset, offset + r->bytes);
        offset += r->bytes;
    }
    fputc('}', out);
}

/* Safetensors, in the order in which the results were made. */
static bool write_results(const struct driver *d, struct err *e)
{
    char *header = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&header, &size);
    FILE *out = fopen(d->outputs, "wb");
    bool ok = text && out;

    if (text) {
        print_header(text, d);
        ok = fclose(text) == 0 && ok;
    }
    uint64_t length = size;
    ok = ok && fwrite(&length, sizeof length, 1, out) == 1;
    ok = ok && fwrite(header, 1, size, out) == size;
    for (int i = 0; i < d->result_count && ok; i++)
        ok = fwrite(d->results[i].data, 1, d->results[i].bytes, out) ==
             d->results[i].bytes;
    if (out)
        ok = fclose(out) == 0 && ok;
    free(header);
    return ok || err_set(e, ERR_OUTPUT, "%s: cannot be written", d->outputs);
}

static void print_findings(weights root)
{
    struct weights_findings f = weights_check(root);

    printf("missing %lld\nmismatched %lld\nunused %lld\nparameters %lld\nwrong %s\n"
           "first_unused %s\n",
           (long long)f.missing, (long long)f.mismatched, (long long)f.unused,
           (long long)f.parameters, f.wrong, f.first_unused);
}

/* To the names that the networks ask for. */
static bool rename_tensors(struct driver *d, struct err *e)
{
    if (strncmp(d->network, "vae", 3) == 0)
        return layout_vae(&d->model, e);
    return strcmp(d->network, "clip_vision") != 0 || layout_clip_vision(&d->model, e);
}

static bool drive(struct driver *d, struct err *e)
{
    struct tc_settings settings = {.device = d->meta ? "meta" : "cpu",
                                   .threads = d->threads};
    tc_scope *root = NULL;
    weights w = {0};
    bool ok = false;

    if (!tensor_file_open(&d->model, d->weights, e) ||
        !tensor_file_open(&d->input, d->inputs, e) || !rename_tensors(d, e))
        goto done;
    root = tc_open(&settings, e);
    if (!root)
        goto done;
    w = weights_load(root, &d->model, "", (weights){NULL}, d->dtype, e);
    if (!w.node)
        goto done;
    if (d->taps)
        tc_set_tap(root, keep_tap, d);
    if (!(d->serve ? serve(d, root, w, e) : run_network(d, root, w, e)))
        goto done;
    if (d->meta)
        print_findings(w);
    else if (!write_results(d, e))
        goto done;
    ok = true;
done:
    weights_unload(w);
    tc_close(root);
    tensor_file_close(&d->input);
    tensor_file_close(&d->model);
    forget_results(d);
    return ok;
}

static bool parse(struct driver *d, int argc, char **argv)
{
    const char **positional[] = {&d->network, &d->config, &d->weights, &d->inputs,
                                 &d->outputs};
    int given = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--taps") == 0)
            d->taps = true;
        else if (strcmp(argv[i], "--meta") == 0)
            d->meta = true;
        else if (strcmp(argv[i], "--serve") == 0)
            d->serve = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            d->threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--skip-last") == 0 && i + 1 < argc)
            d->skip_last = atoi(argv[++i]);
        else if (strcmp(argv[i], "--cache") == 0 && i + 1 < argc)
            d->cache = atoi(argv[++i]);
        else if (strcmp(argv[i], "--dtype") == 0 && i + 1 < argc) {
            const char *dtype = argv[++i];
            d->dtype = strcmp(dtype, "f16") == 0    ? TC_F16
                       : strcmp(dtype, "bf16") == 0 ? TC_BF16
                                                    : TC_F32;
        } else if (given < 5)
            *positional[given++] = argv[i];
        else
            return false;
    }
    return given == (d->meta ? 4 : 5);
}

int main(int argc, char **argv)
{
    static struct driver d = {.dtype = TC_F32, .threads = 2};
    struct err e = {0};

    if (!parse(&d, argc, argv)) {
        fprintf(stderr, "nets_driver: see the head of nets_driver.c\n");
        return ERR_USAGE;
    }
    if (drive(&d, &e))
        return 0;
    fprintf(stderr, "nets_driver: %s\n", e.message);
    return e.code;
}
