/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "provider/list_page.h"
#include "s3.h"

/* Listing by ListObjectsV2, and which of the objects are states. */
#define S3_PAGE_BODY_MAX ((uint64_t)16 << 20)
#define S3_TOKEN_MAX     2048
#define S3_SEEN_CHUNK    500    /* names handed out in one turn of the loop */

/* ---------------------------------------------------------------- pages */

struct s3_pages {
	struct s3          *s;
	char               *prefix;
	unsigned            max_keys;
	struct send_request req;
	struct send_answer  ans;
	struct list_page     page;
	struct buf          decoded;
	bool                truncated, url_encoded;
	bool                versions;
	char                token[S3_TOKEN_MAX];    /* where the next page begins; of versions: its key */
	char                version[S3_TOKEN_MAX];  /* of versions */
};

static xml_fn s3_page_element;

struct s3_pages *
s3_pages_new(struct s3 *s, const char *prefix, unsigned max_keys)
{
	struct s3_pages *p = xcalloc(1, sizeof(*p));

	p->s = s;
	p->prefix = xstrdup(prefix);
	p->max_keys = max_keys;
	list_page_init(&p->page, s3_page_element, p, S3_OTHER_HINT);
	buf_init(&p->decoded, LIST_PAGE_TEXT_MAX);
	return p;
}

struct s3_pages *
s3_pages_new_versions(struct s3 *s, const char *prefix, unsigned max_keys)
{
	struct s3_pages *p = s3_pages_new(s, prefix, max_keys);

	p->versions = true;
	return p;
}

void
s3_pages_free(struct s3_pages *p)
{
	if (p == NULL)
		return;
	send_request_free(&p->req);
	send_answer_free(&p->ans);
	list_page_free(&p->page);
	buf_free(&p->decoded);
	free(p->prefix);
	free(p);
}

static uint64_t
s3_page_number(struct span text)
{
	uint64_t n = 0;

	for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9' && n < UINT64_MAX / 10 - 9; i++)
		n = n * 10 + (uint64_t)(text.p[i] - '0');
	return n;
}

static enum err_code
s3_page_contents(struct list_page *p, const char *name, struct span text, struct err *reterr)
{
	char time[TIME_TEXT_MAX];

	if (strcmp(name, "Key") == 0) {
		p->cur.name_len = text.n;
		return list_page_text(p, text, &p->cur.name, reterr);
	}
	if (strcmp(name, "ETag") == 0)
		return list_page_text(p, text, &p->cur.etag, reterr);
	if (strcmp(name, "VersionId") == 0)
		return list_page_text(p, text, &p->cur.version, reterr);
	if (strcmp(name, "IsLatest") == 0)
		p->cur.latest = span_is(text, "true");
	if (strcmp(name, "Size") == 0) {
		p->cur.size = s3_page_number(text);
	} else if (strcmp(name, "LastModified") == 0 && text.n < sizeof(time)) {
		memcpy(time, text.p, text.n);
		time[text.n] = '\0';
		if (!time_parse(time, &p->cur.modified))
			p->cur.modified = 0;
	}
	return ERR_OK;
}

static void
s3_page_marker(char ret[S3_TOKEN_MAX], struct span text)
{
	if (text.n >= S3_TOKEN_MAX)
		return;
	memcpy(ret, text.p, text.n);
	ret[text.n] = '\0';
}

/* What an entry is called, by kind of listing. */
static const char *const s3_page_entries[] = { "Contents", "Version", "DeleteMarker", NULL };

static enum err_code
s3_page_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct s3_pages *p = arg;
	const char      *name = strchr(path, '/');

	if (name == NULL) { /* the end of the root; of versions not every store calls it by its name */
		p->page.listing = strcmp(path, "ListBucketResult") == 0 || (p->versions && strcmp(path, "ListVersionsResult") == 0);
		return ERR_OK;
	}
	name++;
	for (const char *const *e = s3_page_entries; *e != NULL; e++) {
		size_t n = strlen(*e);

		if (strncmp(name, *e, n) != 0)
			continue;
		if (name[n] == '/')
			return s3_page_contents(&p->page, name + n + 1, text, reterr);
		if (name[n] != '\0')
			continue;
		p->page.cur.deleted = **e == 'D';
		return list_page_push(&p->page, reterr);
	}
	if (strcmp(name, "IsTruncated") == 0)
		p->truncated = span_is(text, "true");
	else if (strcmp(name, "EncodingType") == 0)
		p->url_encoded = span_is(text, "url");
	else if (strcmp(name, p->versions ? "NextKeyMarker" : "NextContinuationToken") == 0)
		s3_page_marker(p->token, text);
	else if (strcmp(name, "NextVersionIdMarker") == 0)
		s3_page_marker(p->version, text);
	return ERR_OK;
}

static enum err_code
s3_page_feed(void *arg, const void *data, size_t n, struct err *reterr)
{
	struct s3_pages *p = arg;

	return list_page_feed(&p->page, data, n, reterr);
}

static void
s3_page_restart(void *arg)
{
	struct s3_pages *p = arg;

	list_page_begin(&p->page);
	p->truncated = p->url_encoded = false;
	p->token[0] = p->version[0] = '\0';
}

static void
s3_pages_query(struct s3_pages *p, struct buf *query)
{
	struct buf key;

	if (!p->versions) {
		if (p->token[0] != '\0')
			url_query_add(query, "continuation-token", p->token);
		url_query_add(query, "encoding-type", "url");
		url_query_add(query, "list-type", "2");
		return;
	}
	url_query_add(query, "encoding-type", "url");
	if (p->token[0] == '\0')
		return;
	buf_init(&key, 0);
	if (!p->url_encoded || !url_unescape(span_str(p->token), true, &key)) {
		buf_reset(&key);
		buf_puts(&key, p->token);
	}
	url_query_add(query, "key-marker", buf_str(&key));
	buf_free(&key);
}

struct op *
s3_pages_read(struct s3_pages *p)
{
	struct buf query;
	char       max_keys[16];

	snprintf(max_keys, sizeof(max_keys), "%u", p->max_keys);
	buf_init(&query, 0);
	s3_pages_query(p, &query);
	url_query_add(&query, "max-keys", max_keys);
	url_query_add(&query, "prefix", p->prefix);
	if (p->versions && p->version[0] != '\0')
		url_query_add(&query, "version-id-marker", p->version);
	if (p->versions)
		url_query_add(&query, "versions", "");
	send_request_free(&p->req);
	p->req = (struct send_request){ .method = "GET", .query = buf_take(&query), .max_body = S3_PAGE_BODY_MAX,
		.on_body = s3_page_feed, .restart = s3_page_restart, .arg = p };
	return s3_send(p->s, &p->req, &p->ans);
}

enum err_code
s3_pages_check(struct s3_pages *p, struct err *reterr)
{
	const char *bucket = p->s->conf->bucket;
	char       *marker;

	err_clear(reterr);
	if (p->ans.http.status != 200)
		return s3_refused(p->s, &p->req, &p->ans, p->versions ? "listing versions" : "listing", reterr);
	if (!list_page_end(&p->page)) {
		err_set(reterr, ERR_UNSUPPORTED, 200, "bucket %s: the answer to a listing is none", bucket);
		return err_hint(reterr, S3_OTHER_HINT);
	}
	if (!p->truncated)
		return ERR_OK;
	if (p->token[0] == '\0')
		return err_set(reterr, ERR_CORRUPT, 200, "bucket %s: the listing breaks off after %zu objects of a page", bucket,
		    p->page.nentries);
	if (!p->versions)
		return list_page_go_on(&p->page, "bucket", bucket, p->token, reterr);
	marker = xasprintf("%s %s", p->version, p->token);
	list_page_go_on(&p->page, "bucket", bucket, marker, reterr);
	free(marker);
	return reterr->code;
}

/* By "+" and %XX only where the answer says so: stores that do not know encoding-type list keys as they are. */
bool
s3_pages_next(struct s3_pages *p, struct s3_entry *ret)
{
	const struct list_page_entry *e = list_page_next(&p->page);
	struct span                  raw;

	if (e == NULL)
		return false;
	raw = span_of(list_page_str(&p->page, e->name), e->name_len);
	*ret = (struct s3_entry){ .key = list_page_str(&p->page, e->name), .size = e->size, .modified = e->modified,
		.version = list_page_str(&p->page, e->version), .latest = e->latest, .deleted = e->deleted };
	s3_etag(list_page_str(&p->page, e->etag), ret->etag);
	ret->broken = memchr(raw.p, '\0', raw.n) != NULL;
	if (!p->url_encoded || ret->broken)
		return true;
	buf_reset(&p->decoded);
	if (url_unescape(raw, true, &p->decoded) && memchr(buf_str(&p->decoded), '\0', p->decoded.len) == NULL)
		ret->key = buf_str(&p->decoded);
	else
		ret->broken = true;
	return true;
}

bool
s3_pages_more(const struct s3_pages *p)
{
	return p->truncated;
}

const struct send_answer *
s3_pages_answer(const struct s3_pages *p)
{
	return &p->ans;
}

/* ---------------------------------------------------------------- states that wait for news of their lock */

/* "k.tfstate.tflock" follows "k.tfstate", but not at once: a state is handed out when the listing has passed its lock. */
struct s3_pending {
	struct s3_pending *next;
	struct s3_entry    entry;
	bool               locked;
	size_t             room;
	char               key[]; /* entry's */
};

struct s3_list {
	struct op          op;
	struct s3         *s;
	struct s3_pages   *pages;
	struct s3_pending *pending, **pending_end; /* oldest first */
	struct s3_pending *spare;        /* was handed out last */
	bool               workspaces;   /* key: this is the listing of those other than default */
	struct state_tag   tag, lock_tag;
	state_seen_fn     *seen;
	void              *arg;
};

/* The name of its lock beside key, as strcmp() has it. */
static int
s3_pending_compare(const struct s3_pending *e, const char *key)
{
	size_t n = strlen(e->key);
	int    c = strncmp(e->key, key, n);

	return c != 0 ? c : strcmp(S3_LOCK_SUFFIX, key + n);
}

static void
s3_list_flush(struct s3_list *l, const char *until)
{
	struct s3_pending *e;

	while ((e = l->pending) != NULL && (until == NULL || s3_pending_compare(e, until) < 0)) {
		l->pending = e->next;
		if (l->pending == NULL)
			l->pending_end = &l->pending;
		l->seen(l->arg, &(struct state_seen){ .name = e->key + strlen(l->s->b.common.prefix), .etag = e->entry.etag,
		    .size = e->entry.size, .modified = e->entry.modified, .locked = e->locked,
		    .problem = e->entry.broken ? "its name cannot be decoded" : NULL });
		free(l->spare);
		l->spare = e;
	}
}

static void
s3_list_hold(struct s3_list *l, const struct s3_entry *entry)
{
	size_t             n = strlen(entry->key) + 1;
	struct s3_pending *e = l->spare;

	l->spare = NULL;
	if (e == NULL || e->room < n) {
		free(e);
		e = xmalloc(sizeof(*e) + n);
		e->room = n;
	}
	e->next = NULL;
	e->locked = false;
	memcpy(e->key, entry->key, n);
	e->entry = *entry;
	e->entry.key = e->key;
	*l->pending_end = e;
	l->pending_end = &e->next;
}

static void
s3_list_entry(struct s3_list *l, const struct s3_entry *entry)
{
	const struct s3 *s = l->s;
	const char      *prefix = s->b.common.prefix;

	s3_list_flush(l, entry->key);
	for (struct s3_pending *e = l->pending; e != NULL; e = e->next)
		e->locked |= s3_pending_compare(e, entry->key) == 0;
	if (strncmp(entry->key, prefix, strlen(prefix)) != 0 || entry->key[strlen(prefix)] == '\0' ||
	    !s3_key_is_state(s, entry->key))
		return;
	if (l->workspaces && s->conf->workspace_key_prefix[0] != '\0' && strcmp(entry->key, s->conf->key) == 0)
		return; /* its own listing has shown it */
	s3_list_hold(l, entry);
}

/* ---------------------------------------------------------------- the operation */

enum s3_list_state { LIST_READ, LIST_PAGE, LIST_HAND_OUT, LIST_NEXT, LIST_HEAD, LIST_LOCK };

static const char *const s3_list_states[] = { "read", "page", "hand out", "next", "head", "lock" };

static bool
s3_list_is_key(const struct s3_list *l)
{
	return l->s->conf->key != NULL && l->s->conf->key[0] != '\0';
}

/* With key: its own object and lock first, then its workspaces. */
static struct s3_pages *
s3_list_pages(struct s3_list *l)
{
	const struct s3_conf *c = l->s->conf;
	char                 *prefix;
	struct s3_pages      *p;

	if (!s3_list_is_key(l))
		return s3_pages_new(l->s, l->s->b.common.prefix, S3_PAGE_KEYS);
	l->workspaces = l->workspaces || c->workspace_key_prefix[0] == '\0'; /* then one listing shows both */
	if (!l->workspaces)
		return s3_pages_new(l->s, c->key, S3_PAGE_KEYS);
	prefix = xasprintf("%s%s", c->workspace_key_prefix, c->workspace_key_prefix[0] != '\0' ? "/" : "");
	p = s3_pages_new(l->s, prefix, S3_PAGE_KEYS);
	free(prefix);
	return p;
}

/* Who may not list may still read one key; and no list of workspaces means "default only", as terraform has it. */
static enum op_turn
s3_list_refused(struct s3_list *l)
{
	struct op *op = &l->op;
	bool       denied = s3_answer_is(s3_pages_answer(l->pages), 403, "AccessDenied");

	if (denied && s3_list_is_key(l) && !l->workspaces)
		return op_await(op, LIST_HEAD, s3_head(&l->s->b, &(struct state_ref){ l->s->conf->key }, &l->tag));
	if (denied && l->workspaces && strcmp(l->s->conf->workspace_key_prefix, "env:") == 0) {
		log_at(LOG_DEBUG, l->s->b.label, "workspaces may not be listed: only \"default\" is seen");
		return op_ok(op);
	}
	return op_fail(op);
}

/* false: there is more to do in another turn. */
static bool
s3_list_hand_out(struct s3_list *l)
{
	struct s3_entry e;

	for (int n = 0; n < S3_SEEN_CHUNK; n++) {
		if (!s3_pages_next(l->pages, &e))
			return true;
		s3_list_entry(l, &e);
	}
	return false;
}

static void
s3_list_headed(struct s3_list *l)
{
	l->seen(l->arg, &(struct state_seen){ .name = l->s->conf->key, .etag = l->tag.etag, .size = l->tag.size,
	    .modified = l->tag.modified, .locked = l->op.res.code == ERR_OK });
}

static enum op_turn
s3_list_step(struct op *op)
{
	struct s3_list *l = container_of(op, struct s3_list, op);
	char           *lock;
	enum op_turn    turn;

	switch ((enum s3_list_state)op->state) {
	case LIST_READ:
		if (op_failed(op))
			return op_fail(op);
		if (l->pages == NULL)
			l->pages = s3_list_pages(l);
		return op_await(op, LIST_PAGE, s3_pages_read(l->pages));
	case LIST_PAGE:
		if (op_failed(op))
			return op_fail(op);
		if (s3_pages_check(l->pages, &op->res) != ERR_OK)
			return s3_list_refused(l);
		__attribute__((fallthrough));
	case LIST_HAND_OUT:
		if (op_failed(op))
			return op_fail(op);
		if (!s3_list_hand_out(l))
			return op_await(op, LIST_HAND_OUT, op_sleep(op->loop, 0));
		if (s3_pages_more(l->pages))
			return op_go(op, LIST_READ);
		__attribute__((fallthrough));
	case LIST_NEXT:
		s3_list_flush(l, NULL);
		s3_pages_free(l->pages);
		l->pages = NULL;
		if (!s3_list_is_key(l) || l->workspaces)
			return op_ok(op);
		l->workspaces = true;
		return op_go(op, LIST_READ);
	case LIST_HEAD:
		if (op->res.code == ERR_NOT_FOUND) {
			err_clear(&op->res);
			return op_go(op, LIST_NEXT);
		}
		if (op_failed(op))
			return op_fail(op);
		lock = xasprintf("%s%s", l->s->conf->key, S3_LOCK_SUFFIX);
		turn = op_await(op, LIST_LOCK, s3_head(&l->s->b, &(struct state_ref){ lock }, &l->lock_tag));
		free(lock);
		return turn;
	case LIST_LOCK: /* also who may not see the lock may see the state */
		if (op->res.code == ERR_CANCELLED)
			return op_fail(op);
		s3_list_headed(l);
		err_clear(&op->res);
		return op_go(op, LIST_NEXT);
	}
	return OP_DONE;
}

static void
s3_list_free(struct op *op)
{
	struct s3_list    *l = container_of(op, struct s3_list, op);
	struct s3_pending *e;

	while ((e = l->pending) != NULL) {
		l->pending = e->next;
		free(e);
	}
	free(l->spare);
	s3_pages_free(l->pages);
	free(l);
}

static const struct op_class s3_list_class = { "s3 list", s3_list_step, NULL, s3_list_free, s3_list_states,
	ARRAY_LEN(s3_list_states) };

struct op *
s3_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct s3_list *l = xcalloc(1, sizeof(*l));

	l->s = s3_of(b);
	l->pending_end = &l->pending;
	op_init(&l->op, &s3_list_class, l->s->env->loop);
	l->seen = seen;
	l->arg = arg;
	return &l->op;
}
