/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "gcs.h"

/* One page of a listing, read as it arrives: { "items": [ { "name": ..., "generation": ... } ], "nextPageToken": ... }. */
static enum err_code
gcs_page_member(struct gcs_page *p, const struct json_token *t)
{
	struct list_page_entry *cur = &p->page.cur;
	char                    text[TIME_TEXT_MAX];

	span_text(text, sizeof(text), t->text);
	if (strcmp(p->key, "name") == 0 && cur->name == 0) {
		cur->name_len = t->text.n;
		cur->broken = t->cut || memchr(t->text.p, '\0', t->text.n) != NULL;
		return list_page_text(&p->page, t->text, &cur->name, &p->broken);
	}
	if (strcmp(p->key, "generation") == 0)
		return list_page_text(&p->page, t->text, &cur->etag, &p->broken);
	if (strcmp(p->key, "size") == 0)
		cur->size = strtoull(text, NULL, 10);
	else if ((strcmp(p->key, "updated") == 0 || strcmp(p->key, "timeCreated") == 0) && !time_parse(text, &cur->modified))
		cur->modified = 0;
	return ERR_OK;
}

static enum json_want
gcs_page_token(struct gcs_page *p, const struct json_token *t)
{
	if (!t->cut && t->text.n < sizeof(p->token)) {
		span_text(p->token, sizeof(p->token), t->text);
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
		p->page.listing = true;
	if (t->depth == 1 && t->event == JSON_EV_STRING && strcmp(p->key, "nextPageToken") == 0)
		return gcs_page_token(p, t);
	if (t->event == JSON_EV_KEY && (t->depth == 1 || t->depth == 3))
		span_text(p->key, sizeof(p->key), t->text);
	else if (t->depth == 1 && (t->event == JSON_EV_ARRAY || t->event == JSON_EV_ARRAY_END))
		p->in_items = t->event == JSON_EV_ARRAY && strcmp(p->key, "items") == 0;
	else if (p->in_items && t->depth == 3 && (t->event == JSON_EV_STRING || t->event == JSON_EV_NUMBER))
		return gcs_page_member(p, t) == ERR_OK ? JSON_WANT : JSON_STOP;
	else if (p->in_items && t->depth == 2 && t->event == JSON_EV_OBJECT_END)
		return list_page_push(&p->page, &p->broken) == ERR_OK ? JSON_WANT : JSON_STOP;
	else if (t->depth >= 3 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY))
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
	return json_end(p->json, NULL) == ERR_OK && p->page.listing;
}

void
gcs_page_init(struct gcs_page *p)
{
	memset(p, 0, sizeof(*p));
	list_page_init(&p->page, NULL, NULL, GCS_OTHER_HINT);
}

void
gcs_page_begin(struct gcs_page *p)
{
	list_page_begin(&p->page);
	json_reader_free(p->json);
	p->json = json_reader_new(gcs_page_event, p);
	p->key[0] = p->token[0] = '\0';
	p->in_items = false;
	err_clear(&p->broken);
}

void
gcs_page_free(struct gcs_page *p)
{
	list_page_free(&p->page);
	json_reader_free(p->json);
}
