/* options.h: every setting of a run, with its range and default. Filled by
 * options_parse() (src/cli); the texts, ranges and defaults of --help come from the table
 * in src/cli/option_table.c. */
#ifndef DIFFENS_OPTIONS_H
#define DIFFENS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_MAX_MODELS 128
#define OPTIONS_MAX_GAMMAS 256
#define OPTIONS_MAX_WEIGHTS 64
#define OPTIONS_LIMIT 96 /* rows of the option table */

/* Bits, so that an option can belong to several. */
enum command_bit {
    COMMAND_GENERATE = 1,
    COMMAND_BLEND = 2,
    COMMAND_OPTIMIZE = 4,
    COMMAND_INSPECT = 8,
    COMMAND_MODELS = 16,
    COMMAND_DOCTOR = 32,
    COMMAND_MERGE = 64
};

/* Commands that make pictures. */
#define COMMANDS_RUN (COMMAND_GENERATE | COMMAND_BLEND | COMMAND_OPTIMIZE)

/* Who gave an option its value; the first of them wins. */
enum option_source { FROM_NOBODY, FROM_COMMAND_LINE, FROM_CONFIG, FROM_ENVIRONMENT };

enum noise_mode { NOISE_SHARED, NOISE_INDEPENDENT };
enum dtype_mode { DTYPE_AUTO, DTYPE_FP32, DTYPE_FP16, DTYPE_BF16 };
enum progress_mode {
    PROGRESS_AUTO,
    PROGRESS_BAR,
    PROGRESS_PLAIN,
    PROGRESS_JSON,
    PROGRESS_NONE
};

/* A picture that moves, beside the pictures it is made of. */
enum animation_format { ANIMATION_NONE, ANIMATION_GIF, ANIMATION_WEBP, ANIMATION_MP4 };

enum crop_pairing { PAIRING_ALIGNED, PAIRING_ALL };
enum clip_distance { CLIP_SPHERICAL, CLIP_COSINE, CLIP_MSE };

/* How crops of the candidate are changed at random before CLIP sees them; bits. */
enum augment_bit {
    AUGMENT_FLIP = 1,
    AUGMENT_AFFINE = 2,
    AUGMENT_PERSPECTIVE = 4,
    AUGMENT_JITTER = 8,
    AUGMENT_NOISE = 16,
};

/* The layers at which latents are mixed, in the order of the pipeline. */
enum layer { PRECONV, PREQUANT, POSTQUANT };

/* Bits, 1 << layer; the order is the order in which they are mixed and shown. */
enum layer_bit { LAYER_PRECONV = 1, LAYER_PREQUANT = 2, LAYER_POSTQUANT = 4 };
#define LAYER_COUNT 3

/* 0 x 0 where it was not given. */
struct option_size {
    int height, width;
};

/* From `from` to `to`, of 0..1. */
struct option_interval {
    double from, to;
};

struct option_numbers {
    int count;
    double value[OPTIONS_MAX_GAMMAS];
};

/* One mixture: a weight in [0,1] for each parent. */
struct option_weights {
    int count;
    double value[OPTIONS_MAX_MODELS];
};

struct option_weight_sets {
    int count;
    struct option_weights set[OPTIONS_MAX_WEIGHTS];
};

/* The cases n of a run with n % count == index; count 0: all of them. */
struct option_shard {
    int index, count;
    bool automatic; /* --shard auto, until shard_resolve() */
};

/* The names are owned by the options. */
struct option_names {
    int count;
    char *name[OPTIONS_MAX_MODELS];
};

/* How the candidate of `optimize` starts and moves. An ensemble may have other defaults
 * for those marked *; a preset wins over it. */
struct option_optimize {
    const char *preset; /* a name of the table's choices, or NULL */
    const char *seed;   /* "noise", "gaussian", "input" or an image; default "noise" */
    int epochs;         /* * 1..1000000, default 800 */
    double rate;        /* * 1e-6..100, default 0.35 */
    double decay;       /* * 1e-6..1, default 0.9 */
    int decay_every;    /* * epochs, 1..1000000; default 100 */
    double clip_weight, perceptual_weight; /* * 0..1000; default 1 and 0.1 */
    enum layer layer;                      /* * default prequant */
    const char *crops;                     /* * as crop_spec_parse() reads it; default
                                              1x1,8x0.25,16x0.125 */
    enum crop_pairing pairing;             /* default aligned */
    enum clip_distance distance;           /* default spherical */
    /* * "lpips" or "l2"; NULL: lpips where the ensemble has heads */
    const char *perceptual;
    int crop_batch;   /* 1..1048576; 0, the default: all at a time */
    unsigned augment; /* enum augment_bit; default 0 */
    double tv_weight; /* * 0..1000; default 0 */
    double average;   /* 0..0.9999; default 0, which is off */
    int save_every;   /* epochs between previews, 0..1000000; 0: none; default 50 */
    double checkpoint_every; /* seconds between checkpoints, 0..1e6; default 60 */
};

/* Texts point into the argument vector and the environment, which must outlive the
 * options, and are NULL where no default is named. */
struct options {
    enum command_bit command;

    /* what follows a command that is no option; the array is owned by the options */
    const char **operands;
    int operand_count;

    enum option_source given[OPTIONS_LIMIT]; /* by index in the option table */

    /* what to draw */
    const char *prompts;        /* file, or "-" for standard input */
    const char *prompt;         /* one prompt for all diffusers; excludes prompts */
    const char *images;         /* parents that exist; excludes the first stage */
    struct option_shard shard;  /* part of the cases; default all */
    const char *ensemble;       /* name or file; default paper, demo */
    struct option_names models; /* subset in this order; none: all of the ensemble */
    bool raw_prompts;           /* leave the ensemble's templates out; default false */
    bool strict_tokens;         /* a prompt that is too long is an error; default false */
    bool strict;                /* tensors of no use: an error, not a warning */
    bool reject_unknown_globals; /* of PyTorch files: an error, not a warning */

    /* how to draw it: the first stage; an ensemble may have other defaults for those
     * marked * */
    uint64_t random_seed;  /* 0..2^64-1, default 42 */
    enum noise_mode noise; /* default shared */
    int steps;             /* * 1..1000, default 50 */
    double guidance;       /* * 0..100, default 7.5 */
    /* * part of the steps in which there is guidance, default 0:1 */
    struct option_interval guidance_interval;
    int cache_interval;      /* * steps between runs of the whole UNet, 1..100; 1, the
                                default: every step is one */
    const char *negative;    /* default "" */
    const char *scheduler;   /* * of the table's choices; NULL: the model's own */
    struct option_size size; /* multiples of 8, 64..4096; 0: the model's own */
    int batch; /* pictures drawn, and cases optimised, at a time, 1..1024; 0, the
                  default: from the free memory, and one case */

    /* how to mix it: blend; pair, weights, normalize and vq_size: optimize too */
    /* each 0..1; default 0.5; unused when weights are given */
    struct option_numbers gamma;
    struct option_names pair;          /* none or two; none: the ensemble's pair */
    struct option_weight_sets weights; /* none, or one mixture each */
    bool normalize;                    /* divide each mixture by its sum; default false */
    unsigned layers;                   /* enum layer_bit; default LAYER_POSTQUANT */
    bool requantize;            /* a postquant mix once more through the codebook */
    struct option_size vq_size; /* 16..4096; 0: short side as in the ensemble */
    struct option_optimize optimize;

    /* where to compute */
    const char *device;    /* default "auto" */
    enum dtype_mode dtype; /* default auto */
    int threads;           /* CPU threads, 1..1024; 0, the default: libtorch's choice */
    bool deterministic;    /* deterministic algorithms only; default false */
    struct option_names limits; /* NAME=N of limits.h that differ from its table */

    /* what to write */
    const char *out; /* run directory; NULL: next free diffens-runs/COMMAND-001 */
    bool force;      /* start over in a directory that holds a run */
    bool resume;     /* go on with the run that it holds; excludes force */
    enum animation_format animate; /* blend, optimize, merge; default none */
    int frame_rate; /* of animations, 1..60 a second; 0, the default: by their length */
    double time_limit;   /* seconds after which the run stops by itself; 0: none */
    bool json;           /* one JSON object on stdout instead of paths */
    bool verbose, quiet; /* exclude each other; default neither */
    enum progress_mode progress; /* default auto: bar or plain */
    const char *log;   /* file that gets a copy of what goes to stderr, or NULL */
    bool command_line; /* inspect: what makes it again, instead of the record */

    /* how to start; in no record */
    const char *config; /* JSON file with more options, or NULL */
    bool dry_run;       /* print the plan, and no more */
    bool measure;       /* with dry_run: how fast this machine is, too */
    bool print_config;  /* print what all options resolve to, and no more */

    /* the command line as it was given, with the program's name; not owned */
    char *const *argv;
    int argc;

    /* the command line, for the record: with the options from elsewhere; absolute paths
     * are cut down to their last part; owned by the options */
    char **arguments;
    int argument_count;

    char **texts; /* of the config, owned by the options */
    int text_count;
};

/* Frees what the options own. Accepts a zeroed object. */
void options_free(struct options *o);

#endif
