/* background.h: threads that make way for the computation. */
#ifndef DIFFENS_BACKGROUND_H
#define DIFFENS_BACKGROUND_H

/* Gives the calling thread the lowest priority there is: without it a thread beside the
 * computation's own makes all of them wait for the one it pushes aside. */
void background_enter(void);

#endif
