/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "brainboard.h"

/*
 * A listing: the inventory, when it is due; then every storage that can be listed, which gives for each architecture the object that
 * holds its state; then one name after the other is handed out: what was found, what can only be asked for, and what is known
 * but out of reach.
 */
#define LIST_CHUNK 500 /* names handed out in one turn of the loop */

#define LIST_MANAGED "Brainboard keeps it in its managed storage, which nothing outside can reach: give the architecture or the organization " \
	"storage of its own"
#define LIST_NOTHING "there is no state of it in its storage: it was never deployed, or lies in Brainboard's managed storage"

/* ---------------------------------------------------------------- whose storage, which name */

const struct brainboard_own *
brainboard_own(const struct brainboard *bb, const char *uuid)
{
	for (size_t i = 0; i < bb->nown; i++)
		if (strcmp(bb->own[i].uuid, uuid) == 0)
			return &bb->own[i];
	return NULL;
}

struct brainboard_storage *
brainboard_storage_of(const struct brainboard *bb, const char *uuid)
{
	const struct brainboard_own *own = brainboard_own(bb, uuid);

	return own != NULL && own->storage != NULL ? own->storage : &bb->storages[0];
}

static char *
brainboard_pin(const struct brainboard_storage *s, const char *key, const char *uuid)
{
	if (s->fixed != NULL)
		return xstrdup(s->fixed);
	if (key == NULL && (s->b == NULL || s->listed))
		return NULL;
	return key != NULL ? brainboard_key_of(key, uuid) : xstrdup(uuid);
}

void
brainboard_pin_own(struct brainboard *bb, struct brainboard_own *own)
{
	own->pinned = brainboard_pin(own->storage != NULL ? own->storage : &bb->storages[0], own->key != NULL ? own->key : bb->conf->key,
	    own->uuid);
}

char *
brainboard_pinned(const struct brainboard *bb, const char *uuid)
{
	const struct brainboard_own *own = brainboard_own(bb, uuid);

	return own != NULL ? xstrdup(own->pinned) : brainboard_pin(&bb->storages[0], bb->conf->key, uuid);
}

/* An architecture that has a storage of its own, or a key, is nowhere else. */
bool
brainboard_name_uuid(const struct brainboard *bb, const struct brainboard_storage *s, const char *name, char ret[UUID_LEN + 1])
{
	const struct brainboard_own *own;

	for (size_t i = 0; i < bb->nown; i++) {
		own = &bb->own[i];
		if (own->pinned == NULL || strcmp(own->pinned, name) != 0 || (own->storage != NULL ? own->storage : &bb->storages[0]) != s)
			continue;
		memcpy(ret, own->uuid, UUID_LEN + 1);
		return true;
	}
	if (bb->conf->key != NULL ? !brainboard_key_matches(bb->conf->key, name, ret) : !brainboard_key_uuid(name, ret))
		return false;
	own = brainboard_own(bb, ret);
	return own == NULL ? s == &bb->storages[0] : own->pinned == NULL && brainboard_storage_of(bb, ret) == s;
}

static bool
brainboard_configured(const struct brainboard *bb, const char *uuid)
{
	bool is = brainboard_own(bb, uuid) != NULL;

	for (size_t i = 0; i < bb->conf->architectures.n && !is; i++)
		is = strcasecmp(bb->conf->architectures.items[i], uuid) == 0;
	return is;
}

/* What vanished from the inventory was selected as long as its alias is known. */
static bool
brainboard_selected(const struct brainboard *bb, const char *uuid)
{
	if (bb->conf->architectures.n > 0)
		return brainboard_configured(bb, uuid);
	return !bb->selects || brainboard_configured(bb, uuid) || provider_alias(&bb->b, uuid) != NULL;
}

bool
brainboard_known(const struct brainboard *bb, const char *uuid)
{
	if (!brainboard_selected(bb, uuid))
		return false;
	return bb->api == NULL || brainboard_configured(bb, uuid) || provider_alias(&bb->b, uuid) != NULL ||
	    (bb->inventory != NULL && map_get(bb->inventory, span_str(uuid)) != NULL) ||
	    (bb->objects != NULL && map_get(bb->objects, span_str(uuid)) != NULL);
}

/* ---------------------------------------------------------------- the storages */

void
brainboard_objects_free(struct map *m)
{
	void *v;

	for (size_t i = 0; m != NULL && map_next(m, &i, NULL, &v);) {
		struct brainboard_object *o = v;

		free(o->name);
		free(o->other);
		free(o->trouble);
		free(o);
	}
	map_free(m);
}

struct scan {
	struct op          op;
	struct brainboard *bb;
	struct map        *found;  /* struct brainboard_object */
	size_t             at;     /* storage */
};

enum scan_state { SCAN_NEXT, SCAN_LISTED };

static const char *const scan_states[] = { "next", "listed" };

static void
scan_seen(void *arg, const struct state_seen *s)
{
	struct scan              *x = arg;
	struct brainboard_object *o, *before;
	char                      uuid[UUID_LEN + 1];

	if (s->problem != NULL || !brainboard_name_uuid(x->bb, &x->bb->storages[x->at], s->name, uuid))
		return;
	before = map_get(x->found, span_str(uuid));
	if (before != NULL && s->modified < before->modified) {
		free(before->other);
		before->other = xstrdup(s->name);
		return;
	}
	o = xcalloc(1, sizeof(*o));
	*o = (struct brainboard_object){ .name = xstrdup(s->name), .size = s->size, .modified = s->modified, .locked = s->locked };
	memcpy(o->etag, s->etag, strnlen(s->etag, ETAG_MAX - 1));
	map_put(x->found, span_str(uuid), o);
	if (before == NULL)
		return;
	o->other = before->name;
	free(before->other);
	free(before);
}

/* A storage of one architecture that cannot be listed is no reason to stop for the others: that state is asked for, and gets the
 * error itself. */
static void
scan_unlisted(struct scan *x)
{
	struct brainboard        *bb = x->bb;
	struct brainboard_object *o = xcalloc(1, sizeof(*o));
	size_t                    i = 0;

	while (i < bb->nown && bb->own[i].storage != &bb->storages[x->at])
		i++;
	log_at(LOG_WARN, bb->b.label, "the storage of %s cannot be listed: %s", bb->own[i].uuid, x->op.res.msg);
	o->trouble = xmemdup(&x->op.res, sizeof(x->op.res));
	map_put(x->found, span_str(bb->own[i].uuid), o);
	err_clear(&x->op.res);
}

static enum op_turn
scan_step(struct op *op)
{
	struct scan       *x = container_of(op, struct scan, op);
	struct brainboard *bb = x->bb;

	switch ((enum scan_state)op->state) {
	case SCAN_NEXT:
		while (x->at < bb->nstorages && !bb->storages[x->at].listed)
			x->at++;
		if (x->at < bb->nstorages)
			return op_await(op, SCAN_LISTED, provider_list(bb->storages[x->at].b, scan_seen, x));
		brainboard_objects_free(bb->objects);
		bb->objects = x->found;
		x->found = NULL;
		bb->scanned = loop_now(op->loop);
		return op_ok(op);
	case SCAN_LISTED:
		if (op_failed(op) && (x->at == 0 || op->res.code == ERR_CANCELLED ||
		    (op->res.code == ERR_NOT_FOUND && bb->b.common.create)))
			return op_fail(op);
		if (op_failed(op))
			scan_unlisted(x);
		x->at++;
		return op_go(op, SCAN_NEXT);
	}
	return OP_DONE;
}

static void
scan_free(struct op *op)
{
	struct scan *x = container_of(op, struct scan, op);

	brainboard_objects_free(x->found);
	free(x);
}

static const struct op_class scan_class = { "brainboard storages", scan_step, NULL, scan_free, scan_states, ARRAY_LEN(scan_states) };

struct op *
brainboard_scan(struct brainboard *bb)
{
	struct scan *x = xcalloc(1, sizeof(*x));

	op_init(&x->op, &scan_class, bb->env->loop);
	x->bb = bb;
	x->found = map_new();
	return &x->op;
}

/* ---------------------------------------------------------------- handing out */

struct list {
	struct op          op;
	struct brainboard *bb;
	struct map        *names;  /* UUIDs to hand out, in that order */
	size_t             next;
	state_seen_fn     *seen;
	void              *arg;
};

enum list_state { LIST_START, LIST_REFRESHED, LIST_SCANNED, LIST_HAND_OUT };

static const char *const list_states[] = { "start", "refreshed", "scanned", "hand out" };

static void
list_add(struct list *l, const char *uuid)
{
	if (brainboard_selected(l->bb, uuid))
		map_put(l->names, span_str(uuid), l);
}

/* By what was found; by the inventory; by the configuration; and, where nobody can list, or the API does not answer, by what was known
 * before. */
static void
list_names(struct list *l)
{
	struct brainboard *bb = l->bb;
	struct span        name;
	char               uuid[UUID_LEN + 1];
	struct map        *known[] = { bb->objects, bb->inventory, bb->b.aliases };

	for (size_t m = 0; m < ARRAY_LEN(known); m++)
		for (size_t i = 0; known[m] != NULL && map_next(known[m], &i, &name, NULL);)
			if (uuid_lower(name, uuid) &&
			    (m < 2 || bb->inventory == NULL || !brainboard_storage_of(bb, uuid)->listed))
				list_add(l, uuid);
	for (size_t i = 0; i < bb->conf->architectures.n; i++)
		if (uuid_lower(span_of(bb->conf->architectures.items[i], UUID_LEN), uuid))
			list_add(l, uuid);
	for (size_t i = 0; i < bb->nown; i++)
		list_add(l, bb->own[i].uuid);
}

static void
list_hand_out(struct list *l, const char *uuid)
{
	struct brainboard               *bb = l->bb;
	const struct brainboard_storage *s = brainboard_storage_of(bb, uuid);
	const struct brainboard_object  *o = map_get(bb->objects, span_str(uuid));
	struct state_seen                seen = { .name = uuid, .etag = "" };
	char                            *why;

	if (o != NULL) {
		seen.etag = o->etag;
		seen.size = o->size;
		seen.modified = o->modified;
		seen.locked = o->locked;
	} else if (s->b == NULL || s->listed) {
		seen.uncovered = s->b == NULL ? LIST_MANAGED : LIST_NOTHING;
	}
	l->seen(l->arg, &seen);
	if (o == NULL || o->other == NULL)
		return;
	why = xasprintf("holds the state of %s too, and is not the newer one: %s is taken", uuid, o->name);
	l->seen(l->arg, &(struct state_seen){ .name = o->other, .etag = "", .problem = why,
	    .hint = "remove the one that Brainboard does not use, or say with key which it is" });
	free(why);
}

static void
list_trouble(struct list *l)
{
	struct brainboard *bb = l->bb;

	if (bb->trouble.code != ERR_OK)
		l->seen(l->arg, &(struct state_seen){ .name = "", .etag = "", .problem = bb->trouble.msg, .why = bb->trouble.code,
		    .hint = bb->trouble.hint[0] != '\0' ? bb->trouble.hint : "states that are known go on; new architectures are not seen" });
}

/* Without an inventory nobody knows what is selected, or what there is where nothing can be listed. */
static bool
list_is_blind(const struct list *l)
{
	const struct brainboard *bb = l->bb;

	return bb->trouble.code != ERR_OK && bb->inventory == NULL && bb->b.aliases == NULL && bb->conf->architectures.n == 0 &&
	    (bb->selects || !bb->storages[0].listed);
}

static enum op_turn
list_step(struct op *op)
{
	struct list       *l = container_of(op, struct list, op);
	struct brainboard *bb = l->bb;
	struct span        name;
	char               uuid[UUID_LEN + 1];

	switch ((enum list_state)op->state) {
	case LIST_START:
		if (bb->api == NULL || (bb->refresh_at != 0 && loop_now(op->loop) < bb->refresh_at))
			return op_go(op, LIST_REFRESHED);
		return op_await(op, LIST_REFRESHED, brainboard_refresh(bb));
	case LIST_REFRESHED:
		if (op_failed(op))
			return op_fail(op);
		if (list_is_blind(l)) {
			bb->refresh_at = 0;
			op->res = bb->trouble;
			return op_fail(op);
		}
		return op_await(op, LIST_SCANNED, brainboard_scan(bb));
	case LIST_SCANNED:
		if (op_failed(op)) {
			err_unprefix(&op->res, bb->b.label);
			return op_fail(op);
		}
		list_names(l);
		list_trouble(l);
		__attribute__((fallthrough));
	case LIST_HAND_OUT:
		if (op_failed(op))
			return op_fail(op);
		for (size_t n = 0; n < LIST_CHUNK; n++) {
			if (!map_next(l->names, &l->next, &name, NULL))
				return op_ok(op);
			if (uuid_lower(name, uuid))
				list_hand_out(l, uuid);
		}
		return op_await(op, LIST_HAND_OUT, op_sleep(op->loop, 0));
	}
	return OP_DONE;
}

static void
list_free(struct op *op)
{
	struct list *l = container_of(op, struct list, op);

	map_free(l->names);
	free(l);
}

static const struct op_class list_class = { "brainboard list", list_step, NULL, list_free, list_states, ARRAY_LEN(list_states) };

struct op *
brainboard_list(struct backend *b, state_seen_fn *seen, void *arg)
{
	struct list *l = xcalloc(1, sizeof(*l));

	l->bb = brainboard_of(b);
	l->names = map_new();
	op_init(&l->op, &list_class, b->env->loop);
	l->seen = seen;
	l->arg = arg;
	return &l->op;
}
