/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "sim.h"

/* A request has arrived: the server does it, as its kind does, and the invariants are asked before anything changes. */

static bool
object_is_there(const struct sim_object *o)
{
	return o != NULL && o->body != NULL;
}

static bool
name_is_lock(const char *name)
{
	return strstr(name, ".tflock") != NULL;
}

static void
apply_list(struct sim_message *m)
{
	struct sim_server *v = m->at;
	char               id[256];

	m->list = xcalloc(SIM_OBJECTS, sizeof(*m->list));
	for (size_t i = 0; i < v->nobjects; i++) {
		struct sim_object *o = &v->objects[i];
		struct sim_listed *l = &m->list[m->nlist];

		if (o->body == NULL || name_is_lock(o->name))
			continue;
		l->name = xstrdup(o->name);
		snprintf(l->tag, sizeof(l->tag), "%s", (server_caps(v->kind) & PROVIDER_LIST) != 0 ? o->tag : "");
		l->size = body_size(o->body);
		l->locked = server_lock_of(v, o->name, id) != NULL;
		m->nlist++;
	}
}

static void
apply_get(struct sim_message *m, const struct sim_object *o)
{
	if (!object_is_there(o)) {
		err_set(&m->outcome, ERR_NOT_FOUND, 404, "no object %s", m->name);
		return;
	}
	snprintf(m->got_tag, sizeof(m->got_tag), "%s", (server_caps(m->at->kind) & PROVIDER_IF_MATCH) != 0 ? o->tag : "");
	if (m->tag[0] != '\0' && strcmp(m->tag, o->tag) == 0) {
		err_set(&m->outcome, ERR_UNCHANGED, 304, "unchanged");
		return;
	}
	m->got = body_ref(o->body);
}

static bool
apply_condition_holds(const struct sim_message *m, const struct sim_object *o)
{
	switch (m->when) {
	case PUT_ABSENT:
		return !object_is_there(o);
	case PUT_MATCH:
		return object_is_there(o) && strcmp(o->tag, m->tag) == 0;
	case PUT_UNDER_LOCK:
		break;
	}
	return true;
}

/* Azure refuses a write without the lease that is on the blob, or with one that is not; HTTP a POST whose ID is not the holder's. */
static bool
apply_lock_fits(const struct sim_message *m, const struct sim_object *o)
{
	const char *holder = o != NULL ? o->lock_id : "";

	if (m->at->kind != SIM_AZURE && m->at->kind != SIM_HTTP)
		return true;
	return strcmp(holder, m->lock_id) == 0;
}

static void
apply_put(struct sim_message *m, struct sim_object *o)
{
	if (!apply_condition_holds(m, o)) {
		err_set(&m->outcome, ERR_CONFLICT, 412, "%s: the precondition does not hold", m->name);
		return;
	}
	if (!apply_lock_fits(m, o)) {
		err_set(&m->outcome, ERR_CONFLICT, 409, "%s: not the lock that is on it", m->name);
		return;
	}
	check_put(m, o, m->body);
	server_put(m->sim, m->at, m->name, m->body);
	o = server_find(m->at, m->name);
	snprintf(m->got_tag, sizeof(m->got_tag), "%s", (server_caps(m->at->kind) & PROVIDER_IF_MATCH) != 0 ? o->tag : "");
}

static void
apply_del(struct sim_message *m, struct sim_object *o)
{
	char *dot, state[128], id[256];

	if (!object_is_there(o)) {
		err_set(&m->outcome, ERR_NOT_FOUND, 404, "no object %s", m->name);
		return;
	}
	if (m->tag[0] != '\0' && strcmp(m->tag, o->tag) != 0) {
		err_set(&m->outcome, ERR_CONFLICT, 412, "%s: the precondition does not hold", m->name);
		return;
	}
	snprintf(state, sizeof(state), "%.100s", m->name);
	if ((dot = strstr(state, ".tflock")) == NULL)
		sim_fail(m->sim, "I3", "agent %u deletes %s:%s", m->from->index, m->at->label, m->name);
	*dot = '\0';
	server_lock_of(m->at, state, id);
	check_lock_goes(m, state, id);
	server_put(m->sim, m->at, m->name, NULL);
}

static void
apply_lock(struct sim_message *m, struct sim_object *o)
{
	if (o != NULL && o->lock != NULL) {
		m->got_lock = xstrdup(o->lock);
		if (strcmp(o->lock_id, m->lock_id) != 0)
			err_set(&m->outcome, ERR_LOCKED, 423, "%s is locked", m->name);
		return;
	}
	check_grant(m->sim, m->at, (int)m->from->index, m->lock);
	server_lock(m->sim, m->at, m->name, m->lock, m->lock_id);
}

static void
apply_unlock(struct sim_message *m, struct sim_object *o)
{
	if (o == NULL || o->lock == NULL) {
		err_set(&m->outcome, ERR_NOT_FOUND, 404, "%s is not locked", m->name);
	} else if (strcmp(o->lock_id, m->lock_id) != 0) {
		m->got_lock = xstrdup(o->lock);
		err_set(&m->outcome, ERR_CONFLICT, 409, "%s is locked by another", m->name);
	} else {
		check_lock_goes(m, m->name, o->lock_id);
		server_unlock(m->sim, m->at, m->name);
	}
}

static void
apply_peek(struct sim_message *m, const struct sim_object *o)
{
	if (o == NULL || o->lock == NULL)
		err_set(&m->outcome, ERR_NOT_FOUND, 404, "%s is not locked", m->name);
	else
		m->got_lock = xstrdup(o->lock);
}

static void
answer_clear(struct sim_message *m)
{
	err_clear(&m->outcome);
	body_unref(m->got);
	free(m->got_lock);
	for (size_t i = 0; i < m->nlist; i++)
		free(m->list[i].name);
	free(m->list);
	m->got = NULL;
	m->got_lock = NULL;
	m->list = NULL;
	m->nlist = 0;
}

void
message_apply(struct sim_message *m)
{
	struct sim_object *o = m->name != NULL ? server_find(m->at, m->name) : NULL;

	answer_clear(m);
	switch (m->verb) {
	case VERB_LIST:
		apply_list(m);
		break;
	case VERB_HEAD:
	case VERB_GET:
		apply_get(m, o);
		break;
	case VERB_PUT:
		apply_put(m, o);
		break;
	case VERB_DEL:
		apply_del(m, o);
		break;
	case VERB_LOCK:
		apply_lock(m, o);
		break;
	case VERB_UNLOCK:
		apply_unlock(m, o);
		break;
	case VERB_PEEK:
		apply_peek(m, o);
		break;
	}
}
