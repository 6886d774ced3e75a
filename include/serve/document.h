/* SPDX-License-Identifier: MIT */
#ifndef SERVE_DOCUMENT_H
#define SERVE_DOCUMENT_H

#include <jansson.h>

/* A JSON text as jansson's tree, to be looked at only: a number that jansson cannot hold is a string of its digits there.
 * NULL: it is no JSON object or array. */
json_t *document_load(const char *text, size_t n);

#endif
