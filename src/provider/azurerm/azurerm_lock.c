/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "azurerm_lease.h"
#include "base/encode.h"

/* The lock is taken: the lease first, then terraform's words. */
#define AZURERM_LOCK_BOUNCED  6   /* again when a lock or a blob was there and is gone */
#define AZURERM_LOCK_PAUSE_MS 100

/* ---------------------------------------------------------------- requests */

static struct op *
azurerm_lease_acquire(struct azurerm_lease *k)
{
	azurerm_lease_act(k, "acquire");
	send_header(&k->req, "x-ms-lease-duration", "-1");
	send_header(&k->req, "x-ms-proposed-lease-id", "%s", k->mine.id);
	return azurerm_send(k->z, &k->req, &k->ans);
}

/* Terraform's own has no condition, and so two who lock for the first time can wipe what a third has written. */
static struct op *
azurerm_lease_place(struct azurerm_lease *k)
{
	azurerm_to_blob(k->z, &k->req, "PUT", k->blob, NULL);
	send_header(&k->req, "content-type", "application/json");
	send_header(&k->req, "x-ms-blob-type", "BlockBlob");
	send_header(&k->req, "x-ms-blob-content-type", "application/json");
	send_header(&k->req, "if-none-match", "*");
	return azurerm_send(k->z, &k->req, &k->ans);
}

/* ---------------------------------------------------------------- the operation */

enum azurerm_lock_state { LOCK_ACQUIRE, LOCK_ACQUIRED, LOCK_PLACED, LOCK_SEEN, LOCK_OURS, LOCK_HELD, LOCK_DESCRIBED, LOCK_REMOVED, LOCK_DROPPED };

static const char *const azurerm_lock_states[] = { "acquire", "acquired", "placed", "seen", "ours", "held", "described", "removed", "dropped" };

static enum op_turn
azurerm_lock_bounce(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (k->bounced++ < AZURERM_LOCK_BOUNCED)
		return op_await(op, LOCK_ACQUIRE, op_sleep(op->loop, provider_backoff_ms(&k->z->b, 1, AZURERM_LOCK_PAUSE_MS)));
	err_set(&op->res, k->doubt ? ERR_UNCERTAIN : ERR_BUSY, 0, "container %s: %.80s could not be leased in %u tries",
	    k->z->conf->container_name, k->name, k->tries + k->bounced);
	return op_fail(op);
}

static enum op_turn
azurerm_lock_taken(struct azurerm_lease *k)
{
	*k->ret_holder = k->there;
	k->ret->late = k->doubt;
	lock_info_refuse(&k->there, ERR_LOCKED, 409, k->name, &k->op.res);
	return op_fail(&k->op);
}

/* An answer that did not come: the same request once more. */
static bool
azurerm_lock_may_repeat(struct azurerm_lease *k)
{
	return k->op.res.code == ERR_UNCERTAIN && !op_stopped(&k->op) && ++k->tries < AZURERM_LOCK_TRIES;
}

/* Is it still the place holder that we made, by its ETag? That has no metadata to be kept. */
static bool
azurerm_lock_is_placed(const struct azurerm_lease *k)
{
	const char *text = http_header_get(&k->ans.http, "etag");
	char        etag[ETAG_MAX];

	azurerm_etag(text != NULL ? text : "", etag);
	return k->placed[0] != '\0' && strcmp(etag, k->placed) == 0;
}

static enum op_turn
azurerm_lock_acquired(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op)) {
		k->doubt |= op->res.code == ERR_UNCERTAIN;
		if (azurerm_lock_may_repeat(k))
			return op_await(op, LOCK_ACQUIRE, op_sleep(op->loop, azurerm_lease_pause(k)));
		return azurerm_lease_failed(k);
	}
	if (k->ans.http.status / 100 == 2) { /* held: from here on, see it through */
		op_shield(op);
		if (azurerm_lock_is_placed(k)) {
			azurerm_props_free(&k->props);
			k->props.placed = true;
			return op_await(op, LOCK_DESCRIBED, azurerm_lease_describe(k, buf_str(&k->text)));
		}
		return op_await(op, LOCK_HELD, azurerm_lease_look(k, k->mine.id));
	}
	if (azurerm_no_such_blob(&k->ans))
		return op_await(op, LOCK_PLACED, azurerm_lease_place(k));
	if (k->ans.http.status == 409 && strncmp(k->ans.code, "Lease", 5) == 0)
		return op_await(op, LOCK_SEEN, azurerm_lease_look(k, NULL));
	azurerm_lease_refused(k, "locking");
	return azurerm_lease_failed(k);
}

/* A place holder that came from somebody else, or late, is as good. */
static enum op_turn
azurerm_lock_placed(struct azurerm_lease *k)
{
	struct op  *op = &k->op;
	const char *etag = http_header_get(&k->ans.http, "etag");

	if (op_failed(op)) {
		if (azurerm_lock_may_repeat(k))
			return op_await(op, LOCK_ACQUIRE, op_sleep(op->loop, azurerm_lease_pause(k)));
		if (op->res.code == ERR_UNCERTAIN && !k->doubt) /* of a lock nothing was asked that is not answered */
			op->res.code = ERR_BUSY;
		return azurerm_lease_failed(k);
	}
	if (k->ans.http.status == 201) {
		azurerm_etag(etag != NULL ? etag : "", k->placed);
		return op_go(op, LOCK_ACQUIRE);
	}
	if (azurerm_answer_is(&k->ans, 409, "BlobAlreadyExists") || k->ans.http.status == 412)
		return azurerm_lock_bounce(k);
	azurerm_lease_refused(k, "making");
	return azurerm_lease_failed(k);
}

static enum op_turn
azurerm_lock_seen(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op))
		return azurerm_lease_failed(k);
	if (azurerm_no_such_blob(&k->ans))
		return azurerm_lock_bounce(k);
	if (k->ans.http.status != 200) {
		azurerm_lease_refused(k, "looking at");
		return azurerm_lease_failed(k);
	}
	if (azurerm_props_read(k->z, &k->ans, &k->props, &op->res) != ERR_OK)
		return azurerm_lease_failed(k);
	if (!k->props.leased) /* released in between */
		return azurerm_lock_bounce(k);
	azurerm_lease_parse(k);
	if (strcasecmp(k->there.id, k->mine.id) != 0 && !k->doubt)
		return azurerm_lock_taken(k);
	return op_await(op, LOCK_OURS, azurerm_lease_look(k, k->mine.id)); /* a server that does not let one ask twice */
}

/* Our words, or a request of ours that had no answer; but whose lease is it? */
static enum op_turn
azurerm_lock_ours(struct azurerm_lease *k)
{
	if (op_failed(&k->op))
		return azurerm_lease_failed(k);
	if (azurerm_lease_is_lost(&k->ans)) {
		if (strcasecmp(k->there.id, k->mine.id) == 0) {
			azurerm_props_free(&k->props);
			azurerm_lease_parse(k);
			k->there.id[0] = '\0';
		}
		return azurerm_lock_taken(k);
	}
	op_shield(&k->op);
	return op_go(&k->op, LOCK_HELD);
}

/* The lease is ours and nobody can read whose: rather none at all. A place holder of ours goes with it. */
static enum op_turn
azurerm_lock_drop(struct azurerm_lease *k)
{
	k->op.err = k->op.res;
	if (k->placed[0] != '\0')
		return op_await(&k->op, LOCK_REMOVED, azurerm_lease_remove(k, k->placed));
	return op_await(&k->op, LOCK_DROPPED, azurerm_lease_release(k));
}

static enum op_turn
azurerm_lock_held(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op))
		return azurerm_lock_drop(k);
	if (azurerm_lease_is_gone(k)) /* broken at once, or deleted before */
		return azurerm_lock_bounce(k);
	if (k->ans.http.status != 200) {
		azurerm_lease_refused(k, "looking at");
		op->res = op->err;
		return azurerm_lock_drop(k);
	}
	if (azurerm_props_read(k->z, &k->ans, &k->props, &op->res) != ERR_OK || azurerm_props_whole(&k->props, k->name, &op->res) != ERR_OK)
		return azurerm_lock_drop(k);
	return op_await(op, LOCK_DESCRIBED, azurerm_lease_describe(k, buf_str(&k->text)));
}

static enum op_turn
azurerm_lock_described(struct azurerm_lease *k)
{
	struct op  *op = &k->op;
	const char *etag = http_header_get(&k->ans.http, "etag");

	if (op_failed(op)) {
		if (azurerm_lock_may_repeat(k))
			return op_await(op, LOCK_HELD, azurerm_lease_look(k, k->mine.id));
		return azurerm_lock_drop(k);
	}
	if (azurerm_lease_is_gone(k))
		return azurerm_lock_bounce(k);
	if (k->ans.http.status != 200) {
		azurerm_lease_refused(k, "writing the lock of");
		op->res = op->err;
		return azurerm_lock_drop(k);
	}
	azurerm_etag(etag != NULL ? etag : "", k->props.etag);
	memcpy(k->ret->generation, k->props.etag, ETAG_MAX);
	k->ret->late = k->doubt;
	free(k->props.lock);
	k->props.lock = xstrdup(buf_str(&k->text));
	azurerm_hold(k->z, k->blob, k->mine.id, &k->props);
	return op_ok(op);
}

static enum op_turn
azurerm_lock_step(struct op *op)
{
	struct azurerm_lease *k = container_of(op, struct azurerm_lease, op);

	switch ((enum azurerm_lock_state)op->state) {
	case LOCK_ACQUIRE:
		if (op_failed(op))
			return azurerm_lease_failed(k);
		return op_await(op, LOCK_ACQUIRED, azurerm_lease_acquire(k));
	case LOCK_ACQUIRED:
		return azurerm_lock_acquired(k);
	case LOCK_PLACED:
		return azurerm_lock_placed(k);
	case LOCK_SEEN:
		return azurerm_lock_seen(k);
	case LOCK_OURS:
		return azurerm_lock_ours(k);
	case LOCK_HELD:
		return azurerm_lock_held(k);
	case LOCK_DESCRIBED:
		return azurerm_lock_described(k);
	case LOCK_REMOVED: /* somebody has written there, or deletions are not allowed: then the lease alone */
		if (!op_failed(op) && k->ans.http.status == 202)
			return azurerm_lease_failed(k);
		return op_await(op, LOCK_DROPPED, azurerm_lease_release(k));
	case LOCK_DROPPED: /* an earlier request for the lease may still arrive */
		k->doubt |= op_failed(op) || k->ans.http.status != 200;
		return azurerm_lease_failed(k);
	}
	return OP_DONE;
}

static const struct op_class azurerm_lock_class = { "azurerm lock", azurerm_lock_step, NULL, azurerm_lease_free, azurerm_lock_states,
	ARRAY_LEN(azurerm_lock_states) };

struct op *
azurerm_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	struct azurerm_lease *k = azurerm_lease_new(b, &azurerm_lock_class, ref);
	struct buf            body;

	k->mine = *l;
	k->ret = l;
	k->ret_holder = ret_holder;
	buf_init(&body, LOCK_BODY_MAX);
	lock_info_body(l, &body);
	base64_encode(buf_span(&body), &k->text);
	buf_free(&body);
	return &k->op;
}
