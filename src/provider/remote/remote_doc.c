/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "remote.h"

/*
 * JSON:API as these servers write it: `data` is one item or a list of them, `meta.pagination` tells of pages, `errors` of a refusal.
 * Members are found by their path, "data.attributes.name"; what no row of the table begins with is passed over.
 */
enum remote_kind { MEMBER_TEXT, MEMBER_NUMBER, MEMBER_TRUE, MEMBER_SEEN, MEMBER_SET, MEMBER_DENIED };

struct remote_member {
	const char      *path;
	enum remote_kind kind;   /* SEEN: it is there, be it null; SET: it is not null; DENIED: it is false, a bit */
	size_t           offset; /* in struct remote_doc */
	size_t           size;   /* of a text; the bit */
};

#define AT(member)   offsetof(struct remote_doc, member)
#define TEXT(member) MEMBER_TEXT, AT(member), sizeof(((struct remote_doc *)0)->member)
#define ATTR         "data.attributes."
#define REL          "data.relationships."

static const struct remote_member remote_members[] = {
	{ "data.id", TEXT(item.id) },
	{ ATTR "name", TEXT(item.name) },
	{ ATTR "locked", MEMBER_TRUE, AT(item.locked), 0 },
	{ ATTR "locked-reason", TEXT(item.reason) },
	{ ATTR "locked-reason", MEMBER_SEEN, AT(item.tells_reason), 0 },
	{ ATTR "latest-change-at", TEXT(item.changed) },
	{ ATTR "permissions.can-read-state-versions", MEMBER_DENIED, AT(item.denied), REMOTE_READ_STATE },
	{ ATTR "permissions.can-create-state-versions", MEMBER_DENIED, AT(item.denied), REMOTE_WRITE_STATE },
	{ ATTR "permissions.can-lock", MEMBER_DENIED, AT(item.denied), REMOTE_LOCK },
	{ ATTR "permissions.can-unlock", MEMBER_DENIED, AT(item.denied), REMOTE_UNLOCK },
	{ ATTR "permissions.can-force-unlock", MEMBER_DENIED, AT(item.denied), REMOTE_FORCE_UNLOCK },
	{ REL "current-state-version.data", MEMBER_SEEN, AT(item.tells_state), 0 },
	{ REL "current-state-version.data.id", TEXT(item.state) },
	{ REL "locked-by.data.type", TEXT(item.holder_type) },
	{ REL "locked-by.data.id", TEXT(item.holder) },
	{ REL "run.data.id", TEXT(item.run) },
	{ ATTR "serial", MEMBER_NUMBER, AT(item.serial), 0 },
	{ ATTR "serial", MEMBER_SET, AT(item.tells_serial), 0 },
	{ ATTR "size", MEMBER_NUMBER, AT(item.size), 0 },
	{ ATTR "size", MEMBER_SET, AT(item.tells_size), 0 },
	{ ATTR "status", TEXT(item.status) },
	{ ATTR "created-at", TEXT(item.created) },
	{ ATTR "hosted-state-download-url", TEXT(item.download) },
	{ ATTR "hosted-state-upload-url", TEXT(item.upload) },
	{ ATTR "encrypted-state-download-url", MEMBER_SET, AT(item.encrypted), 0 },
	{ "included.id", TEXT(included.id) },
	{ "included.attributes.name", TEXT(included.name) },
	{ "included.attributes.username", TEXT(included.name) },
	{ "meta.pagination.current-page", MEMBER_NUMBER, AT(page), 0 },
	{ "meta.pagination.next-page", MEMBER_NUMBER, AT(next_page), 0 },
	{ "meta.pagination.total-pages", MEMBER_NUMBER, AT(total_pages), 0 },
	{ "meta.pagination.total-count", MEMBER_NUMBER, AT(total), 0 },
	{ "meta.pagination.total-count", MEMBER_SET, AT(tells_total), 0 },
};

static bool
remote_is_item(const struct remote_doc *d, const struct json_token *t, const char *root)
{
	return (t->depth == 1 || t->depth == 2) && d->ends[t->depth] == strlen(root) && strcmp(d->path, root) == 0;
}

/* Is it, or does it lead to, a member that is wanted? */
static bool
remote_leads(const char *path)
{
	size_t n = strlen(path);

	for (size_t i = 0; i < ARRAY_LEN(remote_members); i++)
		if (strncmp(remote_members[i].path, path, n) == 0 && strchr(".", remote_members[i].path[n]) != NULL)
			return true;
	return strncmp(path, "errors", 6) == 0;
}

/* The path of the key; false: too deep or too long for anything that is wanted. */
static bool
remote_key(struct remote_doc *d, const struct json_token *t)
{
	size_t from = d->ends[t->depth - 1], n = from + (from > 0) + t->text.n;

	if (t->depth + 1 >= ARRAY_LEN(d->ends) || n >= sizeof(d->path) || t->cut || memchr(t->text.p, '\0', t->text.n) != NULL)
		return false;
	if (from > 0)
		d->path[from] = '.';
	memcpy(d->path + n - t->text.n, t->text.p, t->text.n);
	d->path[n] = '\0';
	d->ends[t->depth] = n;
	return remote_leads(d->path);
}

static bool
remote_text(struct remote_doc *d, const struct remote_member *m, const struct json_token *t)
{
	bool long_text = m->offset == AT(item.reason) || m->offset == AT(included.name);

	if (!long_text && (t->cut || t->text.n >= m->size || memchr(t->text.p, '\0', t->text.n) != NULL)) {
		err_set(&d->broken, ERR_UNSUPPORTED, 0, "\"%s\" of an answer is longer than %zu bytes", m->path, m->size - 1);
		return false;
	}
	if (m->offset == AT(item.download) || m->offset == AT(item.upload))
		snprintf((char *)d + m->offset, m->size, "%.*s", (int)t->text.n, (const char *)t->text.p);
	else
		span_text((char *)d + m->offset, m->size, t->text);
	return true;
}

static uint64_t
remote_number(const struct json_token *t)
{
	char text[24];

	span_text(text, sizeof(text), t->text);
	return text[0] == '-' ? 0 : strtoull(text, NULL, 10);
}

static bool
remote_member(struct remote_doc *d, const struct remote_member *m, const struct json_token *t)
{
	void *to = (char *)d + m->offset;

	switch (m->kind) {
	case MEMBER_TEXT:
		return t->event != JSON_EV_STRING || remote_text(d, m, t);
	case MEMBER_NUMBER:
		if (t->event == JSON_EV_NUMBER)
			*(uint64_t *)to = remote_number(t);
		return true;
	case MEMBER_TRUE:
		*(bool *)to = t->event == JSON_EV_TRUE;
		return true;
	case MEMBER_SEEN:
	case MEMBER_SET:
		*(bool *)to = m->kind == MEMBER_SEEN || t->event != JSON_EV_NULL;
		return true;
	case MEMBER_DENIED:
		if (t->event == JSON_EV_FALSE)
			*(unsigned *)to |= (unsigned)m->size;
		return true;
	}
	return true;
}

/* {"errors":[{"title":..., "detail":...}]}, or {"errors":["text"]} */
static void
remote_error(struct remote_doc *d, const struct json_token *t)
{
	bool title = strcmp(d->path, "errors.title") == 0;

	if (title && d->title[0] == '\0')
		span_text(d->title, sizeof(d->title), t->text);
	if ((title || strcmp(d->path, "errors.detail") == 0 || strcmp(d->path, "errors") == 0) && (d->detail[0] == '\0' ||
	    (!title && strncmp(d->detail, d->title, sizeof(d->title) - 1) == 0)))
		span_text(d->detail, sizeof(d->detail), t->text);
}

static enum json_want
remote_value(struct remote_doc *d, const struct json_token *t)
{
	if (t->event == JSON_EV_STRING && strncmp(d->path, "errors", 6) == 0)
		remote_error(d, t);
	for (size_t i = 0; i < ARRAY_LEN(remote_members); i++)
		if (strcmp(remote_members[i].path, d->path) == 0 && !remote_member(d, &remote_members[i], t))
			return JSON_STOP;
	return JSON_WANT;
}

/* Whose name goes with which item: of one document only, where it follows what refers to it. */
static void
remote_item_end(struct remote_doc *d, const struct json_token *t)
{
	if (remote_is_item(d, t, "included") && strcmp(d->included.id, d->item.holder) == 0)
		span_text(d->item.holder_name, sizeof(d->item.holder_name), span_str(d->included.name));
	if (!remote_is_item(d, t, "data"))
		return;
	d->items++;
	if (d->each != NULL)
		d->each(d->arg, &d->item);
}

static enum json_want
remote_doc_event(void *arg, const struct json_token *t)
{
	struct remote_doc *d = arg;
	bool               in = t->depth + 1 < ARRAY_LEN(d->ends);

	switch (t->event) {
	case JSON_EV_KEY:
		return remote_key(d, t) ? JSON_WANT : JSON_SKIP_TEXT;
	case JSON_EV_OBJECT:
	case JSON_EV_ARRAY:
		if (!in)
			return JSON_SKIP_TEXT;
		d->path[d->ends[t->depth]] = '\0';
		d->ends[t->depth + 1] = d->ends[t->depth];
		d->list |= t->event == JSON_EV_ARRAY && t->depth == 1 && strcmp(d->path, "data") == 0;
		if (t->event == JSON_EV_OBJECT && remote_is_item(d, t, "data"))
			memset(&d->item, 0, sizeof(d->item));
		if (t->event == JSON_EV_OBJECT && remote_is_item(d, t, "included"))
			memset(&d->included, 0, sizeof(d->included));
		return t->event == JSON_EV_OBJECT ? remote_value(d, t) : JSON_WANT;
	case JSON_EV_OBJECT_END:
	case JSON_EV_ARRAY_END:
		d->path[d->ends[t->depth]] = '\0';
		if (t->event == JSON_EV_OBJECT_END)
			remote_item_end(d, t);
		return JSON_WANT;
	default:
		if (in)
			d->path[d->ends[t->depth]] = '\0';
		return in ? remote_value(d, t) : JSON_WANT;
	}
}

void
remote_doc_free(struct remote_doc *d)
{
	json_reader_free(d->json);
	mem_wipe(d, sizeof(*d));
}

void
remote_doc_begin(struct remote_doc *d)
{
	void (*each)(void *arg, const struct remote_item *i) = d->each;
	void  *to = d->arg;

	remote_doc_free(d);
	d->each = each;
	d->arg = to;
	d->json = json_reader_new(remote_doc_event, d);
}

enum err_code
remote_doc_feed(struct remote_doc *d, const void *p, size_t n, struct err *reterr)
{
	struct err e;

	if (json_feed(d->json, p, n, &e) == ERR_OK)
		return ERR_OK;
	if (d->broken.code == ERR_OK)
		err_set(&d->broken, ERR_UNSUPPORTED, 0, "the answer is none of this API: %s", e.msg);
	err_hint(&d->broken, REMOTE_OTHER_HINT);
	if (reterr != NULL)
		*reterr = d->broken;
	return d->broken.code;
}

bool
remote_doc_end(struct remote_doc *d)
{
	return json_end(d->json, NULL) == ERR_OK;
}
