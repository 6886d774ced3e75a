/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "harness.h"

/* A workspace, and a page of them: of each the few members that matter here, whatever else there is beside them or below. */
#define HARNESS_PAGE_MAX 10000 /* workspaces of one page, whatever the server makes of limit */

static void
harness_page_text(struct harness_page *p, const struct json_token *t)
{
	struct harness_workspace *w = &p->cur;

	if (strcmp(p->key, "identifier") == 0) {
		span_text(w->identifier, sizeof(w->identifier), t->text);
		w->odd = t->cut || t->text.n == 0 || t->text.n > HARNESS_NAME_MAX || !hb_harness.fits(w->identifier);
	} else if (strcmp(p->key, "status") == 0) {
		span_text(w->status, sizeof(w->status), t->text);
	} else if (strcmp(p->key, "state_checksum") == 0 && t->text.n < sizeof(w->checksum)) {
		span_text(w->checksum, sizeof(w->checksum), t->text);
	} else if (strcmp(p->key, "terraform_state") == 0 && t->text.n < sizeof(w->state)) {
		span_text(w->state, sizeof(w->state), t->text);
	} else if (strcmp(p->key, "id") == 0 && t->text.n < sizeof(w->id)) {
		span_text(w->id, sizeof(w->id), t->text);
	} else if (strcmp(p->key, "data_type") == 0 && t->text.n < sizeof(w->type)) {
		span_text(w->type, sizeof(w->type), t->text);
	}
}

static void
harness_page_value(struct harness_page *p, const struct json_token *t)
{
	char number[24];

	if (t->event == JSON_EV_STRING)
		harness_page_text(p, t);
	else if (strcmp(p->key, "backend_locked") == 0)
		p->cur.locked = t->event == JSON_EV_TRUE;
	else if (strcmp(p->key, "prune_sensitive_data") == 0)
		p->cur.pruned = t->event == JSON_EV_TRUE;
	else if (t->event == JSON_EV_NUMBER && (strcmp(p->key, "updated") == 0 || strcmp(p->key, "created") == 0)) {
		span_text(number, sizeof(number), t->text);
		*(p->key[0] == 'u' ? &p->cur.updated : &p->cur.created) = strtoll(number, NULL, 10);
	}
}

static enum json_want
harness_page_event(void *arg, const struct json_token *t)
{
	struct harness_page *p = arg;

	if (t->depth == 0 && t->event == JSON_EV_ARRAY) {
		p->level = 1;
	} else if (t->depth == p->level && t->event == JSON_EV_OBJECT) {
		p->cur = (struct harness_workspace){ .odd = true };
	} else if (t->depth == p->level && t->event == JSON_EV_OBJECT_END) {
		if (++p->n > HARNESS_PAGE_MAX)
			return JSON_STOP;
		p->seen(p->arg, &p->cur);
	} else if (t->depth == p->level + 1 && t->event == JSON_EV_KEY) {
		span_text(p->key, sizeof(p->key), t->text);
	} else if (t->depth == p->level + 1 && (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY)) {
		return JSON_SKIP_TEXT;
	} else if (t->depth == p->level + 1) {
		harness_page_value(p, t);
	} else if (t->event != JSON_EV_ARRAY_END) {
		return JSON_STOP;
	}
	return JSON_WANT;
}

static enum err_code
harness_page_broken(struct err *reterr)
{
	err_set(reterr, ERR_UNSUPPORTED, 200, "the answer is not one of Harness about workspaces");
	return err_hint(reterr, "check endpoint, and that no proxy or login page answers in its place");
}

enum err_code
harness_page_feed(struct harness_page *p, const void *bytes, size_t n, struct err *reterr)
{
	return json_feed(p->json, bytes, n, NULL) == ERR_OK ? ERR_OK : harness_page_broken(reterr);
}

enum err_code
harness_page_end(struct harness_page *p, bool array, struct err *reterr)
{
	return json_end(p->json, NULL) == ERR_OK && array == (p->level == 1) ? ERR_OK : harness_page_broken(reterr);
}

void
harness_page_begin(struct harness_page *p)
{
	json_reader_free(p->json);
	p->json = json_reader_new(harness_page_event, p);
	p->key[0] = '\0';
	p->level = p->n = 0;
}

void
harness_page_free(struct harness_page *p)
{
	json_reader_free(p->json);
	p->json = NULL;
}
