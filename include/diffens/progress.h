/* progress.h: how the code that works tells the user what it is doing. Leaves what is
 * shown, where and how often to whoever fills the struct (src/cli/display.c). */
#ifndef DIFFENS_PROGRESS_H
#define DIFFENS_PROGRESS_H

#include <stdint.h>

enum note_level {
    NOTE_WARNING, /* the result may not be what was meant; shown even with --quiet */
    NOTE_INFO,    /* what a user wants to know once: which ensemble, which device */
    NOTE_DETAIL,  /* shown with --verbose */
    NOTE_FINDING, /* one of the things that a failure counts; shown with --verbose */
};

/* Where a run stands. Names are UTF-8, as they come from files and users. */
struct progress_at {
    const char *stage;   /* "generate", "blend", "optimize" */
    const char *model;   /* diffuser at work, or NULL */
    const char *cell;    /* case, or NULL; with a batch, the first one */
    int64_t cells;       /* how many of them are at work together; 0 is 1 */
    int64_t step, steps; /* within the cells; steps is 0 where there are none */
    int64_t done, total; /* whole cells of the stage, finished and in all */
    const char *unit;    /* what users count: "images", "epochs"; or NULL */
    double units;        /* how many of these a cell has */
    int64_t memory;      /* bytes in use on the device; 0 or less: not known */
    const char *detail;  /* "loss 0.512", or NULL */
};

/* Callbacks may be NULL. They are called from the thread that computes. */
struct progress {
    void (*at)(void *user, const struct progress_at *at);
    void (*note)(void *user, enum note_level level, const char *line);
    void (*made)(void *user, const char *path);
    void *user;
};

/* Reports a place. `p` may be NULL. */
void progress_at(const struct progress *p, const struct progress_at *at);

/* Reports a line of text, without a newline. `p` may be NULL. */
void progress_note(const struct progress *p, enum note_level level, const char *format,
                   ...) __attribute__((format(printf, 3, 4)));

/* Reports a picture that is published: its path goes to standard output. `p` may be NULL.
 */
void progress_made(const struct progress *p, const char *path);

#endif
