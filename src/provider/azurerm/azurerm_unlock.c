/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "azurerm_lease.h"

/* The lock is released, or looked at. */

/* ---------------------------------------------------------------- unlock: the words go first, then the lease */

enum azurerm_unlock_state { UNLOCK_LOOK, UNLOCK_LOOKED, UNLOCK_REMOVED, UNLOCK_CLEARED, UNLOCK_RELEASED, UNLOCK_SEEN, UNLOCK_BROKEN };

static const char *const azurerm_unlock_states[] = { "look", "looked", "removed", "cleared", "released", "seen", "broken" };

/* Of a lease whose ID nobody told; the ETag says that the blob is as it was when somebody looked. */
static struct op *
azurerm_lease_break(struct azurerm_lease *k)
{
	azurerm_lease_act(k, "break");
	send_header(&k->req, "x-ms-lease-break-period", "0");
	send_header(&k->req, "if-match", "\"%s\"", k->props.etag);
	return azurerm_send(k->z, &k->req, &k->ans);
}

/* Whatever came of it: the next look tells. */
static enum op_turn
azurerm_unlock_again(struct azurerm_lease *k, const char *doing)
{
	int64_t pause = azurerm_lease_pause(k);

	k->doubt |= k->op.res.code == ERR_UNCERTAIN;
	if (k->op.res.code == ERR_BUSY && k->op.res.retry_after_ms > pause)
		pause = k->op.res.retry_after_ms;
	if (k->op.res.code == ERR_CANCELLED || ++k->tries >= AZURERM_LOCK_TRIES || pause > k->z->b.common.timeout_ms)
		return op_failed(&k->op) ? azurerm_lease_failed(k) : azurerm_lease_refused(k, doing);
	return op_await(&k->op, UNLOCK_LOOK, op_sleep(k->op.loop, pause));
}

/* Under the lease that is to go. What else the metadata says stays; words that could not go without it stay, too: they are no lock. */
static enum op_turn
azurerm_unlock_looked(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op))
		return azurerm_lease_failed(k);
	if (azurerm_lease_is_gone(k))
		return op_ok(op);
	if (k->ans.http.status != 200)
		return azurerm_lease_refused(k, "looking at");
	if (azurerm_props_read(k->z, &k->ans, &k->props, &op->res) != ERR_OK)
		return op_fail(op);
	if (k->props.lock != NULL && !k->props.more)
		return op_await(op, UNLOCK_CLEARED, azurerm_lease_describe(k, NULL));
	return op_await(op, UNLOCK_RELEASED, azurerm_lease_release(k));
}

/* That of a person, who was shown an ETag. */
static enum op_turn
azurerm_unlock_seen(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op))
		return azurerm_lease_failed(k);
	if (azurerm_no_such_blob(&k->ans))
		return op_ok(op);
	if (k->ans.http.status != 200)
		return azurerm_lease_refused(k, "looking at");
	if (azurerm_props_read(k->z, &k->ans, &k->props, &op->res) != ERR_OK)
		return op_fail(op);
	if (!k->props.leased || strcmp(k->props.etag, k->mine.id) != 0)
		return op_ok(op);
	return op_await(op, UNLOCK_BROKEN, azurerm_lease_break(k));
}

static enum op_turn
azurerm_unlock_step(struct op *op)
{
	struct azurerm_lease *k = container_of(op, struct azurerm_lease, op);

	switch ((enum azurerm_unlock_state)op->state) {
	case UNLOCK_LOOK:
		if (op_failed(op))
			return azurerm_lease_failed(k);
		if (azurerm_take(k->z, k->blob, k->mine.id, &k->props)) { /* the service compares the lease with each request */
			if (k->props.placed)
				return op_await(op, UNLOCK_REMOVED, azurerm_lease_remove(k, k->props.etag));
			return op_await(op, UNLOCK_CLEARED, azurerm_lease_describe(k, NULL));
		}
		if (azurerm_is_uuid(k->mine.id))
			return op_await(op, UNLOCK_LOOKED, azurerm_lease_look(k, k->mine.id));
		return op_await(op, UNLOCK_SEEN, azurerm_lease_look(k, NULL));
	case UNLOCK_LOOKED:
		return azurerm_unlock_looked(k);
	case UNLOCK_REMOVED: /* refused, it stays, and the lock goes as others do */
		if (op_failed(op))
			return azurerm_unlock_again(k, "removing");
		return k->ans.http.status == 202 || azurerm_lease_is_gone(k) ? op_ok(op) : op_go(op, UNLOCK_LOOK);
	case UNLOCK_CLEARED:
		if (!op_failed(op) && azurerm_lease_is_gone(k))
			return op_ok(op);
		if (op_failed(op) || k->ans.http.status != 200)
			return azurerm_unlock_again(k, "clearing the lock of");
		return op_await(op, UNLOCK_RELEASED, azurerm_lease_release(k));
	case UNLOCK_RELEASED:
		if (op_failed(op) || k->ans.http.status != 200)
			return azurerm_unlock_again(k, "unlocking");
		return op_ok(op);
	case UNLOCK_SEEN:
		return azurerm_unlock_seen(k);
	case UNLOCK_BROKEN: /* another look tells what a refusal meant */
		if (op_failed(op) || k->ans.http.status != 202)
			return azurerm_unlock_again(k, "breaking the lease of");
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_unlock_class = { "azurerm unlock", azurerm_unlock_step, NULL, azurerm_lease_free,
	azurerm_unlock_states, ARRAY_LEN(azurerm_unlock_states) };

struct op *
azurerm_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	struct azurerm_lease *k = azurerm_lease_new(b, &azurerm_unlock_class, ref);

	k->mine = *l;
	return &k->op;
}

/* ---------------------------------------------------------------- peek */

enum azurerm_peek_state { PEEK_START, PEEK_SEEN, PEEK_PROVEN };

static const char *const azurerm_peek_states[] = { "start", "seen", "proven" };

static enum op_turn
azurerm_lease_not_there(struct azurerm_lease *k)
{
	err_set(&k->op.res, ERR_NOT_FOUND, 404, "%.120s is not locked", k->name);
	return op_fail(&k->op);
}

static enum op_turn
azurerm_peek_seen(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op))
		return op_fail(op);
	if (azurerm_no_such_blob(&k->ans))
		return azurerm_lease_not_there(k);
	if (k->ans.http.status != 200)
		return azurerm_lease_refused(k, "looking at");
	if (azurerm_props_read(k->z, &k->ans, &k->props, &op->res) != ERR_OK)
		return op_fail(op);
	if (!k->props.leased)
		return azurerm_lease_not_there(k);
	azurerm_lease_parse(k);
	if (azurerm_is_uuid(k->there.id)) /* or do the words outlive a lease that was broken? */
		return op_await(op, PEEK_PROVEN, azurerm_lease_look(k, k->there.id));
	*k->ret = k->there;
	return op_ok(op);
}

static enum op_turn
azurerm_peek_step(struct op *op)
{
	struct azurerm_lease *k = container_of(op, struct azurerm_lease, op);

	switch ((enum azurerm_peek_state)op->state) {
	case PEEK_START:
		return op_await(op, PEEK_SEEN, azurerm_lease_look(k, NULL));
	case PEEK_SEEN:
		return azurerm_peek_seen(k);
	case PEEK_PROVEN:
		if (op_failed(op))
			return op_fail(op);
		if (azurerm_no_such_blob(&k->ans) || azurerm_answer_is(&k->ans, 412, "LeaseNotPresentWithBlobOperation"))
			return azurerm_lease_not_there(k);
		if (azurerm_lease_is_lost(&k->ans)) {
			free(k->props.lock);
			k->props.lock = NULL;
			azurerm_lease_parse(k);
		} else if (k->ans.http.status != 200) {
			return azurerm_lease_refused(k, "looking at");
		}
		*k->ret = k->there;
		return op_ok(op);
	}
	return OP_DONE;
}

static const struct op_class azurerm_peek_class = { "azurerm peek", azurerm_peek_step, NULL, azurerm_lease_free, azurerm_peek_states,
	ARRAY_LEN(azurerm_peek_states) };

struct op *
azurerm_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	struct azurerm_lease *k = azurerm_lease_new(b, &azurerm_peek_class, ref);

	k->ret = ret;
	return &k->op;
}
