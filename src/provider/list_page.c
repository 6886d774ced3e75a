/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "list_page.h"

void
list_page_init(struct list_page *p, xml_fn *fn, void *arg, const char *hint)
{
	*p = (struct list_page){ .fn = fn, .arg = arg, .hint = hint };
	buf_init(&p->text, LIST_PAGE_TEXT_MAX);
}

void
list_page_free(struct list_page *p)
{
	xml_reader_free(p->xml);
	buf_free(&p->text);
	free(p->entries);
	free(p->mark);
}

void
list_page_begin(struct list_page *p)
{
	xml_reader_free(p->xml);
	p->xml = p->fn != NULL ? xml_reader_new(p->fn, p->arg) : NULL;
	buf_reset(&p->text);
	buf_add(&p->text, "", 1, NULL); /* offset 0: an absent string */
	p->nentries = p->next = 0;
	p->cur = (struct list_page_entry){ 0 };
	p->listing = false;
}

enum err_code
list_page_feed(struct list_page *p, const void *data, size_t n, struct err *reterr)
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
list_page_end(struct list_page *p)
{
	return xml_end(p->xml, NULL) == ERR_OK && p->listing;
}

enum err_code
list_page_text(struct list_page *p, struct span text, size_t *ret, struct err *reterr)
{
	*ret = p->text.len;
	if (buf_add(&p->text, text.p, text.n, reterr) != ERR_OK)
		return reterr->code;
	return buf_add(&p->text, "", 1, reterr);
}

enum err_code
list_page_push(struct list_page *p, struct err *reterr)
{
	if (p->nentries == LIST_PAGE_MAX)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a page of the listing has more than %d entries", LIST_PAGE_MAX);
	if (p->nentries == p->room) {
		p->room = p->room == 0 ? 64 : 2 * p->room;
		p->entries = xreallocarray(p->entries, p->room, sizeof(*p->entries));
	}
	if (p->cur.name_len > 0)
		p->entries[p->nentries++] = p->cur;
	p->cur = (struct list_page_entry){ 0 };
	return ERR_OK;
}

enum err_code
list_page_go_on(struct list_page *p, const char *what, const char *name, const char *marker, struct err *reterr)
{
	if (p->mark != NULL && strcmp(p->mark, marker) == 0)
		return err_set(reterr, ERR_CORRUPT, 200, "%s %s: the listing goes round in a circle", what, name);
	if (++p->pages == LIST_PAGES_MAX)
		return err_set(reterr, ERR_CORRUPT, 200, "%s %s: the listing has no end after %d pages", what, name, LIST_PAGES_MAX);
	if ((p->pages & (p->pages - 1)) == 0) {
		free(p->mark);
		p->mark = xstrdup(marker);
	}
	return ERR_OK;
}

const struct list_page_entry *
list_page_next(struct list_page *p)
{
	return p->next < p->nentries ? &p->entries[p->next++] : NULL;
}

const char *
list_page_str(const struct list_page *p, size_t at)
{
	return (const char *)p->text.data + at;
}
