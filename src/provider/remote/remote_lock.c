/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "provider/lock_object.h"
#include "remote.h"

/*
 * The lock of a workspace has no body and no id, and belongs to whoever has the same token: our reason carries ours, and what is met is
 * judged by it. A lock that is granted to nobody twice is answered 409, to its holder too.
 */
#define REMOTE_PENDING_MS     1000 /* between unlocks that a version on its way stands against, */
#define REMOTE_PENDING_MAX_MS 3000 /* and at most */

struct remote_locking {
	struct lock_object  lock;
	struct remote      *r;
	struct remote_item  found;   /* the workspace, as it was just seen */
	struct remote_ask   ask;
	bool                force;   /* the next removal is */
	struct remote_ask   newest;  /* its last version, while that stands against unlocking: */
	bool                unsent;  /* nobody sent its bytes */
	bool                absent;
};

/* ---------------------------------------------------------------- the reason */

#define REASON_BEGIN "stateferry lock "
#define REASON_SINCE " since "
#define REASON_BY    " by "
#define REASON_FOR   ": "

void
remote_reason(const struct lock_info *l, char ret[REMOTE_REASON_MAX])
{
	int n = snprintf(ret, REMOTE_REASON_MAX, REASON_BEGIN "%.60s" REASON_SINCE "%.35s" REASON_BY "%.50s" REASON_FOR, l->id, l->created,
	    l->who);

	snprintf(ret + n, REMOTE_REASON_MAX - (size_t)n, "%.*s", REMOTE_REASON_MAX - 1 - n, l->info);
}

/* Up to mark, cut to fit; past it. NULL: it does not follow. */
static const char *
remote_reason_part(const char *text, const char *mark, char *ret, size_t size)
{
	const char *at = strstr(text, mark);

	if (at == NULL)
		return NULL;
	span_text(ret, size, span_of(text, (size_t)(at - text)));
	return at + strlen(mark);
}

bool
remote_reason_parse(const char *text, struct lock_info *ret)
{
	struct lock_info l;

	memset(&l, 0, sizeof(l));
	if (strncmp(text, REASON_BEGIN, strlen(REASON_BEGIN)) != 0)
		return false;
	text = remote_reason_part(text + strlen(REASON_BEGIN), REASON_SINCE, l.id, sizeof(l.id));
	if (text == NULL || (text = remote_reason_part(text, REASON_BY, l.created, sizeof(l.created))) == NULL ||
	    (text = remote_reason_part(text, REASON_FOR, l.who, sizeof(l.who))) == NULL || l.id[0] == '\0')
		return false;
	span_text(l.info, sizeof(l.info), span_str(text));
	snprintf(l.operation, sizeof(l.operation), "stateferry");
	*ret = l;
	return true;
}

/* ---------------------------------------------------------------- where it is */

#define LOCK_ID_MARK ", "

void
remote_lock_name(const struct backend *b, const char *name, struct buf *ret)
{
	const struct remote *r = remote_of(b);
	char                *full = remote_full(r, name);

	buf_printf(ret, "%s/%s", r->conf->organization, full);
	free(full);
}

void
remote_lock_path(const struct backend *b, const char *name, struct buf *ret)
{
	const struct remote_known *known = remote_known(remote_of(b), name);

	remote_lock_name(b, name, ret);
	if (known != NULL)
		buf_printf(ret, LOCK_ID_MARK "%s", known->id);
}

/* The id of the workspace on which a lock of ours was taken; NULL: it was not known then. */
static const char *
remote_lock_id(const struct lock_info *l)
{
	const char *at = strstr(l->path, LOCK_ID_MARK);

	return at != NULL && strlen(at + strlen(LOCK_ID_MARK)) < REMOTE_ID_MAX ? at + strlen(LOCK_ID_MARK) : NULL;
}

/* ---------------------------------------------------------------- one request, with the workspace's id before it */

struct remote_lock_asking {
	struct op              op;
	struct remote_locking *k;
	unsigned               pending;
	int64_t                until;
};

enum remote_lock_state { LOCK_FIND, LOCK_SEEN, LOCK_FOUND, LOCK_ANSWERED, LOCK_WAITED, LOCK_NEWEST };

static const char *const remote_lock_states[] = { "find", "seen", "found", "answered", "waited", "newest" };

/* The one that we hold, or held before a crash, by its id: it may have another name by now. NULL: its name is all that is known. */
static struct op *
remote_lock_look(struct remote_locking *k)
{
	const struct remote_known *known = remote_known(k->r, k->lock.name);
	const char                *id = known != NULL && known->lock[0] != '\0' ? known->id : NULL;
	char                      *segment;

	if (id == NULL && k->lock.ret == NULL) /* to be unlocked */
		id = remote_lock_id(&k->lock.mine);
	if (k->lock.asked != LOCK_OBJECT_READ || id == NULL)
		return NULL;
	segment = remote_escaped(id);
	remote_to(&k->ask, "GET", "workspaces/%s", segment);
	free(segment);
	k->ask.refused = false;
	k->ask.needs = "read workspaces";
	return remote_ask(k->r, &k->ask);
}

static struct op *
remote_lock_send(struct remote_locking *k)
{
	static const char *const calls[] = { "lock", "force-unlock", "unlock" };
	const struct lock_object *lock = &k->lock;
	bool                      take = lock->asked == LOCK_OBJECT_PUT;
	struct json_writer        w;
	struct buf                text;
	char                      reason[REMOTE_REASON_MAX];

	remote_to(&k->ask, "POST", "workspaces/%s/actions/%s", k->found.id, calls[take ? 0 : k->force ? 1 : 2]);
	k->ask.refused = true;
	k->ask.needs = take ? "lock" : k->force ? "administer workspaces, as force-unlock asks" : "unlock";
	if (take) {
		remote_reason(&lock->mine, reason);
		buf_init(&text, 0);
		json_begin(&w, &text);
		json_obj(&w);
		json_kv_str(&w, "reason", reason);
		json_obj_end(&w);
		remote_body(&k->ask, &text);
	}
	return remote_ask(k->r, &k->ask);
}

/* While a version waits for its bytes, or is looked at by the server, the lock stays. */
static bool
remote_lock_is_pending(const struct remote_locking *k)
{
	return k->lock.asked == LOCK_OBJECT_REMOVE && k->ask.ans.http.status == 503 && remote_says(&k->ask.ans, "pending");
}

/* Is it on its way, or was it announced by somebody who never sent it? Then it stays pending for ever. */
static struct op *
remote_lock_newest(struct remote_locking *k)
{
	char *full = k->found.name[0] != '\0' ? xstrdup(k->found.name) : remote_full(k->r, k->lock.name);

	remote_to(&k->newest, "GET", "state-versions");
	send_query(&k->newest.req, "filter[organization][name]", k->r->conf->organization);
	send_query(&k->newest.req, "filter[workspace][name]", full);
	send_query(&k->newest.req, "page[size]", "1");
	k->newest.req.max_body = (uint64_t)8 << 20; /* it may name every resource */
	k->newest.what = "looking at";
	k->newest.name = k->lock.name;
	k->newest.needs = "read state versions";
	free(full);
	return remote_ask(k->r, &k->newest);
}

/* As far as the workspace tells: said before a lock is taken in vain. */
static bool
remote_lock_is_allowed(const struct remote_locking *k, struct err *reterr)
{
	bool lock = (k->found.denied & (REMOTE_LOCK | REMOTE_UNLOCK)) != 0;

	if (k->lock.asked != LOCK_OBJECT_PUT || (!lock && (k->found.denied & REMOTE_WRITE_STATE) == 0))
		return true;
	err_set(reterr, ERR_AUTH, 0, "%s: the token (%s) may not %s %.60s", k->r->b.where, remote_token_source(k->r),
	    lock ? "lock and unlock" : "write states of", k->lock.name);
	err_hint(reterr, "give its team write access to the workspace; an organization's token never writes states");
	return false;
}

static enum op_turn
remote_lock_asking_step(struct op *op)
{
	struct remote_lock_asking *x = container_of(op, struct remote_lock_asking, op);
	struct remote_locking     *k = x->k;
	int64_t                    wait;
	struct op                 *look;

	switch ((enum remote_lock_state)op->state) {
	case LOCK_FIND:
		x->until = loop_now(op->loop) + k->r->b.common.timeout_ms;
		look = remote_lock_look(k);
		if (look != NULL)
			return op_await(op, LOCK_SEEN, look);
		if (k->lock.asked == LOCK_OBJECT_REMOVE || (k->lock.asked == LOCK_OBJECT_PUT && k->found.id[0] != '\0'))
			return op_await(op, LOCK_FOUND, NULL);
		return op_await(op, LOCK_FOUND, remote_find(k->r, k->lock.name, k->lock.asked == LOCK_OBJECT_PUT, &k->found));
	case LOCK_SEEN:
		if (op_failed(op))
			return op_fail(op);
		k->absent = k->ask.ans.http.status == 404;
		k->found = k->ask.doc.item;
		return op_ok(op);
	case LOCK_FOUND:
		k->absent = op->res.code == ERR_NOT_FOUND && k->lock.asked != LOCK_OBJECT_PUT;
		if (k->absent)
			return op_ok(op);
		if (op_failed(op) || !remote_lock_is_allowed(k, &op->res))
			return op_fail(op);
		return k->lock.asked == LOCK_OBJECT_READ ? op_ok(op) : op_await(op, LOCK_ANSWERED, remote_lock_send(k));
	case LOCK_ANSWERED:
		if (op_failed(op) || !remote_lock_is_pending(k))
			return op_finish(op);
		wait = REMOTE_PENDING_MS + 500 * (int64_t)x->pending++;
		wait = wait < REMOTE_PENDING_MAX_MS ? wait : REMOTE_PENDING_MAX_MS;
		if (loop_now(op->loop) + wait > x->until)
			return op_await(op, LOCK_NEWEST, remote_lock_newest(k));
		return op_await(op, LOCK_WAITED, op_sleep(op->loop, wait));
	case LOCK_WAITED:
		return op_failed(op) ? op_fail(op) : op_await(op, LOCK_ANSWERED, remote_lock_send(k));
	case LOCK_NEWEST:
		k->unsent = !op_failed(op) && strcmp(k->newest.doc.item.status, "pending") == 0 && k->newest.doc.item.upload[0] != '\0';
		return op_ok(op);
	}
	return OP_DONE;
}

static void
remote_lock_asking_free(struct op *op)
{
	free(container_of(op, struct remote_lock_asking, op));
}

static const struct op_class remote_lock_asking_class = { "remote lock", remote_lock_asking_step, NULL, remote_lock_asking_free,
	remote_lock_states, ARRAY_LEN(remote_lock_states) };

static struct op *
remote_lock_request(struct lock_object *lock)
{
	struct remote_lock_asking *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &remote_lock_asking_class, lock->b->env->loop);
	x->k = container_of(lock, struct remote_locking, lock);
	return &x->op;
}

/* ---------------------------------------------------------------- what an answer means */

/* A server that tells nothing of a lock lets only its owner unlock it. This process knows which one it took; after a crash nothing does, so
 * that to release ours is tried. */
static void
remote_lock_guess(struct remote_locking *k, struct lock_info *there)
{
	const struct remote_known *known = remote_known(k->r, k->lock.name);

	there->unnamed = true;
	if (known != NULL && known->lock[0] != '\0')
		snprintf(there->id, sizeof(there->id), "%s", known->lock);
	else if (k->lock.ret == NULL && k->lock.mine.id[0] != '\0')
		memcpy(there->id, k->lock.mine.id, sizeof(there->id));
}

/* Who holds it. One of others goes by the name under which "terraform force-unlock" takes it. */
static enum lock_object_answer
remote_lock_met(struct remote_locking *k)
{
	const struct remote_item  *i = &k->found;
	struct lock_info          *there = &k->lock.there;
	size_t                     n = strlen(i->holder_type);

	if (k->absent || !i->locked)
		return LOCK_OBJECT_ABSENT;
	if (remote_reason_parse(i->reason, there)) {
		snprintf(there->path, sizeof(there->path), "%s", k->lock.object);
		return LOCK_OBJECT_THERE;
	}
	memset(there, 0, sizeof(*there));
	snprintf(there->id, sizeof(there->id), "%s", k->lock.object);
	snprintf(there->path, sizeof(there->path), "%s", k->lock.object);
	snprintf(there->info, sizeof(there->info), "%s", i->reason);
	if (i->holder[0] != '\0') /* "users" is one user */
		snprintf(there->who, sizeof(there->who), "%.*s %.90s", (int)(n > 1 ? n - 1 : n), i->holder_type,
		    i->holder_name[0] != '\0' ? i->holder_name : i->holder);
	if (!i->tells_reason && i->holder[0] == '\0')
		remote_lock_guess(k, there);
	return LOCK_OBJECT_THERE;
}

static enum lock_object_answer
remote_lock_answer(struct lock_object *lock)
{
	struct remote_locking *k = container_of(lock, struct remote_locking, lock);
	int                    status = k->ask.ans.http.status;

	if (lock->asked == LOCK_OBJECT_READ)
		return remote_lock_met(k);
	if (status / 100 == 2) {
		k->lock.there.generation[0] = '\0';
		return LOCK_OBJECT_DONE;
	}
	/* its id was compared: it is the one to go, whoever the server takes for its owner, and whatever was announced under it and never sent */
	if (lock->asked == LOCK_OBJECT_REMOVE && !k->force && !lock->there.unnamed &&
	    (k->unsent || (status == 409 && remote_says(&k->ask.ans, "locked by")))) {
		k->force = true;
		return LOCK_OBJECT_AGAIN;
	}
	return status == 409 ? LOCK_OBJECT_UNMET : LOCK_OBJECT_REFUSED;
}

static void
remote_lock_refused(struct lock_object *lock, const char *doing, struct err *reterr)
{
	struct remote_locking *k = container_of(lock, struct remote_locking, lock);

	(void)doing;
	k->ask.what = lock->asked == LOCK_OBJECT_PUT ? "locking" : "unlocking";
	if (!k->unsent && !remote_lock_is_pending(k)) {
		remote_refused(k->r, &k->ask, reterr);
		return;
	}
	err_set(reterr, k->unsent ? ERR_AUTH : ERR_BUSY, k->ask.ans.http.status, "%s: %.60s stays locked while its newest state version is pending%s",
	    k->r->b.where, lock->name, k->unsent ? ", which was never sent; to unlock it by force is not permitted" : "");
	err_hint(reterr, "who may administer the workspace: terraform force-unlock %s", lock->object);
}

static void
remote_lock_vanishing(struct lock_object *lock, struct err *reterr)
{
	err_set(reterr, ERR_BUSY, 0, "%s: %.80s is refused a lock, but it is not locked", remote_of(lock->b)->b.where, lock->name);
}

/* For servers that do not show the reason: this process knows what it holds. A workspace that was made for it has an id by now. */
static void
remote_lock_held(struct lock_object *lock, bool held)
{
	struct remote_known *known = remote_known(remote_of(lock->b), lock->name);
	struct buf           path;

	if (known == NULL)
		return;
	span_text(known->lock, sizeof(known->lock), span_str(held ? lock->mine.id : ""));
	if (!held)
		return;
	buf_init(&path, 0);
	remote_lock_path(lock->b, lock->name, &path);
	snprintf(lock->ret->path, sizeof(lock->ret->path), "%s", buf_str(&path));
	buf_free(&path);
}

static void
remote_lock_release(struct lock_object *lock)
{
	struct remote_locking *k = container_of(lock, struct remote_locking, lock);

	remote_ask_free(&k->ask);
	remote_ask_free(&k->newest);
}

static const struct lock_object_driver remote_lock_driver = { .store = "", .request = remote_lock_request, .answer = remote_lock_answer,
	.refused = remote_lock_refused, .vanishing = remote_lock_vanishing, .held = remote_lock_held, .release = remote_lock_release };

static struct lock_object *
remote_lock_new(struct backend *b, const struct state_ref *ref)
{
	struct remote_locking *k = xcalloc(1, sizeof(*k));
	struct buf             path;

	k->r = remote_of(b);
	buf_init(&path, 0);
	remote_lock_name(b, ref->name, &path);
	lock_object_init(&k->lock, &remote_lock_driver, b, ref, buf_take(&path));
	k->ask.name = k->lock.name;
	k->ask.what = "looking at";
	return &k->lock;
}

struct op *
remote_lock(struct backend *b, const struct state_ref *ref, struct lock_info *l, struct lock_info *ret_holder)
{
	return lock_object_lock(remote_lock_new(b, ref), l, ret_holder);
}

struct op *
remote_unlock(struct backend *b, const struct state_ref *ref, const struct lock_info *l)
{
	return lock_object_unlock(remote_lock_new(b, ref), l);
}

struct op *
remote_lock_peek(struct backend *b, const struct state_ref *ref, struct lock_info *ret)
{
	return lock_object_peek(remote_lock_new(b, ref), ret);
}
