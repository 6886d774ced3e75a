/* SPDX-License-Identifier: MIT */
#ifndef NET_XML_H
#define NET_XML_H

#include "base/buf.h"

/*
 * XML answers, read in pieces by expat. No DTD, depth at most XML_DEPTH_MAX, text at most XML_TEXT_MAX.
 * Namespace prefixes and attributes are dropped. The callback sees each element that has no child elements
 * as path ("ListBucketResult/Contents/Key") and text, and the end of every element that has some with text.p NULL.
 */
#define XML_DEPTH_MAX 32
#define XML_TEXT_MAX  65536

typedef enum err_code xml_fn(void *arg, const char *path, struct span text, struct err *reterr);

struct xml_reader;

struct xml_reader *xml_reader_new(xml_fn *fn, void *arg);
void               xml_reader_free(struct xml_reader *x);
/* In pieces of any size. ERR_CORRUPT, also for a limit, or what the callback returned; it stays that way. */
enum err_code      xml_feed(struct xml_reader *x, const void *p, size_t n, struct err *reterr);
enum err_code      xml_end(struct xml_reader *x, struct err *reterr);

/* <, >, &, quotes and CR; control characters that XML 1.0 forbids, and what is not UTF-8, are left out. */
void               xml_escape(struct span in, struct buf *ret);

#endif
