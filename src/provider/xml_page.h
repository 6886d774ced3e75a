/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_XML_PAGE_H
#define SRC_PROVIDER_XML_PAGE_H

#include "net/xml.h"

/*
 * One page of a listing that comes as XML, parsed as it arrives: what it shows is for the driver once the page is whole, for one that breaks
 * off begins anew. The driver's callback puts the elements of an entry into cur, and pushes it at its end.
 */
#define XML_PAGE_MAX      10000             /* entries, whatever the server makes of the number it was asked for */
#define XML_PAGE_TEXT_MAX ((size_t)16 << 20) /* bytes of all strings */

/* Strings are offsets into the page's text, each with a NUL at its end; 0: there is none. */
struct xml_page_entry {
	size_t   name, name_len, etag, md5;
	uint64_t size;     /* bytes */
	int64_t  modified; /* wall clock, ms; 0: not told */
	bool     leased;
};

struct xml_page {
	struct xml_page_entry cur;     /* whose elements come in */
	bool                  listing; /* the driver's: the root was that of a listing */
	const char           *hint;    /* what to do about an answer that is no listing, static */
	/* --- the page's own --- */
	xml_fn               *fn;
	void                 *arg;
	struct xml_reader    *xml;
	struct buf            text;
	struct xml_page_entry *entries;
	size_t                nentries, room, next;
};

/* fn, called with arg, which outlives the page: the driver's callback. */
void          xml_page_init(struct xml_page *p, xml_fn *fn, void *arg, const char *hint);
void          xml_page_free(struct xml_page *p);
void          xml_page_begin(struct xml_page *p); /* before each attempt */
/* What is no XML is somebody else's answer: ERR_UNSUPPORTED. */
enum err_code xml_page_feed(struct xml_page *p, const void *data, size_t n, struct err *reterr);
bool          xml_page_end(struct xml_page *p); /* was that a whole listing? */
/* For the callback. */
enum err_code xml_page_text(struct xml_page *p, struct span text, size_t *ret, struct err *reterr);
enum err_code xml_page_push(struct xml_page *p, struct err *reterr); /* cur, unless it has no name */
/* The entries in the order of the answer; NULL: no more. */
const struct xml_page_entry *xml_page_next(struct xml_page *p);
const char   *xml_page_str(const struct xml_page *p, size_t at); /* until the next xml_page_begin() */

#endif
