/* option_table.c: the options, and look-up in their table. Leaves reading values to
 * parse.c and printing to help.c. */
#include "cli/option_table.h"

#include "base/str.h"

#include <stdio.h>
#include <string.h>

#define FIELD(name) offsetof(struct options, name)
#define ALL (COMMAND_GENERATE | COMMAND_BLEND)
#define SEED_MAX 18446744073709551615.0

const struct option option_table[] = {
    {.name = "prompts",
     .argument = "FILE",
     .kind = OPTION_PATH,
     .offset = FIELD(prompts),
     .first_stage = true,
     .group = GROUP_INPUT,
     .commands = ALL,
     .help = "prompts as JSON, or a .txt file with one a line; - reads standard input"},
    {.name = "prompt",
     .argument = "TEXT",
     .kind = OPTION_TEXT,
     .offset = FIELD(prompt),
     .first_stage = true,
     .group = GROUP_INPUT,
     .commands = ALL,
     .help = "one prompt for all models; with neither, the ensemble's example"},
    {.name = "images",
     .argument = "PATH",
     .kind = OPTION_PATH,
     .offset = FIELD(images),
     .group = GROUP_INPUT,
     .commands = COMMAND_BLEND,
     .help = "mix pictures that exist: a run directory, an .npy file of shape "
             "N,M,H,W,3, or a directory CASE/MODEL.png"},
    {.name = "ensemble",
     .argument = "NAME",
     .kind = OPTION_PATH,
     .offset = FIELD(ensemble),
     .group = GROUP_INPUT,
     .commands = ALL,
     .help = "set of models, by name or as the path of an ensemble.json; default "
             "$DIFFENS_ENSEMBLE, else paper if its weights are installed, else demo"},
    {.name = "models",
     .argument = "A,B,...",
     .kind = OPTION_NAMES,
     .offset = FIELD(models),
     .min = 1,
     .max = OPTIONS_MAX_MODELS,
     .group = GROUP_INPUT,
     .commands = ALL,
     .help = "only these, in this order: names of the ensemble, or paths of diffusers "
             "directories"},
    {.name = "raw-prompts",
     .kind = OPTION_FLAG,
     .offset = FIELD(raw_prompts),
     .first_stage = true,
     .group = GROUP_INPUT,
     .commands = ALL,
     .help = "do not apply the ensemble's prompt templates"},
    {.name = "strict-tokens",
     .kind = OPTION_FLAG,
     .offset = FIELD(strict_tokens),
     .first_stage = true,
     .group = GROUP_INPUT,
     .commands = ALL,
     .help = "refuse a prompt of more than 75 tokens instead of cutting it"},

    {.name = "random-seed",
     .argument = "N",
     .kind = OPTION_SEED,
     .offset = FIELD(random_seed),
     .initial = "42",
     .max = SEED_MAX,
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "case n starts from the noise of seed N + n"},
    {.name = "noise",
     .argument = "HOW",
     .kind = OPTION_CHOICE,
     .offset = FIELD(noise),
     .initial = "shared",
     .choices = "shared independent",
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "whether all models of a case start from the same noise, so that their "
             "pictures line up"},
    {.name = "steps",
     .argument = "N",
     .kind = OPTION_INTEGER,
     .offset = FIELD(steps),
     .initial = "50",
     .min = 1,
     .max = 1000,
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "denoising steps"},
    {.name = "guidance",
     .argument = "X",
     .kind = OPTION_REAL,
     .offset = FIELD(guidance),
     .initial = "7.5",
     .min = 0,
     .max = 100,
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "classifier-free guidance scale; 1 and less turn it off"},
    {.name = "negative",
     .argument = "TEXT",
     .kind = OPTION_TEXT,
     .offset = FIELD(negative),
     .initial = "",
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "what not to draw; a negative in the prompts file wins"},
    {.name = "scheduler",
     .argument = "NAME",
     .kind = OPTION_WORD,
     .offset = FIELD(scheduler),
     .choices = "pndm ddim euler euler-karras euler-a heun heun-karras lms lms-karras "
                "dpm++2m dpm++2m-karras unipc unipc-karras",
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "how noise is removed; default the model's own"},
    {.name = "size",
     .argument = "HxW",
     .kind = OPTION_SIZE,
     .offset = FIELD(size),
     .min = 64,
     .max = 4096,
     .multiple = 8,
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "height and width of the pictures; default the model's own"},
    {.name = "batch",
     .argument = "N",
     .kind = OPTION_INTEGER,
     .offset = FIELD(batch),
     .initial = "auto",
     .min = 1,
     .max = 1024,
     .automatic = true,
     .first_stage = true,
     .group = GROUP_DRAW,
     .commands = ALL,
     .help = "pictures at a time; auto: from the free memory"},

    {.name = "gamma",
     .argument = "G",
     .kind = OPTION_GAMMA,
     .offset = FIELD(gamma),
     .initial = "0.5",
     .min = 0,
     .max = 1,
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "weight of the second parent: (1-G)*first + G*second; a number, a list "
             "0,0.25,0.5 or a range start:stop:count"},
    {.name = "pair",
     .argument = "A,B",
     .kind = OPTION_NAMES,
     .offset = FIELD(pair),
     .min = 2,
     .max = 2,
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "first and second parent; only these two are loaded; default the "
             "ensemble's pair"},
    {.name = "weights",
     .argument = "W1,...,WM",
     .kind = OPTION_WEIGHTS,
     .offset = FIELD(weights),
     .min = 0,
     .max = 1,
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "instead of --gamma: a weight for each parent; may be given several times"},
    {.name = "normalize",
     .kind = OPTION_FLAG,
     .offset = FIELD(normalize),
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "divide the weights by their sum"},
    {.name = "layer",
     .argument = "LAYER",
     .kind = OPTION_LAYERS,
     .offset = FIELD(layers),
     .initial = "postquant",
     .choices = "preconv prequant postquant",
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "where the latents are mixed: a list, or all"},
    {.name = "requantize",
     .kind = OPTION_FLAG,
     .offset = FIELD(requantize),
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "send a postquant mix through the codebook once more"},
    {.name = "vq-size",
     .argument = "HxW",
     .kind = OPTION_SIZE,
     .offset = FIELD(vq_size),
     .min = 16,
     .max = 4096,
     .multiple = 1,
     .group = GROUP_MIX,
     .commands = COMMAND_BLEND,
     .help = "size at which the VQGAN works, a multiple of its factor; default its short "
             "side as in the ensemble, aspect kept"},

    {.name = "device",
     .argument = "NAME",
     .kind = OPTION_PATH,
     .offset = FIELD(device),
     .initial = "auto",
     .group = GROUP_COMPUTE,
     .commands = ALL,
     .help = "cpu, cuda, cuda:1, xpu, mps, ...; auto: an accelerator if there is one"},
    {.name = "dtype",
     .argument = "TYPE",
     .kind = OPTION_CHOICE,
     .offset = FIELD(dtype),
     .initial = "auto",
     .choices = "auto fp32 fp16 bf16",
     .group = GROUP_COMPUTE,
     .commands = ALL,
     .help = "precision; auto: fp16 for diffusers on an accelerator, else fp32"},
    {.name = "threads",
     .argument = "N",
     .kind = OPTION_INTEGER,
     .offset = FIELD(threads),
     .initial = "auto",
     .min = 1,
     .max = 1024,
     .automatic = true,
     .group = GROUP_COMPUTE,
     .commands = ALL,
     .help = "CPU threads"},
    {.name = "deterministic",
     .kind = OPTION_FLAG,
     .offset = FIELD(deterministic),
     .group = GROUP_COMPUTE,
     .commands = ALL,
     .help = "deterministic algorithms only, even where they are slower"},

    {.name = "out",
     .letter = 'o',
     .argument = "DIR",
     .kind = OPTION_PATH,
     .offset = FIELD(out),
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "run directory; default the next free diffens-runs/COMMAND-001"},
    {.name = "force",
     .kind = OPTION_FLAG,
     .offset = FIELD(force),
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "start over in a directory that holds another run"},
    {.name = "json",
     .kind = OPTION_FLAG,
     .offset = FIELD(json),
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "one JSON object on standard output instead of a path a line"},
    {.name = "verbose",
     .letter = 'v',
     .kind = OPTION_FLAG,
     .offset = FIELD(verbose),
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "say more on standard error"},
    {.name = "quiet",
     .letter = 'q',
     .kind = OPTION_FLAG,
     .offset = FIELD(quiet),
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "warnings and errors only"},
    {.name = "progress",
     .argument = "HOW",
     .kind = OPTION_CHOICE,
     .offset = FIELD(progress),
     .initial = "auto",
     .choices = "auto plain none",
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "plain: a line every 10 s or 10 %; auto: plain"},
    {.name = "log",
     .argument = "FILE",
     .kind = OPTION_PATH,
     .offset = FIELD(log),
     .group = GROUP_OUTPUT,
     .commands = ALL,
     .help = "append what goes to standard error, with times, to FILE"},
};

const int option_count = sizeof option_table / sizeof *option_table;

const struct option *option_find(const char *name, size_t length, unsigned commands)
{
    for (const struct option *o = option_table; o < option_table + option_count; o++)
        if ((o->commands & commands) && strlen(o->name) == length &&
            memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

const struct option *option_find_letter(char letter, unsigned commands)
{
    for (const struct option *o = option_table; o < option_table + option_count; o++)
        if ((o->commands & commands) && o->letter && o->letter == letter)
            return o;
    return NULL;
}

const struct option *option_nearest(const char *name, unsigned commands)
{
    const char *known[sizeof option_table / sizeof *option_table];
    size_t count = 0;
    for (int i = 0; i < option_count; i++)
        if (option_table[i].commands & commands)
            known[count++] = option_table[i].name;
    const char *best = str_nearest(name, known, count);
    return best ? option_find(best, strlen(best), commands) : NULL;
}

const char *option_group_title(enum option_group group)
{
    static const char *const titles[GROUP_COUNT] = {"Prompts and models", "Drawing",
                                                    "Mixing", "Computing", "Output"};
    return titles[group];
}

size_t option_choice(const struct option *o, int index, const char **word)
{
    const char *at = o->choices;
    while (at && *at) {
        size_t length = strcspn(at, " ");
        if (index-- == 0) {
            *word = at;
            return length;
        }
        at += length + (at[length] == ' ');
    }
    return 0;
}

/* "shared, independent" */
static void join_choices(const struct option *o, const char *head, char *text,
                         size_t size)
{
    const char *word;
    size_t used = (size_t)snprintf(text, size, "%s", head);
    for (int i = 0; used < size; i++) {
        size_t length = option_choice(o, i, &word);
        if (length == 0)
            return;
        used += (size_t)snprintf(text + used, size - used, "%s%.*s", i ? ", " : "",
                                 (int)length, word);
    }
}

const char *option_expected(const struct option *o, char *text, size_t size)
{
    const char *automatic = o->automatic ? "auto or " : "";
    switch (o->kind) {
    case OPTION_FLAG:
        snprintf(text, size, "no value");
        break;
    case OPTION_TEXT:
        snprintf(text, size, "UTF-8 text of at most 65536 bytes");
        break;
    case OPTION_PATH:
        snprintf(text, size, "%s", o->offset == FIELD(device) ? "a device" : "a path");
        break;
    case OPTION_INTEGER:
        snprintf(text, size, "%sinteger %.0f..%.0f", automatic, o->min, o->max);
        break;
    case OPTION_SEED:
        snprintf(text, size, "integer 0..18446744073709551615");
        break;
    case OPTION_REAL:
        snprintf(text, size, "number %g..%g", o->min, o->max);
        break;
    case OPTION_CHOICE:
    case OPTION_WORD:
        join_choices(o, "one of ", text, size);
        break;
    case OPTION_SIZE:
        if (o->multiple > 1)
            snprintf(text, size, "HEIGHTxWIDTH, each a multiple of %d, %.0f..%.0f",
                     o->multiple, o->min, o->max);
        else
            snprintf(text, size, "HEIGHTxWIDTH, each %.0f..%.0f", o->min, o->max);
        break;
    case OPTION_NAMES:
        if (o->min == o->max)
            snprintf(text, size, "%.0f different names separated by commas", o->min);
        else
            snprintf(text, size, "%.0f to %.0f different names separated by commas",
                     o->min, o->max);
        break;
    case OPTION_GAMMA:
        snprintf(text, size,
                 "numbers %g..%g: one, a list A,B,... or a range start:stop:count, "
                 "at most %d of them",
                 o->min, o->max, OPTIONS_MAX_GAMMAS);
        break;
    case OPTION_WEIGHTS:
        snprintf(text, size, "a list of at most %d numbers %g..%g with a sum above 0",
                 OPTIONS_MAX_MODELS, o->min, o->max);
        break;
    case OPTION_LAYERS:
        join_choices(o, "all or a list of ", text, size);
        break;
    }
    return text;
}
