/* shard.c: reads the variables that Slurm sets for the tasks of a job array. Leaves which
 * cases that means to src/stages. */
#include "cli/shard.h"

#include "base/str.h"
#include "cli/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TASKS_MAX 1000000

/* Of the task, and of the array that it belongs to. */
enum { ID, MIN, MAX, STEP, COUNT, VARIABLES };

static const char *const names[VARIABLES] = {"ID", "MIN", "MAX", "STEP", "COUNT"};

static bool read_variable(int which, uint64_t least, uint64_t *out, struct err *e)
{
    char name[40];
    snprintf(name, sizeof name, "SLURM_ARRAY_TASK_%s", names[which]);
    const char *text = getenv(name);
    if (!text) {
        err_set(e, ERR_USAGE,
                "--shard auto: found no $%s, expected a task of a Slurm "
                "job array (sbatch --array)",
                name);
        return err_hint(e, "elsewhere --shard I/N says which part it is");
    }
    return (value_digits(text, strlen(text), out) && *out >= least &&
            *out <= UINT32_MAX) ||
           err_set(e, ERR_USAGE,
                   "--shard auto: $%s: found \"%s\", expected integer "
                   "%d..%u",
                   name, STR_SHOW(text), (int)least, UINT32_MAX);
}

static bool refuse(int which, uint64_t found, const char *expected, struct err *e)
{
    return err_set(e, ERR_USAGE,
                   "--shard auto: $SLURM_ARRAY_TASK_%s: found %llu, "
                   "expected %s",
                   names[which], (unsigned long long)found, expected);
}

/* An array such as 1,5,7 has no step: its tasks are not numbered evenly. */
static bool check(const uint64_t v[VARIABLES], struct err *e)
{
    char expected[120];
    if (v[MAX] < v[MIN] || (v[MAX] - v[MIN]) % v[STEP] != 0) {
        snprintf(expected, sizeof expected, "%llu and a multiple of the step, %llu",
                 (unsigned long long)v[MIN], (unsigned long long)v[STEP]);
        return refuse(MAX, v[MAX], expected, e);
    }
    uint64_t tasks = (v[MAX] - v[MIN]) / v[STEP] + 1;
    if (v[COUNT] != tasks || tasks > TASKS_MAX) {
        snprintf(expected, sizeof expected,
                 "%llu tasks, as an array %llu-%llu:%llu has, at most %d",
                 (unsigned long long)tasks, (unsigned long long)v[MIN],
                 (unsigned long long)v[MAX], (unsigned long long)v[STEP], TASKS_MAX);
        return refuse(COUNT, v[COUNT], expected, e);
    }
    if (v[ID] < v[MIN] || v[ID] > v[MAX] || (v[ID] - v[MIN]) % v[STEP] != 0)
        return refuse(ID, v[ID], "a task of the array", e);
    return true;
}

/* "auto" in the command line becomes the part: elsewhere it would mean another. */
static bool name_part(struct options *o, struct err *e)
{
    for (int i = 0; i + 1 < o->argument_count; i++) {
        if (strcmp(o->arguments[i], "--shard") != 0 ||
            strcmp(o->arguments[i + 1], "auto") != 0)
            continue;
        struct str part = {0};
        str_addf(&part, "%d/%d", o->shard.index, o->shard.count);
        free(o->arguments[i + 1]);
        o->arguments[i + 1] = str_take(&part);
        if (!o->arguments[i + 1]) {
            o->argument_count = i + 1;
            return err_set(e, ERR_MEMORY, "--shard: out of memory");
        }
    }
    return true;
}

bool shard_resolve(struct options *o, struct err *e)
{
    uint64_t v[VARIABLES];
    if (!o->shard.automatic)
        return true;
    for (int i = 0; i < VARIABLES; i++)
        if (!read_variable(i, i == STEP || i == COUNT, &v[i], e))
            return false;
    if (!check(v, e))
        return false;
    o->shard = (struct option_shard){.index = (int)((v[ID] - v[MIN]) / v[STEP]),
                                     .count = (int)v[COUNT]};
    return name_part(o, e);
}
