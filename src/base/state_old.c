/* SPDX-License-Identifier: MIT */
/* What is where in a state of the versions 1 to 3: modules, and entries in them. */
#include <inttypes.h>
#include <stdio.h>

#include "base/state_scan_impl.h"

static void
state_enter_modules(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->has_modules = true;
	s->v3 = (struct counts){ 0 };
}

static void
state_enter_module(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->block = (struct counts){ 0 };
	s->path_steps = 0;
	buf_reset(&s->module);
	state_forget_waiting(s);
}

static void
state_leave_module(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->v3.resources += s->block.resources;
	s->v3.instances += s->block.instances;
	s->v3.deposed += s->block.deposed;
	if (s->path_steps <= 1)
		s->v3.outputs += s->block.outputs;
	state_settle_waiting(s);
}

static void
state_enter_path(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->path_steps = 0;
	buf_reset(&s->module);
}

/* ["root", "net", "sub"] is module.net.module.sub. */
static void
state_take_step(struct state_scan *s, const struct json_token *t)
{
	if (s->path_steps++ == 0)
		return;
	if (s->module.len + t->text.n + sizeof(".module.") > s->module.max) {
		state_fault(s, IN_V3, "a module path is longer than STATE_PATH_MAX");
		return;
	}
	buf_puts(&s->module, s->module.len == 0 ? "module." : ".module.");
	buf_put(&s->module, t->text.p, t->text.n);
}

static void
state_enter_module_outputs(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->block.outputs = 0;
}

static void
state_count_module_output(struct state_scan *s, const struct json_token *key)
{
	(void)key;
	s->block.outputs++;
}

static void
state_enter_entries(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->block = (struct counts){ .outputs = s->block.outputs };
	state_forget_waiting(s);
}

static void
state_take_entry_key(struct state_scan *s, const struct json_token *key)
{
	state_set(&s->key, key->text);
}

static void
state_enter_entry(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->has_primary = false;
	s->entry_deposed = 0;
	s->block.resources++;
}

static void
state_leave_entry(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->block.deposed += s->entry_deposed;
	if (!s->has_primary)
		return;
	s->block.instances++;
	state_wait(s, &s->primary, buf_span(&s->key));
}

static void
state_enter_v3_object(struct state_scan *s, const struct json_token *t)
{
	memset(&s->obj, 0, sizeof(s->obj));
	s->obj.kind = KEY_ENTRY;
	state_hash_starts(s, t);
}

static void
state_leave_primary(struct state_scan *s, const struct json_token *t)
{
	s->obj.fingerprint = state_hash_stops(s, t);
	s->primary = s->obj;
	s->has_primary = true;
}

static void
state_enter_deposed_list(struct state_scan *s, const struct json_token *t)
{
	(void)t;
	s->entry_deposed = 0;
}

/* These have no keys of their own; terraform numbers them when it upgrades the state. */
static void
state_leave_v3_deposed(struct state_scan *s, const struct json_token *t)
{
	s->obj.fingerprint = state_hash_stops(s, t);
	s->entry_deposed++;
	snprintf(s->obj.deposed, sizeof(s->obj.deposed), "%08" PRIu32, (uint32_t)(s->entry_deposed % 100000000));
	state_wait(s, &s->obj, buf_span(&s->key));
}

static void
state_take_tainted(struct state_scan *s, const struct json_token *t)
{
	s->obj.tainted = t->event == JSON_EV_TRUE;
}

static const struct field fields_module[] = {
	{ FIELD("path"), TYPE(JSON_EV_ARRAY), IN_V3, PATH, NULL, "a module's path is not an array" },
	{ FIELD("outputs"), TYPE(JSON_EV_OBJECT), IN_V3, MODULE_OUTPUTS, NULL, "a module's outputs are not an object" },
	{ FIELD("resources"), TYPE(JSON_EV_OBJECT), IN_V3, ENTRIES, NULL, "a module's resources are not an object" },
	{ 0 },
};

static const struct field fields_entry[] = {
	{ FIELD("primary"), TYPE(JSON_EV_OBJECT), IN_V3, PRIMARY, NULL, "a resource's primary is not an object" },
	{ FIELD("deposed"), TYPE(JSON_EV_ARRAY), IN_V3, DEPOSED_LIST, NULL, "a resource's deposed is not an array" },
	{ 0 },
};

static const struct field fields_v3_object[] = {
	{ FIELD("tainted"), TYPE_BOOL, IN_V3, NOWHERE, state_take_tainted, "a resource's tainted is not a boolean" },
	{ 0 },
};

ITEM(module, JSON_EV_OBJECT, IN_V3, MODULE, NULL, "a module is not an object");
ITEM(step, JSON_EV_STRING, IN_V3, NOWHERE, state_take_step, "a step of a module path is not a string");
ITEM(entry, JSON_EV_OBJECT, IN_V3, ENTRY, NULL, "a resource is not an object");
ITEM(deposed, JSON_EV_OBJECT, IN_V3, DEPOSED, NULL, "a deposed resource is not an object");

const struct place_info state_old_places[] = {
	[MODULES - MODULES] = { TOP, NULL, NULL, &item_module, state_enter_modules, NULL },
	[MODULE - MODULES] = { MODULES, fields_module, NULL, NULL, state_enter_module, state_leave_module },
	[PATH - MODULES] = { MODULE, NULL, NULL, &item_step, state_enter_path, NULL },
	[MODULE_OUTPUTS - MODULES] = { MODULE, NULL, state_count_module_output, NULL, state_enter_module_outputs, NULL },
	[ENTRIES - MODULES] = { MODULE, NULL, state_take_entry_key, &item_entry, state_enter_entries, NULL },
	[ENTRY - MODULES] = { ENTRIES, fields_entry, NULL, NULL, state_enter_entry, state_leave_entry },
	[PRIMARY - MODULES] = { ENTRY, fields_v3_object, NULL, NULL, state_enter_v3_object, state_leave_primary },
	[DEPOSED_LIST - MODULES] = { ENTRY, NULL, NULL, &item_deposed, state_enter_deposed_list, NULL },
	[DEPOSED - MODULES] = { DEPOSED_LIST, fields_v3_object, NULL, NULL, state_enter_v3_object, state_leave_v3_deposed },
};
