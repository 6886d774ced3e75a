/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "body.h"
#include "serve/document.h"

/*
 * show: what a version says, for people. Marked values are masked: sensitive_attributes, sensitive outputs, and `private`
 * always. The only place where a state is parsed as a whole, and only to look at it.
 */
#define SHOW_MAX    ((uint64_t)64 << 20)
#define SHOW_MASKED "(sensitive)"

struct show {
	struct op     op;
	struct call  *c;
	struct wanted w;
	struct body  *body;
	char         *address;      /* only this one, and what is below it; NULL: all */
	bool          reveal;
	char        **addresses;    /* of every instance object, in the order of the file */
	size_t        naddresses, next;
};

static void
show_free(struct op *op)
{
	struct show *s = container_of(op, struct show, op);

	for (size_t i = 0; i < s->naddresses; i++)
		free(s->addresses[i]);
	free(s->addresses);
	free(s->address);
	body_unref(s->body);
	wanted_free(&s->w);
	free(s);
}

/* --- masking --- */

/* The container that a step of a path looks into: a value of dynamic type is wrapped as {"value", "type"}. */
static json_t *
show_unwrap(json_t *v, const char *name)
{
	if (json_is_object(v) && json_object_size(v) == 2 && json_object_get(v, "value") != NULL &&
	    json_object_get(v, "type") != NULL && (name == NULL || json_object_get(v, name) == NULL))
		return json_object_get(v, "value");
	return v;
}

/* Every text of what is being masked: a provider that echoes it elsewhere, unmarked, shall not give it away. */
#define SHOW_ECHO_MIN 3 /* shorter ones are everywhere */

static void
show_note_secret(struct map *secrets, json_t *v)
{
	const char *key;
	json_t     *child;
	size_t      i;

	if (json_is_string(v) && json_string_length(v) >= SHOW_ECHO_MIN)
		map_put(secrets, span_str(json_string_value(v)), secrets);
	json_object_foreach(v, key, child)
		show_note_secret(secrets, child);
	json_array_foreach(v, i, child)
		show_note_secret(secrets, child);
}

static bool
show_is_secret(const struct map *secrets, const json_t *v)
{
	return json_is_string(v) && map_get(secrets, span_str(json_string_value(v))) != NULL;
}

static void
show_mask_echoes(const struct map *secrets, json_t *v)
{
	const char *key;
	json_t     *child;
	void       *tmp;
	size_t      i;

	json_object_foreach_safe(v, tmp, key, child) {
		if (show_is_secret(secrets, child))
			json_object_set_new(v, key, json_string(SHOW_MASKED));
		else
			show_mask_echoes(secrets, child);
	}
	json_array_foreach(v, i, child) {
		if (show_is_secret(secrets, child))
			json_array_set_new(v, i, json_string(SHOW_MASKED));
		else
			show_mask_echoes(secrets, child);
	}
}

/* Replaces what the path from step i on leads to. A path that leads nowhere masks nothing. */
static void
show_mask_step(struct map *secrets, json_t *container, json_t *path, size_t i)
{
	json_t     *step = json_array_get(path, i), *key = json_object_get(step, "value"), *index;
	const char *name = json_string_value(key);
	bool        last = i + 1 == json_array_size(path);

	if (json_is_object(key)) { /* an index: {"value": 0, "type": "number"} */
		index = json_object_get(key, "value");
		name = json_string_value(index);
	} else {
		index = key;
	}
	container = show_unwrap(container, name);
	if (name != NULL && json_is_object(container) && json_object_get(container, name) != NULL) {
		if (last) {
			show_note_secret(secrets, json_object_get(container, name));
			json_object_set_new(container, name, json_string(SHOW_MASKED));
		} else {
			show_mask_step(secrets, json_object_get(container, name), path, i + 1);
		}
	} else if (json_is_integer(index) && json_is_array(container)) {
		size_t n = (size_t)json_integer_value(index);

		if (last && n < json_array_size(container)) {
			show_note_secret(secrets, json_array_get(container, n));
			json_array_set_new(container, n, json_string(SHOW_MASKED));
		} else {
			show_mask_step(secrets, json_array_get(container, n), path, i + 1);
		}
	}
}

static void
show_mask_instance(struct map *secrets, json_t *instance)
{
	json_t *path;
	size_t  i;

	json_array_foreach(json_object_get(instance, "sensitive_attributes"), i, path)
		if (json_array_size(path) > 0)
			show_mask_step(secrets, json_object_get(instance, "attributes"), path, 0);
}

/* First everything that is marked, then whatever repeats it. */
static void
show_mask(json_t *doc)
{
	struct map *secrets = map_new();
	json_t     *resource, *instance, *output;
	const char *name;
	size_t      i, j;

	json_array_foreach(json_object_get(doc, "resources"), i, resource)
		json_array_foreach(json_object_get(resource, "instances"), j, instance)
			show_mask_instance(secrets, instance);
	json_object_foreach(json_object_get(doc, "outputs"), name, output) {
		if (!json_is_true(json_object_get(output, "sensitive")))
			continue;
		show_note_secret(secrets, json_object_get(output, "value"));
		json_object_set_new(output, "value", json_string(SHOW_MASKED));
	}
	json_array_foreach(json_object_get(doc, "resources"), i, resource)
		json_array_foreach(json_object_get(resource, "instances"), j, instance)
			show_mask_echoes(secrets, json_object_get(instance, "attributes"));
	json_object_foreach(json_object_get(doc, "outputs"), name, output)
		show_mask_echoes(secrets, output);
	map_free(secrets);
}

/* --- writing --- */

static void
show_json(struct json_writer *w, const char *key, json_t *v)
{
	char *text = v == NULL ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

	json_key(w, key);
	if (text != NULL)
		json_raw(w, span_str(text));
	else
		json_nil(w);
	free(text);
}

static bool
show_wants(const struct show *s, const char *address)
{
	size_t n;

	if (s->address == NULL || strcmp(s->address, address) == 0)
		return true;
	n = strlen(s->address);
	return strncmp(s->address, address, n) == 0 && (address[n] == '[' || address[n] == '.');
}

/* Is there anything to show of what was asked for? */
static bool
show_has(const struct show *s)
{
	bool has = s->address == NULL;

	for (size_t i = 0; !has && i < s->naddresses; i++)
		has = show_wants(s, s->addresses[i]);
	return has;
}

static void
show_instance(struct show *s, json_t *resource, json_t *instance)
{
	struct json_writer *w = &s->c->w;
	const char         *address = s->next < s->naddresses ? s->addresses[s->next++] : "?";
	const char         *status = json_string_value(json_object_get(instance, "status"));

	if (!show_wants(s, address))
		return;
	json_obj(w);
	json_kv_str(w, "address", address);
	json_kv_str(w, "mode", json_string_value(json_object_get(resource, "mode")));
	json_kv_str(w, "type", json_string_value(json_object_get(resource, "type")));
	json_kv_str(w, "provider", json_string_value(json_object_get(resource, "provider")));
	json_kv_bool(w, "tainted", status != NULL && strcmp(status, "tainted") == 0);
	json_kv_str(w, "deposed", json_string_value(json_object_get(instance, "deposed")));
	show_json(w, "attributes", json_object_get(instance, "attributes") != NULL ? json_object_get(instance, "attributes") :
	    json_object_get(instance, "attributes_flat"));
	json_obj_end(w);
}

static void
show_outputs(struct show *s, json_t *outputs)
{
	struct json_writer *w = &s->c->w;
	const char         *name;
	json_t             *o;

	json_key(w, "outputs");
	json_obj(w);
	json_object_foreach(outputs, name, o) {
		bool sensitive = json_is_true(json_object_get(o, "sensitive"));

		if (s->address != NULL)
			continue;
		json_key(w, name);
		json_obj(w);
		show_json(w, "value", json_object_get(o, "value"));
		show_json(w, "type", json_object_get(o, "type"));
		json_kv_bool(w, "sensitive", sensitive);
		json_obj_end(w);
	}
	json_obj_end(w);
}

static void
show_write(struct show *s, json_t *doc)
{
	struct json_writer *w = &s->c->w;
	char                hex[DIGEST_HEX], address[2300];
	json_t             *resource, *instance;
	size_t              i, j;

	snprintf(address, sizeof(address), "%s:%s", s->w.backend, s->w.name);
	json_kv_str(w, "state", address);
	json_kv_u64(w, "version", s->w.version);
	json_kv_u64(w, "serial", s->w.serial);
	json_kv_str(w, "lineage", json_string_value(json_object_get(doc, "lineage")));
	json_kv_str(w, "terraform_version", json_string_value(json_object_get(doc, "terraform_version")));
	json_kv_u64(w, "size", s->w.size);
	json_kv_str(w, "sha256", digest_hex(&s->w.digest, hex));
	json_key(w, "resources");
	json_arr(w);
	json_array_foreach(json_object_get(doc, "resources"), i, resource)
		json_array_foreach(json_object_get(resource, "instances"), j, instance)
			show_instance(s, resource, instance);
	json_arr_end(w);
	show_outputs(s, json_object_get(doc, "outputs"));
}

/* --- reading --- */

static void
show_note_address(void *arg, const struct state_object *o)
{
	struct show *s = arg;

	s->addresses = xreallocarray(s->addresses, s->naddresses + 1, sizeof(*s->addresses));
	s->addresses[s->naddresses++] = span_dup(o->address);
}

static enum err_code
show_job(struct work_job *job, void *arg, struct err *reterr)
{
	struct show       *s = arg;
	struct state_scan *scan = state_scan_new(show_note_address, s);
	struct state_info  info;
	json_t            *doc;
	struct span        bytes = body_span(s->body);

	(void)job;
	state_scan_feed(scan, bytes.p, bytes.n);
	state_scan_end(scan, &info);
	state_scan_free(scan);
	doc = info.kind == STATE_V4 ? document_load((const char *)bytes.p, bytes.n) : NULL;
	if (doc == NULL) {
		err_set(reterr, ERR_UNSUPPORTED, 0, "version %" PRIu64 " of %s:%s cannot be shown: %s", s->w.version, s->w.backend,
		    s->w.name, info.kind != STATE_V4 ? "it is no plain state of format 4" : "it holds JSON that this view cannot read");
		return err_hint(reterr, "stateferry cat %s:%s@%" PRIu64, s->w.backend, s->w.name, s->w.version);
	}
	if (!show_has(s)) {
		json_decref(doc);
		err_set(reterr, ERR_NOT_FOUND, 0, "version %" PRIu64 " of %s:%s has no resource %s", s->w.version, s->w.backend,
		    s->w.name, s->address);
		return err_hint(reterr, "stateferry show %s:%s@%" PRIu64 " shows all", s->w.backend, s->w.name, s->w.version);
	}
	if (!s->reveal)
		show_mask(doc);
	show_write(s, doc);
	json_decref(doc);
	return ERR_OK;
}

enum show_state { SHOW_START, SHOW_LOADED, SHOW_WRITTEN };

static const char *const show_states[] = { "start", "loaded", "written" };

static enum op_turn
show_step(struct op *op)
{
	struct show *s = container_of(op, struct show, op);

	switch ((enum show_state)op->state) {
	case SHOW_START:
		return op_await(op, SHOW_LOADED, store_body_load(engine_store(s->c->e), &s->w.digest, &s->body));
	case SHOW_LOADED:
		if (op_failed(op))
			return op_fail(op);
		if (body_size(s->body) > SHOW_MAX || !body_in_memory(s->body)) {
			err_set(&op->res, ERR_UNSUPPORTED, 0, "%s:%s is too large to be shown", s->w.backend, s->w.name);
			err_hint(&op->res, "stateferry cat %s:%s@%" PRIu64, s->w.backend, s->w.name, s->w.version);
			return op_fail(op);
		}
		return op_await(op, SHOW_WRITTEN, work_run(engine_work(s->c->e), show_job, s));
	case SHOW_WRITTEN:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class show_class = { "show", show_step, NULL, show_free, show_states, ARRAY_LEN(show_states) };

struct op *
api_show(struct call *c, struct err *reterr)
{
	struct show *s = xcalloc(1, sizeof(*s));

	op_init(&s->op, &show_class, engine_loop(c->e));
	s->c = c;
	s->address = xstrdup(call_arg(c, "address"));
	s->reveal = call_flag(c, "reveal");
	if (call_version(c, &s->w, reterr) == ERR_OK)
		return &s->op;
	op_free(&s->op);
	return NULL;
}
