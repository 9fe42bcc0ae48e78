/* test_options.c: command lines, what they parse to and how they are refused. */
#include "cli/help.h"
#include "cli/options_json.h"
#include "cli/pages.h"
#include "cli/parse.h"
#include "diffens/optimize.h"
#include "io/json.h"
#include "models/ensemble.h"

#include "check.h"

#include <locale.h>
#include <stdlib.h>

#define WORDS_MAX 100

/* A command line in one string, split at blanks; `~` stands for a blank within a word and
 * `''` for an empty word. */
struct line {
    char text[1200];
    char *argv[WORDS_MAX];
    int argc;
    struct parsed parsed;
    struct err e;
    enum parse_outcome outcome;
};

static void parse(struct line *l, const char *words)
{
    *l = (struct line){.argc = 1, .argv = {"diffens"}};
    snprintf(l->text, sizeof l->text, "%s", words);
    for (char *word = strtok(l->text, " "); word; word = strtok(NULL, " ")) {
        for (char *c = word; *c; c++)
            *c = *c == '~' ? ' ' : *c;
        l->argv[l->argc++] = strcmp(word, "''") == 0 ? "" : word;
    }
    l->outcome = options_parse(l->argc, l->argv, &l->parsed, &l->e);
}

struct refusal {
    const char *words, *message, *hint;
};

static const struct refusal refusals[] = {
    {"blend --promt x", "--promt", "--prompt"},
    {"generate --prompt x --setps 3", "--setps", "--steps"},
    {"generate --prompt x --gamma 0.3", "--gamma", "diffens blend"},
    {"generate --prompt x --zzzzzzzz", "--zzzzzzzz", "--help"},
    {"generate --prompt x -z", "-z", "--help"},
    {"blnd --prompt x", "blnd", "blend"},
    {"--foo", "--foo", "--help"},
    {"help promts", "\"promts\", expected a command or topic", "prompts"},
    {"hepl", "hepl", "help"},
    {"help blend generate", "generate", ""},
    {"blend --prompt x --seed 42", "--seed", "--random-seed"},
    {"generate --prompt x --seed=42", "--seed", "--random-seed"},
    {"generate --prompt x --Steps 3", "--Steps", "--steps"},
    {"generate --prompt x --shard 3/3", "\"3/3\", expected auto or I/N with 0 <= I < N",
     ""},
    {"generate --prompt x --shard -1/4", "\"-1/4\", expected auto or I/N", ""},
    {"generate --prompt x --shard 1/0", "\"1/0\", expected auto or I/N", ""},
    {"generate --prompt x --shard a/b", "\"a/b\", expected auto or I/N", ""},
    {"generate --prompt x --shard 1", "\"1\", expected auto or I/N", ""},
    {"generate --prompt x --shard 1/2/3", "\"1/2/3\", expected auto or I/N", ""},
    {"generate --prompt", "--prompt: found no value", ""},
    {"generate --prompt --steps 3", "--prompt: found no value", "--prompt=VALUE"},
    {"generate --prompt x --out", "--out", ""},
    {"generate --prompt x -o", "-o", ""},
    {"generate --prompt x --force=yes", "--force: found value \"yes\", expected no value",
     ""},
    {"generate --prompt x --force=", "--force", ""},
    {"generate x", "argument \"x\"", "--prompt"},
    {"generate -- --prompt", "argument \"--prompt\"", ""},
    {"generate -", "argument \"-\"", ""},
    {"generate --prompts ''", "--prompts: found \"\", expected a path", ""},
    {"generate --prompt x --steps 0", "--steps: found \"0\", expected integer 1..1000",
     ""},
    {"generate --prompt x --steps -1", "--steps: found \"-1\", expected integer", ""},
    {"generate --prompt x --steps 1e9", "\"1e9\"", ""},
    {"generate --prompt x --steps 12x", "\"12x\", expected integer 1..1000", ""},
    {"generate --prompt x --steps=", "\"\", expected integer 1..1000", ""},
    {"generate --prompt x --steps ~5", "\" 5\"", ""},
    {"generate --prompt x --steps 5~", "\"5 \"", ""},
    {"generate --prompt x --steps 0x10", "\"0x10\"", ""},
    {"generate --prompt x --steps +5", "\"+5\"", ""},
    {"generate --prompt x --steps 5.0", "\"5.0\"", ""},
    {"generate --prompt x --steps 1001", "1..1000", ""},
    {"generate --prompt x --steps 18446744073709551617", "1..1000", ""},
    {"generate --prompt x --batch 0", "auto or integer 1..1024", ""},
    {"generate --prompt x --batch Auto", "auto or integer", ""},
    {"generate --prompt x --guidance-interval 0.5", "A:B with 0 <= A <= B <= 1", ""},
    {"generate --prompt x --guidance-interval 0.8:0.2", "A:B with", ""},
    {"generate --prompt x --guidance-interval 0:1.5", "\"0:1.5\"", ""},
    {"generate --prompt x --cache-interval 0", "integer 1..100", ""},
    {"generate --prompt x --guidance 1,5", "number 0..100", ""},
    {"generate --prompt x --guidance nan", "\"nan\"", ""},
    {"generate --prompt x --guidance inf", "\"inf\"", ""},
    {"generate --prompt x --guidance 1e400", "\"1e400\"", ""},
    {"generate --prompt x --guidance .", "\".\"", ""},
    {"generate --prompt x --guidance 1e", "\"1e\"", ""},
    {"generate --prompt x --guidance 0x1p3", "\"0x1p3\"", ""},
    {"generate --prompt x --noise both", "shared, independent", ""},
    {"generate --prompt x --noise share", "shared, independent", "shared"},
    {"generate --prompt x --scheduler eulr", "one of pndm, ddim", "euler"},
    {"generate --prompt x --dtype float16", "auto, fp32, fp16, bf16", ""},
    {"generate --prompt x\x01 --steps q\x1b[1m", "q\\x1B[1m", ""},
    {"generate --prompt \xff\xfe", "UTF-8", ""},
    {"generate --prompt x --size 513x512", "multiple of 8, 64..4096", ""},
    {"generate --prompt x --size 512", "HEIGHTxWIDTH", ""},
    {"generate --prompt x --size 56x512", "64..4096", ""},
    {"generate --prompt x --size 512x512x512", "HEIGHTxWIDTH", ""},
    {"generate --prompt x --size 4104x512", "64..4096", ""},
    {"generate --prompt x --size x512", "HEIGHTxWIDTH", ""},
    {"blend --images x --vq-size 8x8", "16..4096", ""},
    {"generate --prompt x --random-seed 18446744073709551616", "0..18446744073709551615",
     ""},
    {"generate --prompt x --random-seed -1", "0..18446744073709551615", ""},
    {"blend --images x --weights 0.5,-0.5", "numbers 0..1", ""},
    {"blend --images x --weights 0,0,0", "sum above 0", ""},
    {"blend --images x --weights 0.5,nan", "\"0.5,nan\"", ""},
    {"blend --images x --weights 0.5,", "\"0.5,\"", ""},
    {"blend --images x --weights 0.5,1.5", "numbers 0..1", ""},
    {"blend --images x --weights 0.5,0.5 --weights 1,0,0", "sets of 2 and of 3", ""},
    {"blend --images x --gamma 1.5", "numbers 0..1", ""},
    {"blend --images x --gamma 0.5,0.5", "different numbers 0..1", ""},
    {"blend --images x --gamma 0:1", "start:stop:count", ""},
    {"blend --images x --gamma 0:1:0", "start:stop:count", ""},
    {"blend --images x --gamma 0:1:257", "start:stop:count", ""},
    {"blend --images x --gamma 0:1:2:3", "start:stop:count", ""},
    {"blend --images x --gamma 0.5,0.5", "\"0.5,0.5\"", ""},
    {"blend --images x --gamma ''", "\"\"", ""},
    {"blend --images x --pair a", "2 different names", ""},
    {"blend --images x --pair a,a", "2 different names", ""},
    {"blend --images x --pair a,b,c", "2 different names", ""},
    {"blend --images x --models a,,b", "names separated by commas", ""},
    {"blend --images x --layer all,preconv", "preconv, prequant, postquant", ""},
    {"blend --images x --layer ''", "preconv", ""},
    {"generate --prompt x --steps 3 --steps 4", "given twice, as \"3\" and as \"4\"", ""},
    {"generate --prompt x --prompt y", "--prompt: given twice", ""},
    {"generate --prompt x -o a --out b", "--out: given twice", ""},
    {"generate --prompt x --prompts y", "--prompts and --prompt", ""},
    {"blend --prompt x --gamma 0.3 --weights 1,0", "--gamma and --weights", ""},
    {"blend --prompt x --pair a,b --models a,b", "--pair and --models", ""},
    {"blend --images x --prompt y", "--images and --prompt", ""},
    {"blend --images x --steps 20", "--images and --steps", ""},
    {"blend --images x --random-seed 7", "--images and --random-seed", ""},
    {"generate --prompt x -v -q", "--verbose and --quiet", ""},
    {"blend --prompt x --normalize", "--normalize without --weights", ""},
    {"blend --prompt x --requantize --layer preconv", "--requantize", ""},
    {"optimize --images x --prompt y", "--images and --prompt", ""},
    {"optimize --prompt x --pair a,b --models a,b", "--pair and --models", ""},
    {"optimize --prompt x --weights 1,0 --weights 0,1", "--weights: given 2 times", ""},
    /* optimize */
    {"optimize --seed 42", "--seed: found \"42\"", "--random-seed 42"},
    {"optimize --seed=0 --prompt x", "noise, gaussian, input", "--random-seed 0"},
    {"optimize --seed ''", "--seed: found \"\", expected noise, gaussian, input", ""},
    {"optimize --gamma 0.3", "--gamma", "diffens blend"},
    {"optimize --layer all", "one of preconv, prequant, postquant", ""},
    {"optimize --layer preconv,prequant", "one of preconv", ""},
    {"optimize --epochs 0", "integer 1..1000000", ""},
    {"optimize --epochs 1000001", "integer 1..1000000", ""},
    {"optimize --lr 0", "number 1e-06..100", ""},
    {"optimize --lr-decay 1.1", "number 1e-06..1", ""},
    {"optimize --crops 8", "COUNTxSIDE,...", ""},
    {"optimize --crops 8x1.5", "COUNTxSIDE,...", ""},
    {"optimize --crops 0x1", "COUNTxSIDE,...", ""},
    {"optimize --crops ''", "COUNTxSIDE,...", ""},
    {"optimize --crop-batch 0", "auto or integer 1..", ""},
    {"optimize --augment flip,spin", "none, all or a list of flip, affine", ""},
    {"optimize --augment flip,none", "none, all or a list of flip, affine", ""},
    {"optimize --average 1", "number 0..0.9999", ""},
    {"optimize --tv-weight -1", "number 0..1000", ""},
    {"optimize --preset fast", "one of paper, crowson", ""},
    {"blend --images x --layer none", "all or a list of preconv", ""},
    {"optimize --clip-distance euclid", "spherical, cosine, mse", ""},
    {"optimize --perceptual vgg", "one of lpips, l2", ""},
    {"optimize --save-every -1", "integer 0..1000000", ""},
    {"blend --epochs 3", "--epochs", "diffens optimize"},
    {"blend --lr 3", "--lr", "diffens optimize"},
};

static void test_refusals(void)
{
    struct line l;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        parse(&l, refusals[i].words);
        int before = check_failures;
        CHECK_INT(l.outcome, PARSE_ERROR);
        CHECK_INT(l.e.code, ERR_USAGE);
        CHECK_HAS(l.e.message, refusals[i].message);
        CHECK_HAS(l.e.hint, refusals[i].hint);
        CHECK(!strchr(l.e.message, '\n'));
        if (check_failures != before)
            fprintf(stderr, "  in: diffens %s\n", refusals[i].words);
        options_free(&l.parsed.options);
    }
}

static void test_defaults(void)
{
    struct line l;
    parse(&l, "blend --prompt x");
    const struct options *o = &l.parsed.options;
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_INT(o->command, COMMAND_BLEND);
    CHECK_INT(o->random_seed, 42);
    CHECK_INT(o->noise, NOISE_SHARED);
    CHECK_INT(o->steps, 50);
    CHECK(o->guidance == 7.5);
    CHECK(o->guidance_interval.from == 0 && o->guidance_interval.to == 1);
    CHECK_INT(o->cache_interval, 1);
    CHECK_STR(o->negative, "");
    CHECK(!o->scheduler && !o->ensemble && !o->out && !o->images && !o->log);
    CHECK_INT(o->size.height, 0);
    CHECK_INT(o->batch, 0);
    CHECK_INT(o->gamma.count, 1);
    CHECK(o->gamma.value[0] == 0.5);
    CHECK_INT(o->layers, LAYER_POSTQUANT);
    CHECK_STR(o->device, "auto");
    CHECK_INT(o->dtype, DTYPE_AUTO);
    CHECK_INT(o->progress, PROGRESS_AUTO);
    CHECK(!o->force && !o->json && !o->normalize && !o->raw_prompts && !o->deterministic);
    options_free(&l.parsed.options);
}

static void test_values(void)
{
    struct line l;
    parse(&l,
          "blend --prompt=a=b~c --random-seed=18446744073709551615 --noise independent "
          "--steps 1000 --guidance .5 --guidance-interval .25:0.75 "
          "--cache-interval 3 --negative= --scheduler dpm++2m-karras --size "
          "64x4096 --batch 8 --gamma 0:1:5 --pair b,a --layer postquant,preconv "
          "--requantize --vq-size 100x200 --device cuda:1 --dtype bf16 --threads 2 "
          "--deterministic -o out --force --json -v --progress none --log l "
          "--ensemble demo --raw-prompts --strict-tokens");
    const struct options *o = &l.parsed.options;
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(l.e.message, "");
    CHECK_STR(o->prompt, "a=b c");
    CHECK(o->random_seed == UINT64_MAX);
    CHECK_INT(o->noise, NOISE_INDEPENDENT);
    CHECK_INT(o->steps, 1000);
    CHECK(o->guidance == 0.5);
    CHECK(o->guidance_interval.from == 0.25 && o->guidance_interval.to == 0.75);
    CHECK_INT(o->cache_interval, 3);
    CHECK_STR(o->scheduler, "dpm++2m-karras");
    CHECK_INT(o->size.height, 64);
    CHECK_INT(o->size.width, 4096);
    CHECK_INT(o->batch, 8);
    CHECK_INT(o->gamma.count, 5);
    CHECK(o->gamma.value[1] == 0.25 && o->gamma.value[4] == 1);
    CHECK_INT(o->pair.count, 2);
    CHECK_STR(o->pair.name[0], "b");
    CHECK_INT(o->layers, LAYER_PRECONV | LAYER_POSTQUANT);
    CHECK(o->requantize && o->deterministic && o->force && o->json && o->verbose);
    CHECK_INT(o->vq_size.height, 100);
    CHECK_STR(o->device, "cuda:1");
    CHECK_INT(o->dtype, DTYPE_BF16);
    CHECK_INT(o->threads, 2);
    CHECK_STR(o->out, "out");
    CHECK_INT(o->progress, PROGRESS_NONE);
    CHECK(o->raw_prompts && o->strict_tokens);
    options_free(&l.parsed.options);
}

static void test_optimize(void)
{
    struct line l;
    parse(&l, "optimize --seed noise --epochs 800");
    const struct options *o = &l.parsed.options;
    const struct option_optimize *t = &o->optimize;
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(t->seed, "noise");
    CHECK_INT(t->epochs, 800);
    CHECK(t->rate == 0.35 && t->decay == 0.9 && t->decay_every == 100);
    CHECK(t->clip_weight == 1 && t->perceptual_weight == 0.1);
    CHECK_STR(t->crops, "1x1,8x0.25,16x0.125");
    CHECK_INT(t->layer, PREQUANT);
    CHECK_INT(t->pairing, PAIRING_ALIGNED);
    CHECK_INT(t->distance, CLIP_SPHERICAL);
    CHECK(!t->perceptual);
    CHECK_INT(t->crop_batch, 0);
    CHECK_INT(t->save_every, 50);
    CHECK_INT(o->random_seed, 42);
    CHECK_INT(o->weights.count, 0);
    options_free(&l.parsed.options);

    parse(&l,
          "optimize --images x --random-seed 7 --seed ./42 --layer postquant --lr .5 "
          "--lr-decay 1 --lr-decay-every 7 --clip-weight 0 --perceptual-weight 2 "
          "--weights 0.5,1 --normalize --crops 3x0.5 --crop-pairing all --crop-batch 4 "
          "--clip-distance mse --perceptual l2 --save-every 0 --vq-size 64x96");
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(l.e.message, "");
    CHECK_INT(o->random_seed, 7);
    CHECK_STR(t->seed, "./42");
    CHECK_INT(t->layer, POSTQUANT);
    CHECK(t->rate == 0.5 && t->decay == 1 && t->decay_every == 7);
    CHECK(t->clip_weight == 0 && t->perceptual_weight == 2);
    CHECK_STR(t->crops, "3x0.5");
    CHECK_INT(t->pairing, PAIRING_ALL);
    CHECK_INT(t->distance, CLIP_MSE);
    CHECK_STR(t->perceptual, "l2");
    CHECK_INT(t->crop_batch, 4);
    CHECK_INT(t->save_every, 0);
    CHECK(t->augment == 0 && t->tv_weight == 0 && t->average == 0);
    options_free(&l.parsed.options);

    parse(&l, "optimize --images x --batch 4 --augment noise,flip --tv-weight .5 "
              "--average 0.99");
    CHECK_INT(t->augment, AUGMENT_FLIP | AUGMENT_NOISE);
    CHECK(t->tv_weight == 0.5 && t->average == 0.99);
    CHECK_INT(l.parsed.options.batch, 4);
    options_free(&l.parsed.options);
    parse(&l, "optimize --augment all");
    CHECK_INT(t->augment, 31);
    options_free(&l.parsed.options);
}

/* The command line wins over a preset, and that over the ensemble. */
static void test_presets(void)
{
    struct line l;
    const struct ensemble s = {.file = "e.json",
                               .default_count = 7,
                               .defaults = {{"optimize", "lr", "0.2"},
                                            {"optimize", "augment", "flip"},
                                            {"optimize", "perceptual", "l2"},
                                            {"optimize", "tv_weight", "5"},
                                            {"optimize", "layer", "postquant"},
                                            {"optimize", "perceptual_weight", "3"},
                                            {"optimize", "crops", "2x1"}}};
    parse(&l, "optimize --preset crowson --crop-pairing aligned");
    struct options *o = &l.parsed.options;
    CHECK(options_tune(o, &s, &l.e));
    CHECK(o->optimize.rate == 0.05 && o->optimize.decay == 1);
    CHECK(o->optimize.perceptual_weight == 3 && o->optimize.tv_weight == 5);
    CHECK_INT(o->optimize.augment, AUGMENT_FLIP);
    CHECK_STR(o->optimize.perceptual, "l2");
    CHECK_INT(o->optimize.layer, PREQUANT);
    CHECK_INT(o->optimize.pairing, PAIRING_ALIGNED);
    struct crop_spec crops;
    int windows = 0;
    CHECK(crop_spec_parse(&crops, o->optimize.crops, &l.e));
    for (int i = 0; i < crops.group_count; i++)
        windows += crops.group[i].count;
    CHECK_INT(windows, 64);
    options_free(o);

    parse(&l, "optimize --preset paper --lr 0.1");
    CHECK(options_tune(o, &s, &l.e));
    CHECK(o->optimize.rate == 0.1 && o->optimize.perceptual_weight == 0.1);
    CHECK_STR(o->optimize.crops, "1x1,8x0.25,16x0.125");
    CHECK_INT(o->optimize.layer, PREQUANT);
    CHECK(!o->optimize.perceptual && o->optimize.tv_weight == 0);
    options_free(o);

    parse(&l, "optimize --augment none");
    CHECK(options_tune(o, &s, &l.e));
    CHECK_INT(o->optimize.layer, POSTQUANT);
    CHECK_INT(o->optimize.augment, 0);
    options_free(o);
}

/* What an ensemble says for one start wins over what it says for all. */
static void test_defaults_by_start(void)
{
    static const struct {
        const char *line;
        double rate, variation;
    } rows[] = {{"optimize", 0.2, 5},
                {"optimize --seed gaussian", 0.2, 5},
                {"optimize --seed input", 0.02, 5},
                {"optimize --seed input --lr 0.1", 0.1, 5},
                {"optimize --seed input --preset crowson", 0.05, 5},
                {"optimize --seed input --preset paper", 0.35, 0}};
    const struct ensemble s = {.file = "e.json",
                               .default_count = 3,
                               .defaults = {{"optimize", "lr", "0.2"},
                                            {"optimize", "tv_weight", "5"},
                                            {"optimize.from_input", "lr", "0.02"}}};
    struct line l;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        parse(&l, rows[i].line);
        struct options *o = &l.parsed.options;
        CHECK(options_tune(o, &s, &l.e));
        CHECK(o->optimize.rate == rows[i].rate);
        CHECK(o->optimize.tv_weight == rows[i].variation);
        options_free(o);
    }
    parse(&l, "blend");
    CHECK(options_tune(&l.parsed.options, &s, &l.e));
    options_free(&l.parsed.options);
}

/* An ensemble's own defaults stand behind the command line. */
static void test_tuning(void)
{
    struct line l;
    struct ensemble s = {.file = "e.json",
                         .default_count = 5,
                         .defaults = {{"optimize", "lr", "0.05"},
                                      {"optimize", "lr_decay", "0.5"},
                                      {"optimize", "crops", "2x1"},
                                      {"generate", "steps", "30"},
                                      {"generate", "scheduler", "ddim"}}};
    parse(&l, "optimize --lr-decay 0.7 --steps 5");
    struct options *o = &l.parsed.options;
    CHECK(options_tune(o, &s, &l.e));
    CHECK(o->optimize.rate == 0.05);
    CHECK(o->optimize.decay == 0.7);
    CHECK_STR(o->optimize.crops, "2x1");
    CHECK_INT(o->steps, 5);
    CHECK_STR(o->scheduler, "ddim");
    s.defaults[0].text = "1000";
    CHECK(!options_tune(o, &s, &l.e));
    CHECK_INT(l.e.code, ERR_INPUT);
    CHECK_HAS(l.e.message, "e.json: $.optimize.lr: found \"1000\", expected number");
    options_free(o);

    parse(&l, "blend"); /* has no learning rate, draws all the same */
    CHECK(options_tune(o, &s, &l.e));
    CHECK_INT(o->steps, 30);
    s.defaults[4].text = "dim";
    CHECK(!options_tune(o, &s, &l.e));
    CHECK_HAS(l.e.message,
              "e.json: $.generate.scheduler: found \"dim\", expected one of");
    options_free(o);
}

static void set_task(const char *id, const char *min, const char *max, const char *step,
                     const char *count)
{
    const char *const variables[][2] = {{"SLURM_ARRAY_TASK_ID", id},
                                        {"SLURM_ARRAY_TASK_MIN", min},
                                        {"SLURM_ARRAY_TASK_MAX", max},
                                        {"SLURM_ARRAY_TASK_STEP", step},
                                        {"SLURM_ARRAY_TASK_COUNT", count}};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        if (variables[i][1])
            setenv(variables[i][0], variables[i][1], 1);
        else
            unsetenv(variables[i][0]);
    }
}

static void check_shard(const char *words, int index, int count)
{
    struct line l;
    parse(&l, words);
    CHECK_STR(l.e.message, "");
    CHECK_INT(l.parsed.options.shard.index, index);
    CHECK_INT(l.parsed.options.shard.count, count);
    options_free(&l.parsed.options);
}

static void refuse_task(const char *message)
{
    struct line l;
    parse(&l, "generate --prompt x --shard auto");
    CHECK_INT(l.e.code, ERR_USAGE);
    CHECK_HAS(l.e.message, message);
    options_free(&l.parsed.options);
}

static void test_shards(void)
{
    set_task("9", "3", "11", "2", "5");
    check_shard("generate --prompt x", 0, 0);
    check_shard("generate --prompt x --shard 0/1", 0, 1);
    check_shard("optimize --shard 2/3", 2, 3);
    check_shard("blend --prompt x --shard auto", 3, 5);
    set_task("0", "0", "0", "1", "1");
    check_shard("blend --prompt x --shard auto", 0, 1);

    set_task(NULL, NULL, NULL, NULL, NULL);
    refuse_task("found no $SLURM_ARRAY_TASK_ID, expected a task of a Slurm job array");
    set_task("1", "0", "3", "1", NULL);
    refuse_task("found no $SLURM_ARRAY_TASK_COUNT");
    set_task("1", "0", "x3", "1", "4");
    refuse_task("$SLURM_ARRAY_TASK_MAX: found \"x3\", expected integer 0..4294967295");
    set_task("1", "-1", "3", "1", "5");
    refuse_task("$SLURM_ARRAY_TASK_MIN: found \"-1\"");
    set_task("1", "0", "3", "0", "4");
    refuse_task("$SLURM_ARRAY_TASK_STEP: found \"0\", expected integer 1..");
    set_task("1", "1", "7", "1", "3"); /* --array=1,5,7 */
    refuse_task("$SLURM_ARRAY_TASK_COUNT: found 3, expected 7 tasks, as an array 1-7:1 "
                "has");
    set_task("1", "0", "3", "2", "2");
    refuse_task("$SLURM_ARRAY_TASK_MAX: found 3, expected 0 and a multiple of the step");
    set_task("5", "0", "3", "1", "4");
    refuse_task("$SLURM_ARRAY_TASK_ID: found 5, expected a task of the array");
    set_task(NULL, NULL, NULL, NULL, NULL);
}

static void test_repetition(void)
{
    struct line l;
    parse(
        &l,
        "blend --images x --weights 1,0,0 --weights 0.2,0.3,0.5 --weights 1,0,0 --layer "
        "all --layer all");
    const struct options *o = &l.parsed.options;
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_INT(o->weights.count, 2);
    CHECK(o->weights.set[1].value[2] == 0.5);
    CHECK_INT(o->layers, LAYER_PRECONV | LAYER_PREQUANT | LAYER_POSTQUANT);
    options_free(&l.parsed.options);
}

static void test_option_like_values(void)
{
    struct line l;
    parse(&l, "generate --prompts - --negative=--ugly");
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(l.parsed.options.prompts, "-");
    CHECK_STR(l.parsed.options.negative, "--ugly");
    options_free(&l.parsed.options);
    parse(&l, "generate --prompt -5~degrees --");
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK_STR(l.parsed.options.prompt, "-5 degrees");
    options_free(&l.parsed.options);
}

/* Under a locale that writes 0,5 the point still is a point, where one is installed. */
static void test_locale(void)
{
    struct line l;
    const char *names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (setlocale(LC_ALL, names[i]))
            break;
    parse(&l, "blend --prompt x --gamma 0.25,1e-1 --guidance 2.5");
    CHECK_INT(l.outcome, PARSE_RUN);
    CHECK(l.parsed.options.gamma.value[0] == 0.25);
    CHECK(l.parsed.options.guidance == 2.5);
    options_free(&l.parsed.options);
    setlocale(LC_ALL, "C");
}

static void test_recorded_arguments(void)
{
    struct line l;
    parse(&l, "blend --prompts /home/me/p.json --models a,/x/y/b,./c -o/tmp/run -qf");
    CHECK_INT(l.outcome, PARSE_ERROR);
    options_free(&l.parsed.options);
    parse(&l, "blend --prompts /home/me/p.json --models a,/x/y/b,./c -o/tmp/run -q");
    static const char *const expected[] = {"diffens", "blend",    "--prompts",
                                           "p.json",  "--models", "a,./b,./c",
                                           "--out",   "run",      "--quiet"};
    const struct options *o = &l.parsed.options;
    CHECK_INT(o->argument_count, 9);
    for (int i = 0; i < o->argument_count && i < 9; i++)
        CHECK_STR(o->arguments[i], expected[i]);
    struct str json = {0};
    struct json_writer w = {.out = &json};
    options_write(&w, o);
    struct json_document d = {0};
    CHECK(json_parse(&d, "options", str_text(&json), json.size, &l.e));
    CHECK_HAS(str_text(&json), "\"random-seed\": 42");
    CHECK_HAS(str_text(&json), "\"layer\": [\"postquant\"]");
    CHECK_HAS(str_text(&json), "\"out\": \"run\"");
    CHECK_HAS(str_text(&json), "\"scheduler\": null");
    CHECK_HAS(str_text(&json), "\"batch\": \"auto\"");
    CHECK(!strchr(str_text(&json), '~') && !strstr(str_text(&json), "/home"));
    json_free(&d);
    str_free(&json);
    options_free(&l.parsed.options);
}

static void check_help(const char *words, const char *part)
{
    struct line l;
    struct str text = {0};
    parse(&l, words);
    CHECK_INT(l.outcome, PARSE_HELP);
    if (l.parsed.page)
        page_add(&text, l.parsed.page);
    else
        help_add(&text, l.parsed.command, l.parsed.brief);
    CHECK_HAS(str_text(&text), part);
    int lines = 0;
    for (const char *at = str_text(&text); *at; lines++) {
        size_t length = strcspn(at, "\n");
        CHECK(length < 80);
        at += length + (at[length] == '\n');
    }
    CHECK(lines <= 23 || strstr(words, "--help")); /* with a prompt below */
    str_free(&text);
    options_free(&l.parsed.options);
}

static void test_help(void)
{
    struct line l;
    check_help("", "Usage: diffens COMMAND");
    check_help("--help", "generate");
    check_help("-h", "blend");
    check_help("blend --help", "default 0.5");
    check_help("blend --help", "1..1000; default 50");
    check_help("generate --help", "Usage: diffens generate");
    check_help("optimize --help", "default 0.35");
    check_help("generate -h", "--steps N");
    check_help("blend -h", "diffens blend --help explains all");
    check_help("optimize --steps 3 -h", "--epochs N");
    check_help("help", "Usage: diffens COMMAND");
    check_help("help prompts", "--strict-tokens");
    check_help("help ensembles", "ensemble.json");
    check_help("help layers", "preconv");
    check_help("help exit-status", "75");
    parse(&l, "--version");
    CHECK_INT(l.outcome, PARSE_VERSION);
}

int main(void)
{
    unsetenv("DIFFENS_ENSEMBLE");
    unsetenv("DIFFENS_DEVICE");
    unsetenv("DIFFENS_THREADS");
    RUN(test_refusals);
    RUN(test_defaults);
    RUN(test_values);
    RUN(test_optimize);
    RUN(test_presets);
    RUN(test_defaults_by_start);
    RUN(test_tuning);
    RUN(test_shards);
    RUN(test_repetition);
    RUN(test_option_like_values);
    RUN(test_locale);
    RUN(test_recorded_arguments);
    RUN(test_help);
    return CHECK_EXIT();
}
