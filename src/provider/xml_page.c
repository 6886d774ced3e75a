/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "xml_page.h"

void
xml_page_init(struct xml_page *p, xml_fn *fn, void *arg, const char *hint)
{
	*p = (struct xml_page){ .fn = fn, .arg = arg, .hint = hint };
	buf_init(&p->text, XML_PAGE_TEXT_MAX);
}

void
xml_page_free(struct xml_page *p)
{
	xml_reader_free(p->xml);
	buf_free(&p->text);
	free(p->entries);
}

void
xml_page_begin(struct xml_page *p)
{
	xml_reader_free(p->xml);
	p->xml = xml_reader_new(p->fn, p->arg);
	buf_reset(&p->text);
	buf_add(&p->text, "", 1, NULL); /* offset 0: an absent string */
	p->nentries = p->next = 0;
	p->cur = (struct xml_page_entry){ 0 };
	p->listing = false;
}

enum err_code
xml_page_feed(struct xml_page *p, const void *data, size_t n, struct err *reterr)
{
	struct err e;

	if (xml_feed(p->xml, data, n, &e) == ERR_OK)
		return ERR_OK;
	if (e.code == ERR_CORRUPT) /* no XML, so it is somebody else who answers */
		err_set(reterr, ERR_UNSUPPORTED, 200, "the answer to a listing is none (%s)", e.msg);
	else
		*reterr = e;
	return err_hint(reterr, "%s", p->hint);
}

bool
xml_page_end(struct xml_page *p)
{
	return xml_end(p->xml, NULL) == ERR_OK && p->listing;
}

enum err_code
xml_page_text(struct xml_page *p, struct span text, size_t *ret, struct err *reterr)
{
	*ret = p->text.len;
	if (buf_add(&p->text, text.p, text.n, reterr) != ERR_OK)
		return reterr->code;
	return buf_add(&p->text, "", 1, reterr);
}

enum err_code
xml_page_push(struct xml_page *p, struct err *reterr)
{
	if (p->nentries == XML_PAGE_MAX)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a page of the listing has more than %d entries", XML_PAGE_MAX);
	if (p->nentries == p->room) {
		p->room = p->room == 0 ? 64 : 2 * p->room;
		p->entries = xreallocarray(p->entries, p->room, sizeof(*p->entries));
	}
	if (p->cur.name_len > 0)
		p->entries[p->nentries++] = p->cur;
	p->cur = (struct xml_page_entry){ 0 };
	return ERR_OK;
}

const struct xml_page_entry *
xml_page_next(struct xml_page *p)
{
	return p->next < p->nentries ? &p->entries[p->next++] : NULL;
}

const char *
xml_page_str(const struct xml_page *p, size_t at)
{
	return (const char *)p->text.data + at;
}
