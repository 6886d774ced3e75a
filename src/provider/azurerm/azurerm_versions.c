/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "azurerm.h"
#include "base/time.h"

/*
 * The versions that an account keeps of one blob. Each change of its metadata makes one as well, so of one run of terraform there are three
 * or more with two different contents; the tag, their MD5, tells them apart. The listing goes from the oldest to the newest.
 */
#define AZURERM_VERSION_MAX 48   /* "2026-11-23T12:00:00.1234567Z" */
#define AZURERM_PAGE_BLOBS  5000

struct azurerm_version {
	char     id[AZURERM_VERSION_MAX], tag[ETAG_MAX];
	uint64_t size;
	bool     latest;
};

struct azurerm_history {
	struct op               op;
	struct azurerm_pages   *pages;
	char                   *blob;
	struct azurerm_version *all;
	size_t                  n;
	version_seen_fn        *seen;
	void                   *arg;
};

enum azurerm_history_state { HISTORY_READ, HISTORY_PAGE };

static const char *const azurerm_history_states[] = { "read", "page" };

static void
azurerm_history_free(struct op *op)
{
	struct azurerm_history *h = container_of(op, struct azurerm_history, op);

	azurerm_pages_free(h->pages);
	free(h->blob);
	free(h->all);
	free(h);
}

/* Its own name comes first of all that begin with it. false: it has passed. */
static bool
azurerm_history_page(struct azurerm_history *h)
{
	struct azurerm_entry e;

	while (azurerm_pages_next(h->pages, &e)) {
		struct azurerm_version *v;

		if (strcmp(e.blob, h->blob) != 0)
			return false;
		if (e.version[0] == '\0' || strlen(e.version) >= AZURERM_VERSION_MAX)
			continue;
		if ((h->n & (h->n - 1)) == 0)
			h->all = xreallocarray(h->all, h->n > 0 ? 2 * h->n : 1, sizeof(*h->all));
		v = &h->all[h->n++];
		snprintf(v->id, sizeof(v->id), "%s", e.version);
		memcpy(v->tag, e.tag, sizeof(v->tag));
		v->size = e.size;
		v->latest = e.latest;
	}
	return true;
}

static int
azurerm_version_compare(const void *a, const void *b)
{
	return strcmp(((const struct azurerm_version *)a)->id, ((const struct azurerm_version *)b)->id);
}

/* Its name is the time when it was made. One of zero bytes is the place holder of a lock. */
static void
azurerm_history_tell(struct azurerm_history *h)
{
	int64_t made;

	if (h->n > 0)
		qsort(h->all, h->n, sizeof(*h->all), azurerm_version_compare);
	for (size_t i = h->n; i-- > 0;) {
		const struct azurerm_version *v = &h->all[i];

		if (!time_parse(v->id, &made))
			made = 0;
		if (!h->seen(h->arg, &(struct version_seen){ .id = v->id, .etag = v->tag, .size = v->size, .modified = made, .latest = v->latest,
		        .deleted = v->size == 0 }))
			return;
	}
}

static enum op_turn
azurerm_history_step(struct op *op)
{
	struct azurerm_history *h = container_of(op, struct azurerm_history, op);

	switch ((enum azurerm_history_state)op->state) {
	case HISTORY_READ:
		return op_await(op, HISTORY_PAGE, azurerm_pages_read(h->pages));
	case HISTORY_PAGE:
		if (op_failed(op) || azurerm_pages_check(h->pages, &op->res) != ERR_OK)
			return op_fail(op);
		if (azurerm_history_page(h) && azurerm_pages_more(h->pages))
			return op_go(op, HISTORY_READ);
		azurerm_history_tell(h);
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_history_class = { "azurerm versions", azurerm_history_step, NULL, azurerm_history_free,
	azurerm_history_states, ARRAY_LEN(azurerm_history_states) };

struct op *
azurerm_history(struct backend *b, const struct state_ref *ref, version_seen_fn *seen, void *arg)
{
	struct azurerm_history *h = xcalloc(1, sizeof(*h));

	op_init(&h->op, &azurerm_history_class, b->env->loop);
	h->blob = azurerm_blob_of(azurerm_of(b), ref->name);
	h->pages = azurerm_pages_new(azurerm_of(b), h->blob, AZURERM_PAGE_BLOBS);
	azurerm_pages_versions(h->pages);
	h->seen = seen;
	h->arg = arg;
	return &h->op;
}
