/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "base/state_scan_impl.h"

/* ---- fingerprints ---- */

void
state_hash_starts(struct state_scan *s, const struct json_token *t)
{
	if (s->fn == NULL)
		return;
	state_hash_begin(&s->hash);
	s->hashing = true;
	s->hash_from = s->piece + (t->start - s->piece_at);
}

uint64_t
state_hash_stops(struct state_scan *s, const struct json_token *t)
{
	const uint8_t *end = s->piece + (t->end - s->piece_at);

	if (!s->hashing)
		return 0;
	s->hashing = false;
	state_hash_add(&s->hash, s->hash_from, (size_t)(end - s->hash_from));
	return state_hash_end(&s->hash);
}

/* ---- instances that are there twice ---- */

/* Names from a file that is damaged, for a message. */
static void
state_printable(struct span s, char *ret, size_t size)
{
	size_t n = s.n < size - 1 ? s.n : size - 1;

	for (size_t i = 0; i < n; i++)
		ret[i] = s.p[i] >= 0x20 && s.p[i] < 0x7F ? (char)s.p[i] : '?';
	ret[n] = '\0';
}

/* What tells an instance from the others of its block. A key of which only the beginning is known tells nothing. */
static void
state_add_key(struct state_scan *s, const struct waiting *w, struct span key)
{
	struct state_hash h;
	uint8_t           kind = (uint8_t)w->kind;

	if (w->key_cut || w->kind == KEY_ENTRY)
		return;
	state_hash_begin(&h);
	state_hash_add(&h, &kind, 1);
	state_hash_add(&h, (const uint8_t *)w->deposed, sizeof(w->deposed));
	if (w->kind == KEY_INDEX)
		state_hash_add(&h, (const uint8_t *)&w->index, sizeof(w->index));
	else
		state_hash_add(&h, key.p, key.n);
	if (s->keys_n == s->keys_cap) {
		s->keys_cap = s->keys_cap == 0 ? 64 : 2 * s->keys_cap;
		s->keys = xreallocarray(s->keys, s->keys_cap, sizeof(*s->keys));
	}
	s->keys[s->keys_n++] = state_hash_end(&h);
}

static uint64_t
state_hash_block(const struct state_scan *s)
{
	const struct buf *parts[] = { &s->module, &s->type, &s->name };
	struct state_hash h;
	uint8_t           mode = (uint8_t)s->mode;

	state_hash_begin(&h);
	state_hash_add(&h, &mode, 1);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		state_hash_add(&h, parts[i]->data, parts[i]->len);
		state_hash_add(&h, (const uint8_t *)"", 1);
	}
	return state_hash_end(&h);
}

static void
state_find_twins(struct state_scan *s)
{
	uint64_t block = s->keys_n > 0 ? state_hash_block(s) : 0;
	char     type[40], name[40];

	for (size_t i = 0; i < s->keys_n; i++) {
		if (state_twins_add(&s->twins, (s->keys[i] ^ block) * STATE_HASH_ODD))
			continue;
		state_printable(buf_span(&s->type), type, sizeof(type));
		state_printable(buf_span(&s->name), name, sizeof(name));
		state_fault(s, IN_V4, "an instance of %s.%s is there twice", type, name);
	}
}

/* ---- objects that wait for the address of their block ---- */

void
state_forget_waiting(struct state_scan *s)
{
	s->waiting_n = s->waiting_cost = s->keys_n = 0;
	buf_reset(&s->waiting_keys);
}

/* Tells one object; the address holds that of its block, and does again afterwards. */
static void
state_tell(struct state_scan *s, const struct waiting *w)
{
	struct span         key = span_of(s->waiting_keys.data + w->key_at, w->key_n);
	size_t              block = s->address.len;
	struct state_object o = { .tainted = w->tainted, .fingerprint = w->fingerprint };

	switch (w->kind) {
	case KEY_NONE:
		break;
	case KEY_INDEX:
		state_address_index(&s->address, w->index);
		break;
	case KEY_STRING:
		state_address_key(&s->address, key);
		break;
	case KEY_ENTRY:
		state_address_v3(&s->address, buf_span(&s->module), key);
		break;
	}
	o.address = buf_span(&s->address);
	o.deposed = span_str(w->deposed);
	s->fn(s->arg, &o);
	s->address.len = block;
}

void
state_settle_waiting(struct state_scan *s)
{
	state_find_twins(s);
	buf_reset(&s->address);
	if (s->waiting_n > 0 && s->waiting[0].kind != KEY_ENTRY)
		state_address_block(&s->address, buf_span(&s->module), s->mode == MODE_DATA, buf_span(&s->type),
		    buf_span(&s->name));
	for (size_t i = 0; i < s->waiting_n; i++)
		state_tell(s, &s->waiting[i]);
	state_forget_waiting(s);
}

/* Are those keys there that an address is made of? */
static bool
state_block_is_named(const struct state_scan *s, enum key_kind kind)
{
	return kind == KEY_ENTRY ? s->path_steps > 0 : s->mode != MODE_NONE && s->type.len > 0 && s->name.len > 0;
}

/* The cost is the same with and without fn, so that the verdict is. */
void
state_wait(struct state_scan *s, const struct waiting *w, struct span key)
{
	s->waiting_cost += STATE_WAITING_COST + key.n;
	if (s->waiting_cost > STATE_WAITING_MAX) {
		if (state_block_is_named(s, w->kind)) {
			state_settle_waiting(s);
			s->waiting_cost = STATE_WAITING_COST + key.n;
		} else {
			s->unnamed = true;
			state_forget_waiting(s);
		}
	}
	state_add_key(s, w, key);
	if (s->fn == NULL)
		return;
	if (s->waiting_n == s->waiting_cap) {
		s->waiting_cap = s->waiting_cap == 0 ? 16 : 2 * s->waiting_cap;
		s->waiting = xreallocarray(s->waiting, s->waiting_cap, sizeof(*s->waiting));
	}
	s->waiting[s->waiting_n] = *w;
	s->waiting[s->waiting_n].key_at = s->waiting_keys.len;
	s->waiting[s->waiting_n++].key_n = key.n;
	buf_put(&s->waiting_keys, key.p, key.n);
}
