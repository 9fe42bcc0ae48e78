/* html.h: text and bytes made fit for HTML. */
#ifndef DIFFENS_RUN_HTML_H
#define DIFFENS_RUN_HTML_H

#include "base/str.h"

/* Text of an element or of a quoted attribute: markup, quotes and what is not printable
 * are escaped; bytes that are not UTF-8 become U+FFFD. */
void html_add_text(struct str *out, const char *text);

/* The same as part of a relative URL in a quoted attribute: percent-encoded but for '/'.
 */
void html_add_url(struct str *out, const char *path);

void html_add_base64(struct str *out, const void *bytes, size_t size);

#endif
