/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "s3.h"

/*
 * The versions that a bucket keeps of one object. The listing is by prefix: the object's own key comes first of all that begin with it, and
 * behind it follow its lock and other names, which end it.
 */
struct s3_history {
	struct op        op;
	struct s3_pages *pages;
	char            *key;
	version_seen_fn *seen;
	void            *arg;
};

enum s3_history_state { HISTORY_READ, HISTORY_PAGE };

static const char *const s3_history_states[] = { "read", "page" };

static void
s3_history_free(struct op *op)
{
	struct s3_history *h = container_of(op, struct s3_history, op);

	s3_pages_free(h->pages);
	free(h->key);
	free(h);
}

/* false: nothing that comes later is of interest. */
static bool
s3_history_page(struct s3_history *h)
{
	struct s3_entry e;

	while (s3_pages_next(h->pages, &e)) {
		if (e.broken || strcmp(e.key, h->key) != 0)
			return false;
		if (!h->seen(h->arg, &(struct version_seen){ .id = e.version, .etag = e.etag, .size = e.size, .modified = e.modified,
		        .latest = e.latest, .deleted = e.deleted }))
			return false;
	}
	return true;
}

static enum op_turn
s3_history_step(struct op *op)
{
	struct s3_history *h = container_of(op, struct s3_history, op);

	switch ((enum s3_history_state)op->state) {
	case HISTORY_READ:
		return op_await(op, HISTORY_PAGE, s3_pages_read(h->pages));
	case HISTORY_PAGE:
		if (op_failed(op) || s3_pages_check(h->pages, &op->res) != ERR_OK)
			return op_fail(op);
		return s3_history_page(h) && s3_pages_more(h->pages) ? op_go(op, HISTORY_READ) : op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class s3_history_class = { "s3 versions", s3_history_step, NULL, s3_history_free, s3_history_states,
	ARRAY_LEN(s3_history_states) };

struct op *
s3_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct s3_history *h = xcalloc(1, sizeof(*h));

	op_init(&h->op, &s3_history_class, b->env->loop);
	h->key = s3_key_of(s3_of(b), ref->name);
	h->pages = s3_pages_new_versions(s3_of(b), h->key, S3_PAGE_KEYS);
	h->seen = seen;
	h->arg = arg;
	return &h->op;
}
