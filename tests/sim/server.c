/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "sim.h"

/* What a server holds. Who asks is the business of apply.c; terraform and people change it here, at once. */

const char *
sim_kind_name(enum sim_kind k)
{
	static const char *const names[SIM_KINDS] = { "s3", "gcs", "azure", "http", "bare" };

	return names[k];
}

unsigned
server_caps(enum sim_kind k)
{
	static const unsigned caps[SIM_KINDS] = {
		[SIM_S3] = PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_CAS | PROVIDER_LOCK | PROVIDER_LOCK_ID,
		[SIM_GCS] = PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_CAS | PROVIDER_LOCK | PROVIDER_LOCK_ID,
		[SIM_AZURE] = PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_CAS | PROVIDER_LOCK | PROVIDER_LOCK_ID,
		[SIM_HTTP] = PROVIDER_LOCK | PROVIDER_LOCK_ID,
		[SIM_BARE] = PROVIDER_LIST | PROVIDER_IF_MATCH | PROVIDER_CAS,
	};

	return caps[k];
}

bool
server_locks(const struct sim_server *v)
{
	return (server_caps(v->kind) & PROVIDER_LOCK) != 0;
}

static bool
server_locks_by_object(const struct sim_server *v)
{
	return v->kind == SIM_S3 || v->kind == SIM_GCS;
}

struct sim_object *
server_find(struct sim_server *v, const char *name)
{
	for (size_t i = 0; i < v->nobjects; i++)
		if (strcmp(v->objects[i].name, name) == 0)
			return &v->objects[i];
	return NULL;
}

static struct sim_object *
server_make(struct sim *s, struct sim_server *v, const char *name)
{
	struct sim_object *o = server_find(v, name);

	if (o != NULL)
		return o;
	if (v->nobjects == SIM_OBJECTS)
		sim_fail(s, "I9", "%s: more than %d objects, the last is %s", v->label, SIM_OBJECTS, name);
	o = &v->objects[v->nobjects++];
	memset(o, 0, sizeof(*o));
	o->name = xstrdup(name);
	return o;
}

/* The change tag of S3 is made of the bytes: the same bytes again have the same tag. Others count. */
static void
server_tag(struct sim_server *v, struct sim_object *o)
{
	char hex[DIGEST_HEX];

	v->generation++;
	if (v->kind == SIM_S3)
		snprintf(o->tag, sizeof(o->tag), "%.32s", digest_hex(&o->digest, hex));
	else
		snprintf(o->tag, sizeof(o->tag), "%" PRIu64, v->generation);
}

void
server_put(struct sim *s, struct sim_server *v, const char *name, struct body *body)
{
	struct sim_object *o = server_make(s, v, name);
	struct state_info  i;

	body_unref(o->body);
	o->body = body == NULL ? NULL : body_ref(body);
	o->tag[0] = '\0';
	if (body == NULL)
		return;
	sha256_of(body_span(body).p, body_span(body).n, &o->digest);
	server_tag(v, o);
	if (person_asks(s)) {
		map_put(v == s->servers ? s->released : s->resolved, span_of(o->digest.b, DIGEST_LEN), s);
	}
	if (strstr(name, ".tflock") != NULL)
		return;
	state_scan_all(body_span(body), &i);
	if (!state_is_good(&i)) /* half of one: whoever goes on knows what it was */
		return;
	o->serial = i.serial;
	o->resources = i.resources + i.outputs;
	snprintf(o->lineage, sizeof(o->lineage), "%.63s", i.lineage);
}

/* --- locks --- */

static void
server_lock_name(const char *name, char ret[128])
{
	snprintf(ret, 128, "%.100s.tflock", name);
}

const char *
server_lock_of(struct sim_server *v, const char *name, char id[256])
{
	static struct lock_info l;
	static char             text[LOCK_BODY_MAX + 1];
	struct sim_object      *o;
	char                    lock[128];

	id[0] = '\0';
	server_lock_name(name, lock);
	o = server_find(v, server_locks_by_object(v) ? lock : name);
	if (o != NULL && !server_locks_by_object(v)) {
		snprintf(id, 256, "%s", o->lock_id);
		return o->lock;
	}
	if (o == NULL || o->body == NULL)
		return NULL;
	snprintf(text, sizeof(text), "%.*s", (int)body_span(o->body).n, (const char *)body_span(o->body).p);
	lock_info_parse(body_span(o->body), &l, NULL);
	snprintf(id, 256, "%s", l.id);
	return text;
}

void
server_lock(struct sim *s, struct sim_server *v, const char *name, const char *body, const char *id)
{
	struct sim_object *o;
	struct body       *b;
	char               lock[128];

	server_lock_name(name, lock);
	if (server_locks_by_object(v)) {
		b = body_copy(span_str(body));
		server_put(s, v, lock, b);
		body_unref(b);
		return;
	}
	o = server_make(s, v, name);
	free(o->lock);
	o->lock = xstrdup(body);
	snprintf(o->lock_id, sizeof(o->lock_id), "%s", id);
}

void
server_unlock(struct sim *s, struct sim_server *v, const char *name)
{
	struct sim_object *o = server_find(v, name);
	char               lock[128];

	server_lock_name(name, lock);
	if (server_locks_by_object(v)) {
		server_put(s, v, lock, NULL);
		return;
	}
	if (o == NULL)
		return;
	free(o->lock);
	o->lock = NULL;
	o->lock_id[0] = '\0';
}
