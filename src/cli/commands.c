/* commands.c: which commands there are. Leaves what they do to one file each. */
#include "cli/commands.h"

#include <string.h>

const struct command command_table[] = {
    {.name = "generate",
     .bit = COMMAND_GENERATE,
     .summary = "draw each prompt with each model of an ensemble",
     .about =
         "Draws each prompt with each model of an ensemble, one model after another, "
         "and keeps the pictures for blend.",
     .examples = {"diffens generate --prompt \"a castle on a hill at sunset\"",
                  "diffens generate --prompts prompts.json --models poster,watercolour",
                  "diffens generate --prompts prompts.txt --steps 30 --out runs/a"},
     .run = command_generate},
    {.name = "blend",
     .bit = COMMAND_BLEND,
     .summary = "draw, then mix the pictures in the latent space of a VQGAN",
     .about = "Draws each prompt with two or more models of an ensemble, encodes the "
              "pictures with a VQGAN, mixes the latents and decodes the mix.",
     .examples = {"diffens blend --prompt \"a castle on a hill at sunset\" --gamma 0.3",
                  "diffens blend --prompts prompts.json --gamma 0:1:5 --layer all",
                  "diffens blend --images runs/a --weights 0.5,0.25,0.25"},
     .run = command_blend},
    {.name = "optimize",
     .bit = COMMAND_OPTIMIZE,
     .summary = "draw, then find one picture that all models agree on",
     .about = "Draws each prompt with the models of an ensemble, then moves a latent of "
              "the VQGAN until its picture is near to all of theirs, as CLIP sees crops "
              "of it and as a perceptual network sees it whole. An ensemble may have "
              "defaults of its own for epochs, rates, weights and crops.",
     .examples = {"diffens optimize --seed noise --epochs 800",
                  "diffens optimize --prompts prompts.json --seed input --epochs 300",
                  "diffens optimize --images runs/a --weights 0.5,0.25,0.25"},
     .run = command_optimize},
    {.name = "merge",
     .bit = COMMAND_MERGE,
     .summary = "join the shards of a run, made with --shard, into one run",
     .about = "Joins directories that were made with --shard: checks that all shards are "
              "there, finished and parts of the same run, and leaves in --out what the "
              "whole run would have made. Pictures are linked where the file system can, "
              "else copied. Needs no device and no models; may be repeated.",
     .examples = {"diffens merge runs/a-0 runs/a-1 runs/a-2 --out runs/a",
                  "diffens merge runs/a-* --out runs/a"},
     .operands = "SHARD_DIR...",
     .operands_least = 1,
     .operands_most = 1000000,
     .run = command_merge},
    {.name = "inspect",
     .bit = COMMAND_INSPECT,
     .summary = "say how a picture or a run was made, and how to make it again",
     .about = "Prints the record that a picture carries, or that of a run directory.",
     .examples = {"diffens inspect runs/a",
                  "diffens inspect runs/a/blend/000_postquant_g0.3.png --json",
                  "diffens inspect --command runs/a/images/000_poster.png | sh"},
     .operands = "PATH",
     .operands_least = 1,
     .operands_most = 1,
     .run = command_inspect},
    {.name = "models",
     .bit = COMMAND_MODELS,
     .summary = "list the ensembles that are installed, show one, check its files",
     .about =
         "Lists the ensembles that are found and whether they are complete; shows "
         "what one consists of; checks one, or any model or weight file: names and "
         "shapes of all tensors, numbers that are not finite, SHA256SUMS. Needs no "
         "device. Exit status of show and check 3 where something is missing or broken.",
     .examples = {"diffens models list", "diffens models show demo",
                  "diffens models check paper",
                  "diffens models check downloads/model.safetensors"},
     .operands = "list | show NAME | check NAME or PATH",
     .operands_least = 1,
     .operands_most = 2,
     .run = command_models},
    {.name = "doctor",
     .bit = COMMAND_DOCTOR,
     .summary = "say what is installed, what is missing and how to get it",
     .about = "Looks at the machine and the models: devices and their memory, threads, "
              "ensembles, disk space, programs that are used where they are there. Exit "
              "status 3 where no ensemble is complete.",
     .examples = {"diffens doctor", "diffens doctor --json"},
     .run = command_doctor},
};

const int command_count = sizeof command_table / sizeof *command_table;

const struct command *command_find(const char *name)
{
    for (const struct command *c = command_table; c < command_table + command_count; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

const struct command *command_of(enum command_bit bit)
{
    for (const struct command *c = command_table; c < command_table + command_count; c++)
        if (c->bit == bit)
            return c;
    return NULL;
}
