/* report_data.c: src/run/report/style.css and script.js as texts inside the binary. */
#include "run/report_data.h"

#define EMBED(symbol, path)                                                              \
    __asm__(".section .rodata\n"                                                         \
            ".global " #symbol "\n" #symbol ":\n"                                        \
            ".incbin \"" path "\"\n"                                                     \
            ".byte 0\n"                                                                  \
            ".previous\n")

EMBED(report_data_style, REPORT_STYLE);
EMBED(report_data_script, REPORT_SCRIPT);
