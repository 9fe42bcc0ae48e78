/* font_data.c: the fonts of the figures, inside the binary, so that a run needs none on
 * the machine. Leaves reading them to text.c. */
#include "run/font_data.h"

#define EMBED(symbol, path)                                                              \
    __asm__(".section .rodata\n"                                                         \
            ".balign 16\n"                                                               \
            ".global " #symbol "\n" #symbol ":\n"                                        \
            ".incbin \"" path "\"\n"                                                     \
            ".byte 0\n"                                                                  \
            ".previous\n")

EMBED(font_data_regular, FONT_REGULAR);
EMBED(font_data_bold, FONT_BOLD);

#ifdef FONT_FALLBACK
EMBED(font_data_fallback, FONT_FALLBACK);
const bool font_data_has_fallback = true;
#else
const unsigned char font_data_fallback[1] = {0};
const bool font_data_has_fallback = false;
#endif
