/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "gcs.h"

/* One page of a listing, read as it arrives: { "items": [ { "name": ..., "generation": ... } ], "nextPageToken": ... }. */
#define GCS_PAGE_MAX 10000 /* entries of one page, whatever the server makes of maxResults */

static void
gcs_page_forget(struct gcs_page *p)
{
	for (size_t i = 0; i < p->nitems; i++)
		free(p->items[i].name);
	free(p->cur.name);
	p->cur = (struct gcs_item){ .name = NULL };
	p->nitems = 0;
}

static bool
gcs_page_push(struct gcs_page *p)
{
	if (p->cur.name == NULL)
		return true;
	if (p->nitems == GCS_PAGE_MAX)
		return false;
	if (p->nitems == p->room) {
		p->room = p->room == 0 ? 64 : 2 * p->room;
		p->items = xreallocarray(p->items, p->room, sizeof(*p->items));
	}
	p->items[p->nitems++] = p->cur;
	p->cur = (struct gcs_item){ .name = NULL };
	return true;
}

/* Cut where it does not fit. */
static void
gcs_page_text(char *to, size_t size, struct span text)
{
	size_t n = text.n < size ? text.n : size - 1;

	memcpy(to, text.p, n);
	to[n] = '\0';
}

static void
gcs_page_member(struct gcs_page *p, const struct json_token *t)
{
	char text[TIME_TEXT_MAX];

	gcs_page_text(text, sizeof(text), t->text);
	if (strcmp(p->key, "name") == 0 && p->cur.name == NULL) {
		p->cur.name = span_dup(t->text);
		p->cur.broken = t->cut || memchr(t->text.p, '\0', t->text.n) != NULL;
	} else if (strcmp(p->key, "generation") == 0) {
		gcs_page_text(p->cur.generation, sizeof(p->cur.generation), t->text);
	} else if (strcmp(p->key, "size") == 0) {
		p->cur.size = strtoull(text, NULL, 10);
	} else if (strcmp(p->key, "updated") == 0 && !time_parse(text, &p->cur.modified)) {
		p->cur.modified = 0;
	}
}

static enum json_want
gcs_page_token(struct gcs_page *p, const struct json_token *t)
{
	if (!t->cut && t->text.n < sizeof(p->token)) {
		gcs_page_text(p->token, sizeof(p->token), t->text);
		return JSON_WANT;
	}
	err_set(&p->broken, ERR_UNSUPPORTED, 0, "the token of the listing's next page is longer than %d bytes", GCS_TOKEN_MAX - 1);
	return JSON_STOP;
}

static enum json_want
gcs_page_event(void *arg, const struct json_token *t)
{
	struct gcs_page *p = arg;

	if (t->depth == 0 && t->event == JSON_EV_OBJECT)
		p->listing = true;
	if (t->depth == 1 && t->event == JSON_EV_STRING && strcmp(p->key, "nextPageToken") == 0)
		return gcs_page_token(p, t);
	if (t->event == JSON_EV_KEY && (t->depth == 1 || t->depth == 3))
		gcs_page_text(p->key, sizeof(p->key), t->text);
	else if (t->depth == 1 && (t->event == JSON_EV_ARRAY || t->event == JSON_EV_ARRAY_END))
		p->in_items = t->event == JSON_EV_ARRAY && strcmp(p->key, "items") == 0;
	else if (p->in_items && t->depth == 3 && (t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER))
		gcs_page_member(p, t);
	else if (p->in_items && t->depth == 2 && t->event == JSON_EV_OBJECT_END && !gcs_page_push(p)) {
		err_set(&p->broken, ERR_UNSUPPORTED, 0, "a page of the listing has more than %d entries", GCS_PAGE_MAX);
		return JSON_STOP;
	} else if (t->depth >= 3 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY))
		return JSON_SKIP_TEXT;
	return JSON_WANT;
}

enum err_code
gcs_page_feed(struct gcs_page *p, const void *bytes, size_t n, struct err *reterr)
{
	struct err e;

	if (json_feed(p->json, bytes, n, &e) == ERR_OK)
		return ERR_OK;
	if (p->broken.code != ERR_OK)
		*reterr = p->broken;
	else
		err_set(reterr, ERR_UNSUPPORTED, 200, "the answer to a listing is none (%s)", e.msg);
	return err_hint(reterr, GCS_OTHER_HINT);
}

bool
gcs_page_end(struct gcs_page *p)
{
	return json_end(p->json, NULL) == ERR_OK && p->listing;
}

void
gcs_page_begin(struct gcs_page *p)
{
	gcs_page_forget(p);
	json_reader_free(p->json);
	p->json = json_reader_new(gcs_page_event, p);
	p->key[0] = p->token[0] = '\0';
	p->in_items = p->listing = false;
	err_clear(&p->broken);
}

void
gcs_page_free(struct gcs_page *p)
{
	gcs_page_forget(p);
	free(p->items);
	json_reader_free(p->json);
	memset(p, 0, sizeof(*p));
}
