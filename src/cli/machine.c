/* machine.c: reads /proc/cpuinfo and the file system. Leaves what it means to
 * doctor.c. */
#include "cli/machine.h"

#include "base/str.h"
#include "io/program.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

/* x86 and Arm, as Linux spells them. */
static const char *const known_features[] = {
    "avx2",     "avx512f",  "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
    "amx_bf16", "amx_int8", "asimd",       "asimdhp",     "sve",         "bf16",
};

/* Whether `word` stands alone in the list. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ' ') && (!at[length] || strchr(" \n", at[length])))
            return true;
    return false;
}

static void read_features(struct machine *m, const char *list)
{
    for (size_t i = 0; i < sizeof known_features / sizeof *known_features; i++) {
        size_t used = strlen(m->features);
        if (has_word(list, known_features[i]))
            snprintf(m->features + used, sizeof m->features - used, "%s%s",
                     used ? " " : "", known_features[i]);
    }
}

static void read_processor(struct machine *m)
{
    struct utsname system;
    if (uname(&system) == 0)
        snprintf(m->processor, sizeof m->processor, "%.64s", system.machine);
    FILE *file = fopen("/proc/cpuinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool named = false;
    while (file && getline(&line, &size, file) > 0 && line[0] != '\n') {
        char *value = strchr(line, ':');
        if (!value)
            continue;
        value += 1 + (value[1] == ' ');
        if (strncmp(line, "model name", 10) == 0 && !named) {
            snprintf(m->processor, sizeof m->processor, "%.*s", (int)strcspn(value, "\n"),
                     value);
            named = true;
        }
        if (strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0)
            read_features(m, value);
    }
    free(line);
    if (file)
        fclose(file);
}

static int count_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

static const char *locale_of(void)
{
    static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value)
            return value;
    }
    return "C";
}

void machine_look(struct machine *m)
{
    struct statvfs disk;
    *m = (struct machine){.processors = count_processors(), .disk_free = -1};
    read_processor(m);
    if (!getcwd(m->folder, sizeof m->folder))
        snprintf(m->folder, sizeof m->folder, ".");
    if (statvfs(".", &disk) == 0)
        m->disk_free = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    m->ffmpeg = program_is_there("ffmpeg");
    str_escape(m->locale, sizeof m->locale, locale_of(), strlen(locale_of()));
}
