/* background.h: threads that make way for the computation. */
#ifndef DIFFENS_BACKGROUND_H
#define DIFFENS_BACKGROUND_H

#include <stdatomic.h>
#include <stdbool.h>

/* A thread's; start from `{0}`. */
struct background {
    atomic_int thread;
    atomic_bool hurried;
};

/* Gives the calling thread the lowest priority there is: without it a thread beside the
 * computation's own makes all of them wait for the one it pushes aside. */
void background_enter(struct background *b);

/* Called by who waits for that thread to let go: gives it the caller's priority again,
 * where the system allows it. Accepts one that has not entered yet. */
void background_hurry(struct background *b);

#endif
