/* animation.c: has ffmpeg make a file out of frames that it is sent one at a time. Leaves
 * running it to io/program.h. */
#include "run/animation.h"

#include "base/stop.h"
#include "base/str.h"
#include "io/program.h"
#include "io/publish.h"

#include <stdio.h>
#include <stdlib.h>

#define ENCODER "ffmpeg"
#define MOST_WORDS 40

static const char *const suffixes[] = {NULL, "gif", "webp", "mp4"};

/* What each format needs beside the frames. The encoder is ffmpeg's own choice. */
static const char *const settings[][8] = {
    [ANIMATION_GIF] = {"-vf", "split[a][b];[a]palettegen[p];[b][p]paletteuse", "-loop",
                       "0", NULL},
    [ANIMATION_WEBP] = {"-quality", "90", "-loop", "0", NULL},
    /* Players want even sides and colours at half the resolution. */
    [ANIMATION_MP4] = {"-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p",
                       "-movflags", "+faststart", NULL},
};

const char *animation_suffix(enum animation_format format)
{
    return suffixes[format];
}

bool animation_check(struct err *e)
{
    if (program_is_there(ENCODER))
        return true;
    err_set(e, ERR_INPUT, "--animate: found no " ENCODER " in $PATH, expected one");
    return err_hint(e, "install it, or leave --animate out: --resume --animate adds "
                       "animations to a run that is there");
}

/* -bitexact: the same frames make the same bytes. `file:` lets a path begin with "-". */
static void list_arguments(const struct animation *a, const char *size, const char *rate,
                           const char *file, const char *words[MOST_WORDS])
{
    const char *const before[] = {
        ENCODER,      "-hide_banner", "-nostdin", "-loglevel", "error",       "-y",
        "-f",         "rawvideo",     "-pix_fmt", "rgb24",     "-video_size", size,
        "-framerate", rate,           "-i",       "pipe:0",    "-bitexact",   NULL};
    const char *const after[] = {"-f", suffixes[a->format], file, NULL};
    const char *const *parts[] = {before, settings[a->format], after};
    int count = 0;
    for (int i = 0; i < 3; i++)
        for (const char *const *word = parts[i]; *word; word++)
            words[count++] = *word;
    words[count] = NULL;
}

static bool start(struct program *encoder, const struct animation *a, const char *path,
                  struct err *e)
{
    const char *words[MOST_WORDS];
    char size[32], rate[16];
    struct str file = {0};
    snprintf(size, sizeof size, "%dx%d", a->width, a->height);
    snprintf(rate, sizeof rate, "%d", a->rate);
    str_addf(&file, "file:%s", path);
    list_arguments(a, size, rate, str_text(&file), words);
    bool ok = file.failed ? err_set(e, ERR_MEMORY, "%s: out of memory", STR_SHOW(path))
                          : program_start(encoder, (char *const *)words, e);
    str_free(&file);
    return ok;
}

/* False with an error but for an encoder that listens no longer. */
static bool send_frame(const struct program *encoder, const struct animation *a, int i,
                       bool *listens, struct err *e)
{
    struct image frame = {0};
    bool ok = stop_check(e) && a->frame(a->user, i, &frame, e);
    if (ok && (frame.width != a->width || frame.height != a->height))
        ok = err_set(e, ERR_BUG, "animation: found a frame of %d x %d, expected %d x %d",
                     frame.width, frame.height, a->width, a->height);
    if (ok)
        *listens =
            program_write(encoder, frame.rgb, (size_t)a->width * (size_t)a->height * 3);
    image_free(&frame);
    return ok;
}

bool animation_write(const struct animation *a, const char *path, struct err *e)
{
    struct publish file = {0};
    struct program encoder = {0};
    bool listens = true;
    bool ok = publish_begin(&file, path, e) && start(&encoder, a, file.temporary, e);
    for (int i = 0; ok && listens && i < a->frames; i++)
        ok = send_frame(&encoder, a, i, &listens, e);
    ok = ok && program_end(&encoder, path, e);
    if (ok && !listens)
        ok = err_set(e, ERR_OUTPUT, "%s: " ENCODER " did not read all frames",
                     STR_SHOW(path));
    ok = ok && publish_commit(&file, e);
    program_abandon(&encoder);
    publish_abandon(&file);
    return ok;
}
