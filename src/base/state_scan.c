/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "base/state_scan_impl.h"
#include "base/utf8.h"

/*
 * The streaming JSON reader tells keys and values; a table of places says which of them matter, what type
 * they must have and who takes them. Everything else is skipped (and still checked) inside the reader.
 */

void
state_fault(struct state_scan *s, enum scope scope, const char *fmt, ...)
{
	va_list ap;

	if (s->faults[scope][0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(s->faults[scope], sizeof(s->faults[scope]), fmt, ap);
	va_end(ap);
}

/* ---- header ---- */

static bool
state_is_digits(const struct json_token *t)
{
	for (size_t i = 0; i < t->text.n; i++)
		if (t->text.p[i] < '0' || t->text.p[i] > '9')
			return false;
	return true;
}

/* Digits only, as Go reads a uint64. */
static bool
state_u64(const struct json_token *t, uint64_t *ret)
{
	uint64_t v = 0;

	if (t->cut)
		return false;
	for (size_t i = 0; i < t->text.n; i++) {
		unsigned digit = (unsigned)t->text.p[i] - '0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*ret = v;
	return true;
}

static void
state_take_version(struct state_scan *s, const struct json_token *t)
{
	uint64_t v = 0;

	s->has_version = t->event != JSON_EV_NULL;
	if (!s->has_version)
		return;
	if (!state_u64(t, &v))
		state_fault(s, IN_VERSION, "version is not a positive whole number");
	s->info.version = v > UINT_MAX ? UINT_MAX : (unsigned)v;
}

static void
state_take_serial(struct state_scan *s, const struct json_token *t)
{
	if (!state_u64(t, &s->info.serial)) {
		state_fault(s, IN_HEADER, t->text.p[0] == '-' ? "serial is negative"
		    : state_is_digits(t) ? "serial is greater than 2^64-1" : "serial is not a whole number");
		return;
	}
	s->info.has_serial = true;
	s->info.serial_start = t->start;
	s->info.serial_end = t->end;
}

static void
state_take_lineage(struct state_scan *s, const struct json_token *t)
{
	s->lineage_odd = t->cut || t->text.n >= STATE_LINEAGE_MAX || memchr(t->text.p, 0, t->text.n) != NULL;
	if (s->lineage_odd)
		return;
	memcpy(s->info.lineage, t->text.p, t->text.n);
	s->info.lineage[t->text.n] = '\0';
	s->info.lineage_start = t->start;
	s->info.lineage_end = t->end;
}

/* Cut at a character, control characters left out: it is only shown. */
static void
state_take_writer(struct state_scan *s, const struct json_token *t)
{
	size_t   n = 0, len;
	uint32_t c;

	for (size_t i = 0; i < t->text.n; i += len) {
		len = utf8_next(t->text.p + i, t->text.n - i, &c);
		if (n + len >= sizeof(s->info.writer))
			break;
		if (c < 0x20 || c == 0x7F || (c == UTF8_BAD && len == 1))
			continue;
		memcpy(s->info.writer + n, t->text.p + i, len);
		n += len;
	}
	s->info.writer[n] = '\0';
}

static void
state_take_envelope(struct state_scan *s, const struct json_token *t)
{
	s->envelope = t->text.n == 0 ? ENVELOPE_NONE : span_is(t->text, "v0") ? ENVELOPE_V0 : ENVELOPE_OTHER;
}

static void
state_take_ciphertext(struct state_scan *s, const struct json_token *t)
{
	s->has_ciphertext = t->text.n > 0;
}

static void
state_take_error(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->looks_like_error = true;
}

static void
state_enter_outputs(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->v4.outputs = 0;
}

static void
state_count_output(struct state_scan *s, const struct json_token *key)
{
	(void)key;
	s->v4.outputs++;
}

/* ---- version 4: resources, instances ---- */

static void
state_enter_resources(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->v4 = (struct counts){ .outputs = s->v4.outputs };
	state_twins_clear(&s->twins);
}

/* Also at a second "instances" key: the last one wins. */
static void
state_enter_instances(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->block = (struct counts){ 0 };
	state_forget_waiting(s);
}

static void
state_enter_resource(struct state_scan *s, const struct json_token *t)
{
	state_enter_instances(s, t);
	s->mode = MODE_NONE;
	buf_reset(&s->module);
	buf_reset(&s->type);
	buf_reset(&s->name);
}

static void
state_leave_resource(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	if (s->mode == MODE_NONE || s->mode == MODE_OTHER)
		state_fault(s, IN_V4, "a resource's mode is neither managed nor data");
	s->v4.resources++;
	s->v4.instances += s->block.instances;
	s->v4.deposed += s->block.deposed;
	state_settle_waiting(s);
}

static void
state_take_mode(struct state_scan *s, const struct json_token *t)
{
	s->mode = span_is(t->text, "managed") ? MODE_MANAGED : span_is(t->text, "data") ? MODE_DATA : MODE_OTHER;
}

static void
state_take_module(struct state_scan *s, const struct json_token *t)
{
	state_set(&s->module, t->text);
}

static void
state_take_type(struct state_scan *s, const struct json_token *t)
{
	state_set(&s->type, t->text);
}

static void
state_take_name(struct state_scan *s, const struct json_token *t)
{
	state_set(&s->name, t->text);
}

static void
state_enter_instance(struct state_scan *s, const struct json_token *t)
{
	memset(&s->obj, 0, sizeof(s->obj));
	buf_reset(&s->key);
	state_hash_starts(s, t);
}

static void
state_leave_instance(struct state_scan *s, const struct json_token *t)
{
	s->obj.fingerprint = state_hash_stops(s, t);
	if (s->obj.deposed[0] != '\0')
		s->block.deposed++;
	else
		s->block.instances++;
	state_wait(s, &s->obj, buf_span(&s->key));
}

/* Terraform reads a double and drops its fraction; a tool that rewrote the file may have made 2.0 of 2. */
static bool
state_index(const struct json_token *t, int64_t *ret)
{
	struct json_token digits = *t;
	bool              minus = t->text.n > 0 && t->text.p[0] == '-';
	char             *text;
	double            v;
	uint64_t          whole;

	digits.text = span_of(t->text.p + minus, t->text.n - minus);
	if (state_u64(&digits, &whole) && whole <= INT64_MAX) {
		*ret = minus ? -(int64_t)whole : (int64_t)whole;
		return true;
	}
	text = span_dup(t->text);
	v = strtod(text, NULL);
	free(text);
	if (t->cut || !(v > -0x1p63 && v < 0x1p63))
		return false;
	*ret = (int64_t)v;
	return true;
}

static void
state_take_index_key(struct state_scan *s, const struct json_token *t)
{
	buf_reset(&s->key);
	s->obj.key_cut = false;
	if (t->event == JSON_EV_STRING) {
		s->obj.kind = KEY_STRING;
		s->obj.key_cut = t->cut;
		state_set(&s->key, t->text);
	} else if (t->event == JSON_EV_NUMBER) {
		s->obj.kind = KEY_INDEX;
		if (!state_index(t, &s->obj.index))
			state_fault(s, IN_V4, "an index_key is a number out of range");
	} else
		s->obj.kind = KEY_NONE;
}

static void
state_take_status(struct state_scan *s, const struct json_token *t)
{
	s->obj.tainted = span_is(t->text, "tainted");
	if (!s->obj.tainted && t->text.n > 0)
		state_fault(s, IN_V4, "an instance's status is unknown");
}

static void
state_take_deposed(struct state_scan *s, const struct json_token *t)
{
	memset(s->obj.deposed, 0, sizeof(s->obj.deposed));
	if (t->text.n == STATE_DEPOSED_LEN && memchr(t->text.p, 0, STATE_DEPOSED_LEN) == NULL)
		memcpy(s->obj.deposed, t->text.p, STATE_DEPOSED_LEN);
	else if (t->text.n > 0)
		state_fault(s, IN_V4, "a deposed key does not have 8 characters");
}

/* ---- the tables ---- */

#define ERROR(key)  { FIELD(key), TYPE_ALL, IN_HEADER, NOWHERE, state_take_error, "" }

static const struct field fields_top[] = {
	{ FIELD("version"), TYPE(JSON_EV_NUMBER) | TYPE(JSON_EV_NULL), IN_VERSION, NOWHERE, state_take_version,
	    "version is not a number" },
	{ FIELD("serial"), TYPE(JSON_EV_NUMBER), IN_HEADER, NOWHERE, state_take_serial, "serial is not a number" },
	{ FIELD("lineage"), TYPE(JSON_EV_STRING), IN_HEADER, NOWHERE, state_take_lineage, "lineage is not a string" },
	{ FIELD("terraform_version"), TYPE(JSON_EV_STRING), IN_HEADER, NOWHERE, state_take_writer,
	    "terraform_version is not a string" },
	{ FIELD("outputs"), TYPE(JSON_EV_OBJECT), IN_V4, OUTPUTS, NULL, "outputs is not an object" },
	{ FIELD("resources"), TYPE(JSON_EV_ARRAY), IN_V4, RESOURCES, NULL, "resources is not an array" },
	{ FIELD("check_results"), TYPE(JSON_EV_ARRAY), IN_V4, NOWHERE, NULL, "check_results is not an array" },
	{ FIELD("modules"), TYPE(JSON_EV_ARRAY), IN_V3, MODULES, NULL, "modules is not an array" },
	{ FIELD("encryption_version"), TYPE(JSON_EV_STRING), IN_ENVELOPE, NOWHERE, state_take_envelope,
	    "encryption_version is not a string" },
	{ FIELD("encrypted_data"), TYPE(JSON_EV_STRING), IN_ENVELOPE, NOWHERE, state_take_ciphertext,
	    "encrypted_data is not a string" },
	/* What servers call things in their error answers. */
	ERROR("error"), ERROR("errors"), ERROR("error_description"), ERROR("message"), ERROR("msg"), ERROR("detail"),
	ERROR("title"), ERROR("code"), ERROR("status"), ERROR("statusCode"), ERROR("reason"),
	{ 0 },
};

static const struct field fields_resource[] = {
	{ FIELD("module"), TYPE(JSON_EV_STRING), IN_V4, NOWHERE, state_take_module, "a resource's module is not a string" },
	{ FIELD("mode"), TYPE(JSON_EV_STRING), IN_V4, NOWHERE, state_take_mode, "a resource's mode is not a string" },
	{ FIELD("type"), TYPE(JSON_EV_STRING), IN_V4, NOWHERE, state_take_type, "a resource's type is not a string" },
	{ FIELD("name"), TYPE(JSON_EV_STRING), IN_V4, NOWHERE, state_take_name, "a resource's name is not a string" },
	{ FIELD("instances"), TYPE(JSON_EV_ARRAY), IN_V4, INSTANCES, NULL, "a resource's instances are not an array" },
	{ 0 },
};

static const struct field fields_instance[] = {
	{ FIELD("index_key"), TYPE(JSON_EV_STRING) | TYPE(JSON_EV_NUMBER) | TYPE(JSON_EV_NULL), IN_V4, NOWHERE,
	    state_take_index_key, "an index_key is neither a string nor a number" },
	{ FIELD("status"), TYPE(JSON_EV_STRING), IN_V4, NOWHERE, state_take_status, "an instance's status is not a string" },
	{ FIELD("deposed"), TYPE(JSON_EV_STRING), IN_V4, NOWHERE, state_take_deposed, "a deposed key is not a string" },
	{ 0 },
};

ITEM(output, JSON_EV_OBJECT, IN_V4, NOWHERE, NULL, "an output is not an object");
ITEM(resource, JSON_EV_OBJECT, IN_V4, RESOURCE, NULL, "a resource is not an object");
ITEM(instance, JSON_EV_OBJECT, IN_V4, INSTANCE, NULL, "an instance is not an object");

static const struct place_info places[] = {
	[TOP] = { NOWHERE, fields_top, NULL, NULL, NULL, NULL },
	[OUTPUTS] = { TOP, NULL, state_count_output, &item_output, state_enter_outputs, NULL },
	[RESOURCES] = { TOP, NULL, NULL, &item_resource, state_enter_resources, NULL },
	[RESOURCE] = { RESOURCES, fields_resource, NULL, NULL, state_enter_resource, state_leave_resource },
	[INSTANCES] = { RESOURCE, NULL, NULL, &item_instance, state_enter_instances, NULL },
	[INSTANCE] = { INSTANCES, fields_instance, NULL, NULL, state_enter_instance, state_leave_instance },
};

/* ---- from events to the tables ---- */

static const struct place_info *
state_place(enum place p)
{
	return p < MODULES ? &places[p] : &state_old_places[p - MODULES];
}

static enum json_want
state_key(struct state_scan *s, const struct json_token *t)
{
	const struct place_info *here = state_place(s->place);

	if (here->any != NULL) {
		here->any(s, t);
		s->field = here->item;
		return here->item == NULL ? JSON_SKIP_TEXT : JSON_WANT;
	}
	/* Go looks for keys without regard to case. */
	for (const struct field *f = here->fields; f->key != NULL; f++) {
		if (t->text.n != f->n || strncasecmp((const char *)t->text.p, f->key, f->n) != 0)
			continue;
		s->field = f;
		if (f->types != TYPE_ALL)
			return JSON_WANT;
		f->take(s, t);
		return JSON_SKIP_TEXT;
	}
	return JSON_SKIP_TEXT;
}

static enum json_want
state_value(struct state_scan *s, const struct json_token *t)
{
	bool                     container = t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY;
	const struct place_info *here;
	const struct field      *f;

	if (s->place == NOWHERE) {
		s->top = t->event;
		if (t->event != JSON_EV_OBJECT)
			return JSON_SKIP_TEXT;
		s->place = TOP;
		return JSON_WANT;
	}
	here = state_place(s->place);
	f = here->fields == NULL ? here->item : s->field;
	if ((f->types & TYPE(t->event)) == 0) {
		if (t->event != JSON_EV_NULL || here->item != NULL)
			state_fault(s, f->scope, "%s", f->fault);
		return JSON_SKIP_TEXT;
	}
	if (!container) {
		f->take(s, t);
		return JSON_WANT;
	}
	if (f->opens == NOWHERE)
		return JSON_SKIP_TEXT;
	s->place = f->opens;
	here = state_place(s->place);
	if (here->enter != NULL)
		here->enter(s, t);
	return JSON_WANT;
}

static enum json_want
state_event(void *arg, const struct json_token *t)
{
	struct state_scan       *s = arg;
	const struct place_info *here;

	switch (t->event) {
	case JSON_EV_KEY:
		return state_key(s, t);
	case JSON_EV_OBJECT_END:
	case JSON_EV_ARRAY_END:
		here = state_place(s->place);
		if (here->leave != NULL)
			here->leave(s, t);
		s->place = here->parent;
		return JSON_WANT;
	default:
		return state_value(s, t);
	}
}

/* ---- feeding ---- */

struct state_scan *
state_scan_new(state_object_fn *fn, void *arg)
{
	struct state_scan *s = xcalloc(1, sizeof(*s));

	s->fn = fn;
	s->arg = arg;
	s->blank = true;
	s->place = NOWHERE;
	s->reader = json_reader_new(state_event, s);
	buf_init(&s->module, STATE_PATH_MAX);
	buf_init(&s->type, JSON_TEXT_MAX);
	buf_init(&s->name, JSON_TEXT_MAX);
	buf_init(&s->key, JSON_TEXT_MAX);
	buf_init(&s->waiting_keys, STATE_WAITING_MAX);
	buf_init(&s->address, STATE_ADDRESS_MAX);
	return s;
}

void
state_scan_free(struct state_scan *s)
{
	if (s == NULL)
		return;
	json_reader_free(s->reader);
	free(s->waiting);
	free(s->keys);
	state_twins_free(&s->twins);
	buf_wipe_free(&s->module);
	buf_wipe_free(&s->type);
	buf_wipe_free(&s->name);
	buf_wipe_free(&s->key);
	buf_wipe_free(&s->waiting_keys);
	buf_wipe_free(&s->address);
	mem_wipe(s, sizeof(*s));
	free(s);
}

void
state_scan_feed(struct state_scan *s, const void *p, size_t n)
{
	size_t keep = n < STATE_HEAD_MAX - s->head_n ? n : STATE_HEAD_MAX - s->head_n;

	if (n == 0)
		return;
	memcpy(s->head + s->head_n, p, keep);
	s->head_n += keep;
	for (size_t i = 0; s->blank && i < n; i++)
		s->blank = strchr(" \t\r\n", ((const char *)p)[i]) != NULL && ((const char *)p)[i] != '\0';
	s->piece = s->hash_from = p;
	s->piece_at = s->info.size;
	s->info.size += n;
	/* The reader keeps its error for state_scan_end(). */
	if (json_feed(s->reader, p, n, NULL) == ERR_OK && s->hashing)
		state_hash_add(&s->hash, s->hash_from, (size_t)(s->piece + n - s->hash_from));
}

void
state_scan_end(struct state_scan *s, struct state_info *ret)
{
	const struct counts *c;

	s->info.kind = state_verdict(s);
	c = s->info.kind == STATE_V3 ? &s->v3 : &s->v4;
	if (s->info.kind == STATE_V4 || s->info.kind == STATE_V3) {
		s->info.resources = c->resources;
		s->info.instances = c->instances;
		s->info.deposed = c->deposed;
		s->info.outputs = c->outputs;
	}
	*ret = s->info;
}

void
state_scan_all(struct span body, struct state_info *ret)
{
	struct state_scan *s = state_scan_new(NULL, NULL);

	state_scan_feed(s, body.p, body.n);
	state_scan_end(s, ret);
	state_scan_free(s);
}
