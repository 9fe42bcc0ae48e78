/* font_data.h: DejaVu Sans and DejaVu Sans Bold as TrueType files in memory. */
#ifndef DIFFENS_RUN_FONT_DATA_H
#define DIFFENS_RUN_FONT_DATA_H

extern const unsigned char font_data_regular[];
extern const unsigned char font_data_bold[];

#endif
