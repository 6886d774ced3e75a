/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "azurerm.h"
#include "provider/list_page.h"

/*
 * Listings, page by page, and which of the blobs are states. A page is parsed as it arrives; what it shows is handed out once it is
 * whole, for a page that breaks off is asked for again. A blob of zero bytes is terraform's place holder for a lock, and no state.
 */
#define AZURERM_PAGE_BODY_MAX ((uint64_t)32 << 20)
#define AZURERM_PAGE_BLOBS    5000   /* what Azure gives at most */
#define AZURERM_MARKER_MAX    3000
#define AZURERM_SEEN_CHUNK    500    /* names handed out in one turn of the loop */

struct azurerm_pages {
	struct azurerm     *z;
	char               *prefix;
	unsigned            max;
	struct send_request req;
	struct send_answer  ans;
	struct list_page     page;
	bool                versions;
	char                marker[AZURERM_MARKER_MAX]; /* of the next one; "": this is the last */
};

static xml_fn azurerm_page_element;

struct azurerm_pages *
azurerm_pages_new(struct azurerm *z, const char *prefix, unsigned max)
{
	struct azurerm_pages *p = xcalloc(1, sizeof(*p));

	p->z = z;
	p->prefix = xstrdup(prefix);
	p->max = max;
	list_page_init(&p->page, azurerm_page_element, p, AZURERM_OTHER_HINT);
	return p;
}

void
azurerm_pages_free(struct azurerm_pages *p)
{
	if (p == NULL)
		return;
	send_request_free(&p->req);
	send_answer_free(&p->ans);
	list_page_free(&p->page);
	free(p->prefix);
	free(p);
}

void
azurerm_pages_versions(struct azurerm_pages *p)
{
	p->versions = true;
}

/* ---------------------------------------------------------------- a page */

static enum err_code
azurerm_page_blob(struct list_page *p, const char *name, struct span text, struct err *reterr)
{
	char word[TIME_TEXT_MAX];

	if (strcmp(name, "Name") == 0) {
		p->cur.name_len = text.n;
		return list_page_text(p, text, &p->cur.name, reterr);
	}
	if (strcmp(name, "VersionId") == 0)
		return list_page_text(p, text, &p->cur.version, reterr);
	if (strcmp(name, "Properties/Etag") == 0)
		return list_page_text(p, text, &p->cur.etag, reterr);
	if (strcmp(name, "Properties/Content-MD5") == 0)
		return list_page_text(p, text, &p->cur.md5, reterr);
	span_text(word, sizeof(word), text);
	if (strcmp(name, "Properties/Content-Length") == 0)
		p->cur.size = strtoull(word, NULL, 10);
	else if (strcmp(name, "IsCurrentVersion") == 0)
		p->cur.latest = strcmp(word, "true") == 0;
	else if (strcmp(name, "Properties/LeaseStatus") == 0)
		p->cur.leased = strcmp(word, "locked") == 0;
	else if (strcmp(name, "Properties/Last-Modified") == 0 && !time_parse_http(word, &p->cur.modified))
		p->cur.modified = 0;
	return ERR_OK;
}

static enum err_code
azurerm_page_marker(struct azurerm_pages *p, struct span text, struct err *reterr)
{
	if (text.n >= sizeof(p->marker))
		return err_set(reterr, ERR_UNSUPPORTED, 0, "the marker of the listing's next page is longer than %d bytes", AZURERM_MARKER_MAX - 1);
	span_text(p->marker, sizeof(p->marker), text);
	return ERR_OK;
}

static enum err_code
azurerm_page_element(void *arg, const char *path, struct span text, struct err *reterr)
{
	static const char     blob[] = "EnumerationResults/Blobs/Blob";
	struct azurerm_pages *p = arg;
	size_t                n = sizeof(blob) - 1;

	if (strncmp(path, blob, n) == 0 && path[n] == '/' && text.p != NULL)
		return azurerm_page_blob(&p->page, path + n + 1, text, reterr);
	if (strcmp(path, blob) == 0)
		return list_page_push(&p->page, reterr);
	if (strcmp(path, "EnumerationResults/NextMarker") == 0)
		return azurerm_page_marker(p, text, reterr);
	p->page.listing |= strcmp(path, "EnumerationResults") == 0;
	return ERR_OK;
}

static enum err_code
azurerm_page_feed(void *arg, const void *data, size_t n, struct err *reterr)
{
	struct azurerm_pages *p = arg;

	return list_page_feed(&p->page, data, n, reterr);
}

static void
azurerm_page_restart(void *arg)
{
	struct azurerm_pages *p = arg;

	list_page_begin(&p->page);
	p->marker[0] = '\0';
}

struct op *
azurerm_pages_read(struct azurerm_pages *p)
{
	char max[16];

	snprintf(max, sizeof(max), "%u", p->max);
	azurerm_to_container(p->z, &p->req, "GET");
	send_query(&p->req, "comp", "list");
	if (p->versions)
		send_query(&p->req, "include", "versions");
	send_query(&p->req, "maxresults", max);
	if (p->prefix[0] != '\0')
		send_query(&p->req, "prefix", p->prefix);
	if (p->marker[0] != '\0')
		send_query(&p->req, "marker", p->marker);
	p->req.max_body = AZURERM_PAGE_BODY_MAX;
	p->req.on_body = azurerm_page_feed;
	p->req.restart = azurerm_page_restart;
	p->req.arg = p;
	return azurerm_send(p->z, &p->req, &p->ans);
}

enum err_code
azurerm_pages_check(struct azurerm_pages *p, struct err *reterr)
{
	const char *container = p->z->conf->container_name;

	if (p->ans.http.status != 200)
		return azurerm_refused(p->z, &p->ans, p->versions ? "listing versions" : "listing", reterr);
	if (!list_page_end(&p->page)) {
		err_set(reterr, ERR_UNSUPPORTED, 200, "container %s: the answer to a listing is none", container);
		return err_hint(reterr, AZURERM_OTHER_HINT);
	}
	if (p->marker[0] == '\0')
		return ERR_OK;
	return list_page_go_on(&p->page, "container", container, p->marker, reterr);
}

bool
azurerm_pages_next(struct azurerm_pages *p, struct azurerm_entry *ret)
{
	const struct list_page_entry *e = list_page_next(&p->page);
	char                         etag[ETAG_MAX];

	if (e == NULL)
		return false;
	*ret = (struct azurerm_entry){ .blob = list_page_str(&p->page, e->name), .size = e->size, .modified = e->modified, .leased = e->leased,
		.version = list_page_str(&p->page, e->version), .latest = e->latest };
	azurerm_etag(list_page_str(&p->page, e->etag), etag);
	azurerm_tag(list_page_str(&p->page, e->md5), etag, ret->tag);
	return true;
}

bool
azurerm_pages_more(const struct azurerm_pages *p)
{
	return p->marker[0] != '\0';
}

const struct send_answer *
azurerm_pages_answer(const struct azurerm_pages *p)
{
	return &p->ans;
}

/* ---------------------------------------------------------------- the operation */

struct azurerm_list {
	struct op             op;
	struct azurerm       *z;
	struct azurerm_pages *pages;
	state_seen_fn        *seen;
	void                 *arg;
};

enum azurerm_list_state { LIST_READ, LIST_PAGE, LIST_HAND_OUT };

static const char *const azurerm_list_states[] = { "read", "page", "hand out" };

static void
azurerm_list_free(struct op *op)
{
	struct azurerm_list *l = container_of(op, struct azurerm_list, op);

	azurerm_pages_free(l->pages);
	free(l);
}

static void
azurerm_list_entry(struct azurerm_list *l, const struct azurerm_entry *e)
{
	size_t n = strlen(l->z->b.common.prefix);

	if (e->size == 0 || strncmp(e->blob, l->z->b.common.prefix, n) != 0 || !azurerm_is_state(l->z, e->blob + n))
		return;
	l->seen(l->arg, &(struct state_seen){ .name = e->blob + n, .etag = e->tag, .size = e->size, .modified = e->modified,
	    .locked = e->leased, .problem = e->tag[0] == '\0' ? "the listing shows no ETag of it" : NULL });
}

/* false: there is more to do in another turn. */
static bool
azurerm_list_hand_out(struct azurerm_list *l)
{
	struct azurerm_entry e;

	for (int n = 0; n < AZURERM_SEEN_CHUNK; n++) {
		if (!azurerm_pages_next(l->pages, &e))
			return true;
		azurerm_list_entry(l, &e);
	}
	return false;
}

static enum op_turn
azurerm_list_step(struct op *op)
{
	struct azurerm_list *l = container_of(op, struct azurerm_list, op);

	switch ((enum azurerm_list_state)op->state) {
	case LIST_READ:
		return op_await(op, LIST_PAGE, azurerm_pages_read(l->pages));
	case LIST_PAGE:
		if (op_failed(op) || azurerm_pages_check(l->pages, &op->res) != ERR_OK)
			return op_fail(op);
		__attribute__((fallthrough));
	case LIST_HAND_OUT:
		if (op_failed(op))
			return op_fail(op);
		if (!azurerm_list_hand_out(l))
			return op_await(op, LIST_HAND_OUT, op_sleep(op->loop, 0));
		return azurerm_pages_more(l->pages) ? op_go(op, LIST_READ) : op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_list_class = { "azurerm list", azurerm_list_step, NULL, azurerm_list_free, azurerm_list_states,
	ARRAY_LEN(azurerm_list_states) };

/* A key and its workspaces begin alike. */
struct op *
azurerm_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct azurerm_list *l = xcalloc(1, sizeof(*l));

	l->z = azurerm_of(b);
	op_init(&l->op, &azurerm_list_class, l->z->env->loop);
	l->pages = azurerm_pages_new(l->z, l->z->key != NULL ? l->z->key : b->common.prefix, AZURERM_PAGE_BLOBS);
	l->seen = seen;
	l->arg = arg;
	return &l->op;
}
