/* report_data.h: the style and the script of the report, inside the binary. */
#ifndef DIFFENS_RUN_REPORT_DATA_H
#define DIFFENS_RUN_REPORT_DATA_H

extern const char report_data_style[], report_data_script[];

#endif
