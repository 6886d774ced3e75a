/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "core.h"

/*
 * Which instances were added, removed or changed between two states, and whether the two mean the same. An instance is
 * known by a 64-bit hash of its address and deposed key, so that a state of 100,000 instances costs megabytes, not gigabytes.
 */
struct mark {
	uint64_t id, value;
};

struct marks {
	struct mark *v;
	size_t       n, cap;
};

/* FNV-1a: only ever compared within one pair of states. */
static uint64_t
mark_hash(uint64_t h, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ s.p[i]) * UINT64_C(1099511628211);
	return (h ^ 0xff) * UINT64_C(1099511628211); /* "ab" + "c" is not "a" + "bc" */
}

static void
mark_add(void *arg, const struct state_object *o)
{
	struct marks *m = arg;

	if (m->n == m->cap) {
		m->cap = m->cap == 0 ? 64 : 2 * m->cap;
		m->v = xreallocarray(m->v, m->cap, sizeof(*m->v));
	}
	m->v[m->n].id = mark_hash(mark_hash(UINT64_C(14695981039346656037), o->address), o->deposed);
	m->v[m->n].value = o->fingerprint;
	m->n++;
}

static int
mark_cmp(const void *a, const void *b)
{
	const struct mark *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

#define MEANING_PIECE ((size_t)64 << 10)

static enum err_code
meaning_scan(const struct body *b, struct marks *ret, struct err *reterr)
{
	struct state_scan *s = state_scan_new(mark_add, ret);
	struct state_info  info;
	uint8_t           *piece = xmalloc(MEANING_PIECE);
	uint64_t           off = 0;
	size_t             n = 0;
	enum err_code      rc;

	while ((rc = body_read(b, off, piece, MEANING_PIECE, &n, reterr)) == ERR_OK && n > 0) {
		state_scan_feed(s, piece, n);
		off += n;
	}
	if (rc == ERR_OK)
		state_scan_end(s, &info);
	state_scan_free(s);
	mem_wipe(piece, MEANING_PIECE);
	free(piece);
	if (ret->n > 0)
		qsort(ret->v, ret->n, sizeof(*ret->v), mark_cmp);
	return rc;
}

static void
meaning_merge(const struct marks *a, const struct marks *b, struct meaning *ret)
{
	size_t i = 0, j = 0;

	ret->added = ret->changed = ret->removed = 0;
	while (i < a->n || j < b->n) {
		if (j == b->n || (i < a->n && a->v[i].id < b->v[j].id)) {
			ret->removed++;
			i++;
		} else if (i == a->n || b->v[j].id < a->v[i].id) {
			ret->added++;
			j++;
		} else {
			ret->changed += a->v[i].value != b->v[j].value;
			i++;
			j++;
		}
	}
}

static enum err_code
meaning_counts(struct meaning *m, struct err *reterr)
{
	struct marks  a = { 0 }, b = { 0 };
	enum err_code rc = meaning_scan(m->a, &a, reterr);

	if (rc == ERR_OK)
		rc = meaning_scan(m->b, &b, reterr);
	if (rc == ERR_OK)
		meaning_merge(&a, &b, m);
	free(a.v);
	free(b.v);
	return rc;
}

/* Two bodies in files are too large to be held as trees: their meaning stays unknown, which is the careful answer. */
static void
meaning_semantic(struct meaning *m)
{
	struct digest a;
	struct err    e;

	if (!body_in_memory(m->a) || !body_in_memory(m->b))
		return;
	if (state_semantic_digest(body_span(m->b), &m->semantic_b, &e) != ERR_OK)
		memset(&m->semantic_b, 0, sizeof(m->semantic_b));
	else if (state_semantic_digest(body_span(m->a), &a, &e) == ERR_OK)
		m->same = digest_eq(&a, &m->semantic_b);
}

static enum err_code
meaning_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct meaning *m = arg;

	(void)job;
	if (m->want_semantic)
		meaning_semantic(m);
	return m->want_counts ? meaning_counts(m, reterr) : ERR_OK;
}

struct op *
meaning_run(struct work *w, struct meaning *m)
{
	m->added = m->changed = m->removed = -1;
	return work_by_size(w, body_size(m->a) + body_size(m->b), meaning_job, m);
}
