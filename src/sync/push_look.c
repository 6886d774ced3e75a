/* SPDX-License-Identifier: MIT */
#include "push_impl.h"

/* What a target holds: read, and compared with what is to be written there. */

struct op *
push_look(struct push *p)
{
	struct state_ref ref = { p->name };

	snapshot_free(&p->cur);
	p->absent = p->unsealed = false;
	return provider_get(p->dst, &ref, NULL, &p->cur);
}

bool
push_knows_current(struct push *p, bool own)
{
	struct store_txn  *t;
	struct version_rec v;
	bool               known;

	if (store_read(p->e->store, &t, NULL) != ERR_OK)
		return false;
	known = store_version_find(t, p->state, &p->cur.digest, &v) && !v.dropped && !(own && version_is_evidence(&v));
	store_end(t);
	return known;
}

/* After a look: false when it failed; absent is an answer. So are bytes that contradict their sidecar when they are of this state's
 * own versions: a write of ours was cut off before it. Or one of an earlier holder of our lease, whose lock was still there. */
bool
push_seen(struct push *p)
{
	if (p->op.res.code == ERR_CORRUPT && p->cur.body != NULL &&
	    (p->inherited || digest_eq(&p->cur.digest, &p->next.digest) || push_knows_current(p, true))) {
		p->unsealed = true;
		err_clear(&p->op.res);
	}
	if (p->op.res.code == ERR_NOT_FOUND) {
		p->absent = true;
		err_clear(&p->op.res);
	}
	return p->op.res.code == ERR_OK;
}

bool
push_needs_meaning(struct push *p)
{
	p->meaning = (struct meaning){ .a = p->cur.body, .b = p->next.body, .want_semantic = true };
	return p->kind->needs_meaning != NULL && !p->absent && p->kind->needs_meaning(p);
}

/* The decision, from what was just read. false: nothing will be written; op->res is OK when that is fine. */
bool
push_may_write(struct push *p)
{
	if (p->op.cancelled && !p->op.shielded) {
		err_set(&p->op.res, ERR_CANCELLED, 0, "cancelled");
		return false;
	}
	if (p->kind->weigh(p, &p->op.res) != ERR_OK)
		return false;
	if (p->cmp.action == COMPARE_HOLD)
		err_set(&p->op.res, ERR_CONFLICT, 0, "%s", p->cmp.reason);
	return p->cmp.action == COMPARE_WRITE;
}

bool
push_can_count(struct push *p)
{
	p->meaning.want_semantic = false;
	p->meaning.want_counts = true;
	p->meaning.added = p->meaning.changed = p->meaning.removed = -1;
	return state_is_good(&p->cur.info) && p->cur.info.kind != STATE_ENCRYPTED && p->next.info.kind != STATE_ENCRYPTED;
}

uint64_t
push_changes(const struct push *p)
{
	int64_t n = p->meaning.added + p->meaning.changed + p->meaning.removed;

	return p->absent || !state_is_good(&p->cur.info) ? p->next.info.instances : n > 0 ? (uint64_t)n : 0;
}

bool
push_keep_current(struct push *p, struct batch *b)
{
	char               origin[ERR_MSG_MAX];
	struct version_rec v;

	if (p->absent || p->cur.body == NULL || p->cur.info.size == 0 || push_knows_current(p, false))
		return false;
	evidence_make(&v, p->e, &p->cur, p->next.info.lineage, p->next.info.serial, p->edge, p->dst, origin);
	v.reason = p->cmp.reason;
	batch_body(b, p->cur.body, &p->cur.digest, &p->want);
	batch_version(b, p->backend, p->source, &v);
	return true;
}
