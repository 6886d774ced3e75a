/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "azurerm.h"
#include "base/encode.h"

/*
 * Terraform's lock: an infinite lease on the blob of the state, whose ID is that of the lock, and the lock's body in the blob's
 * metadata (docs/protocol/azurerm.md, "The lock"). We choose the ID, so that asking again after a lost answer is asking for the same. Who
 * holds it is decided by the lease alone: metadata outlives a lease that was broken.
 */
#define AZURERM_LOCK_TRIES     4    /* the same request again after an unknown outcome */
#define AZURERM_LOCK_BOUNCED   6    /* again when a lock or a blob was there and is gone */
#define AZURERM_LOCK_PAUSE_MS  100
#define AZURERM_RETRY_PAUSE_MS 250

struct azurerm_lease {
	struct op            op;
	struct azurerm      *z;
	char                *name, *blob;
	struct send_request  req;
	struct send_answer   ans;
	struct azurerm_props props;
	struct lock_info    *ret, *ret_holder;
	struct lock_info     mine, there;  /* there: as just read */
	struct buf           text;         /* of mine, in base64 */
	unsigned             tries, bounced;
	bool                 doubt;        /* a request is out whose outcome is unknown */
};

static void
azurerm_lease_free(struct op *op)
{
	struct azurerm_lease *k = container_of(op, struct azurerm_lease, op);

	send_request_free(&k->req);
	send_answer_free(&k->ans);
	azurerm_props_free(&k->props);
	buf_free(&k->text);
	free(k->name);
	free(k->blob);
	free(k);
}

static struct azurerm_lease *
azurerm_lease_new(struct backend *b, const struct op_class *class, const struct state_ref *ref)
{
	struct azurerm_lease *k = xcalloc(1, sizeof(*k));

	k->z = azurerm_of(b);
	op_init(&k->op, class, k->z->env->loop);
	k->name = xstrdup(ref->name);
	k->blob = azurerm_blob_of(k->z, ref->name);
	buf_init(&k->text, 0);
	return k;
}

/* ---------------------------------------------------------------- requests */

/* lease: HEAD under it, which is refused unless it is held. */
static struct op *
azurerm_lease_look(struct azurerm_lease *k, const char *lease)
{
	azurerm_to_blob(k->z, &k->req, "HEAD", k->blob, NULL);
	if (lease != NULL)
		send_header(&k->req, "x-ms-lease-id", "%s", lease);
	return azurerm_send(k->z, &k->req, &k->ans);
}

static void
azurerm_lease_act(struct azurerm_lease *k, const char *action)
{
	azurerm_to_blob(k->z, &k->req, "PUT", k->blob, "lease");
	send_header(&k->req, "x-ms-lease-action", "%s", action);
}

static struct op *
azurerm_lease_acquire(struct azurerm_lease *k)
{
	azurerm_lease_act(k, "acquire");
	send_header(&k->req, "x-ms-lease-duration", "-1");
	send_header(&k->req, "x-ms-proposed-lease-id", "%s", k->mine.id);
	return azurerm_send(k->z, &k->req, &k->ans);
}

static struct op *
azurerm_lease_release(struct azurerm_lease *k)
{
	azurerm_lease_act(k, "release");
	send_header(&k->req, "x-ms-lease-id", "%s", k->mine.id);
	return azurerm_send(k->z, &k->req, &k->ans);
}

/* Of a lease whose ID nobody told; the ETag says that the blob is as it was when somebody looked. */
static struct op *
azurerm_lease_break(struct azurerm_lease *k)
{
	azurerm_lease_act(k, "break");
	send_header(&k->req, "x-ms-lease-break-period", "0");
	send_header(&k->req, "if-match", "\"%s\"", k->props.etag);
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

static struct op *
azurerm_lease_describe(struct azurerm_lease *k, const char *lock)
{
	azurerm_to_blob(k->z, &k->req, "PUT", k->blob, "metadata");
	send_header(&k->req, "x-ms-lease-id", "%s", k->mine.id);
	azurerm_props_keep(&k->props, lock, &k->req);
	return azurerm_send(k->z, &k->req, &k->ans);
}

/* ---------------------------------------------------------------- what comes back */

static enum op_turn
azurerm_lease_refused(struct azurerm_lease *k, const char *doing)
{
	char *what = xasprintf("%s %.120s", doing, k->name);

	azurerm_refused(k->z, &k->ans, what, &k->op.res);
	if (k->op.res.code == ERR_NOT_FOUND) /* the container, not the lock */
		k->op.res.code = ERR_CONFIG;
	free(what);
	return op_fail(&k->op);
}

/* With a request of ours out there, no later failure says that we do not hold it. */
static enum op_turn
azurerm_lease_failed(struct azurerm_lease *k)
{
	struct err why = k->op.err.code != ERR_OK ? k->op.err : k->op.res;

	k->op.err = (struct err){ .code = ERR_OK };
	k->op.res = why;
	if (k->doubt && why.code != ERR_UNCERTAIN) {
		err_set(&k->op.res, ERR_UNCERTAIN, why.detail, "%s; what became of the lock of %.60s is unknown", why.msg, k->name);
		if (why.hint[0] != '\0')
			err_hint(&k->op.res, "%s", why.hint);
	}
	return op_fail(&k->op);
}

/* Is it gone, or another's, of whom the request had the lease ID? */
static bool
azurerm_lease_is_gone(const struct azurerm_lease *k)
{
	return azurerm_no_such_blob(&k->ans) || azurerm_lease_is_lost(&k->ans);
}

/* Of a look: whose words stand in the metadata. What cannot be read there goes by the ETag. */
static void
azurerm_lease_parse(struct azurerm_lease *k)
{
	struct buf body;
	bool       read;

	buf_init(&body, LOCK_BODY_MAX);
	read = k->props.lock != NULL && base64_decode(span_str(k->props.lock), &body) &&
	    lock_info_parse(buf_span(&body), &k->there, NULL) == ERR_OK && azurerm_is_lease_id(k->there.id);
	buf_free(&body);
	if (!read) {
		memset(&k->there, 0, sizeof(k->there));
		snprintf(k->there.who, sizeof(k->there.who), "a lease without terraform's words");
		snprintf(k->there.id, sizeof(k->there.id), "%s", k->props.etag);
	}
	snprintf(k->there.generation, sizeof(k->there.generation), "%s", k->props.etag);
}

static enum op_turn
azurerm_lease_not_there(struct azurerm_lease *k)
{
	err_set(&k->op.res, ERR_NOT_FOUND, 404, "%.120s is not locked", k->name);
	return op_fail(&k->op);
}

/* ---------------------------------------------------------------- lock */

enum azurerm_lock_state { LOCK_ACQUIRE, LOCK_ACQUIRED, LOCK_PLACED, LOCK_SEEN, LOCK_OURS, LOCK_HELD, LOCK_DESCRIBED, LOCK_DROPPED };

static const char *const azurerm_lock_states[] = { "acquire", "acquired", "placed", "seen", "ours", "held", "described", "dropped" };

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

static int64_t
azurerm_lock_pause(const struct azurerm_lease *k)
{
	return provider_backoff_ms(&k->z->b, k->tries, AZURERM_RETRY_PAUSE_MS);
}

static enum op_turn
azurerm_lock_acquired(struct azurerm_lease *k)
{
	struct op *op = &k->op;

	if (op_failed(op)) {
		k->doubt |= op->res.code == ERR_UNCERTAIN;
		if (azurerm_lock_may_repeat(k))
			return op_await(op, LOCK_ACQUIRE, op_sleep(op->loop, azurerm_lock_pause(k)));
		return azurerm_lease_failed(k);
	}
	if (k->ans.http.status / 100 == 2) { /* held: from here on, see it through */
		op_shield(op);
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
	struct op *op = &k->op;

	if (op_failed(op)) {
		if (azurerm_lock_may_repeat(k))
			return op_await(op, LOCK_ACQUIRE, op_sleep(op->loop, azurerm_lock_pause(k)));
		if (op->res.code == ERR_UNCERTAIN && !k->doubt) /* of a lock nothing was asked that is not answered */
			op->res.code = ERR_BUSY;
		return azurerm_lease_failed(k);
	}
	if (k->ans.http.status == 201)
		return op_go(op, LOCK_ACQUIRE);
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
	if (strcasecmp(k->there.id, k->mine.id) != 0)
		return azurerm_lock_taken(k);
	return op_await(op, LOCK_OURS, azurerm_lease_look(k, k->mine.id)); /* a server that does not let one ask twice */
}

/* Our words, but under whose lease? */
static enum op_turn
azurerm_lock_ours(struct azurerm_lease *k)
{
	if (op_failed(&k->op))
		return azurerm_lease_failed(k);
	if (azurerm_lease_is_lost(&k->ans)) {
		azurerm_props_free(&k->props);
		azurerm_lease_parse(k);
		k->there.id[0] = '\0';
		return azurerm_lock_taken(k);
	}
	op_shield(&k->op);
	return op_go(&k->op, LOCK_HELD);
}

/* The lease is ours and nobody can read whose: rather none at all. */
static enum op_turn
azurerm_lock_drop(struct azurerm_lease *k)
{
	k->op.err = k->op.res;
	k->doubt = true;
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
	if (azurerm_props_read(k->z, &k->ans, &k->props, &op->res) != ERR_OK)
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
	azurerm_etag(etag != NULL ? etag : "", k->ret->generation);
	k->ret->late = k->doubt;
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
		if (azurerm_name_check(k->blob, &op->res) != ERR_OK)
			return op_fail(op);
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
	case LOCK_DROPPED:
		k->doubt = op_failed(op) || k->ans.http.status != 200;
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

/* ---------------------------------------------------------------- unlock: the words go first, then the lease */

enum azurerm_unlock_state { UNLOCK_LOOK, UNLOCK_LOOKED, UNLOCK_CLEARED, UNLOCK_RELEASED, UNLOCK_SEEN, UNLOCK_BROKEN };

static const char *const azurerm_unlock_states[] = { "look", "looked", "cleared", "released", "seen", "broken" };

/* Whatever came of it: the next look tells. */
static enum op_turn
azurerm_unlock_again(struct azurerm_lease *k, const char *doing)
{
	int64_t pause = azurerm_lock_pause(k);

	k->doubt |= k->op.res.code == ERR_UNCERTAIN;
	if (k->op.res.code == ERR_BUSY && k->op.res.retry_after_ms > pause)
		pause = k->op.res.retry_after_ms;
	if (k->op.res.code == ERR_CANCELLED || ++k->tries >= AZURERM_LOCK_TRIES || pause > k->z->b.common.timeout_ms)
		return op_failed(&k->op) ? azurerm_lease_failed(k) : azurerm_lease_refused(k, doing);
	return op_await(&k->op, UNLOCK_LOOK, op_sleep(k->op.loop, pause));
}

/* Under the lease that is to go: what else the blob's metadata says stays. */
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
	if (k->props.lock != NULL)
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
		if (azurerm_is_lease_id(k->mine.id))
			return op_await(op, UNLOCK_LOOKED, azurerm_lease_look(k, k->mine.id));
		return op_await(op, UNLOCK_SEEN, azurerm_lease_look(k, NULL));
	case UNLOCK_LOOKED:
		return azurerm_unlock_looked(k);
	case UNLOCK_CLEARED:
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
	if (azurerm_is_lease_id(k->there.id)) /* or do the words outlive a lease that was broken? */
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
