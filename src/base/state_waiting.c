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

/* ---- objects that wait for the address of their block ---- */

void
state_forget_waiting(struct state_scan *s)
{
	s->waiting_n = s->waiting_cost = 0;
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
state_tell_waiting(struct state_scan *s)
{
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
			state_tell_waiting(s);
			s->waiting_cost = STATE_WAITING_COST + key.n;
		} else {
			s->unnamed = true;
			state_forget_waiting(s);
		}
	}
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

/* ---- instances that are there twice ---- */

static int
state_twin_cmp(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Names from a file that is damaged, for a message. */
static void
state_printable(struct span s, char *ret, size_t size)
{
	size_t n = s.n < size - 1 ? s.n : size - 1;

	for (size_t i = 0; i < n; i++)
		ret[i] = s.p[i] >= 0x20 && s.p[i] < 0x7F ? (char)s.p[i] : '?';
	ret[n] = '\0';
}

void
state_find_twins(struct state_scan *s)
{
	char type[40], name[40];

	if (s->twins_n > 1)
		qsort(s->twins, s->twins_n, sizeof(*s->twins), state_twin_cmp);
	for (size_t i = 1; i < s->twins_n; i++) {
		if (s->twins[i] != s->twins[i - 1])
			continue;
		state_printable(buf_span(&s->type), type, sizeof(type));
		state_printable(buf_span(&s->name), name, sizeof(name));
		state_fault(s, IN_V4, "an instance of %s.%s is there twice", type, name);
		break;
	}
	s->twins_n = 0;
}

void
state_add_twin(struct state_scan *s)
{
	struct state_hash h;
	uint8_t           kind = (uint8_t)s->obj.kind;

	if (s->obj.key_cut)
		return;
	state_hash_begin(&h);
	state_hash_add(&h, &kind, 1);
	state_hash_add(&h, (const uint8_t *)s->obj.deposed, sizeof(s->obj.deposed));
	if (s->obj.kind == KEY_INDEX)
		state_hash_add(&h, (const uint8_t *)&s->obj.index, sizeof(s->obj.index));
	if (s->obj.kind == KEY_STRING)
		state_hash_add(&h, s->key.data, s->key.len);
	if (s->twins_n == STATE_TWINS_MAX)
		state_find_twins(s);
	if (s->twins_n == s->twins_cap) {
		s->twins_cap = s->twins_cap == 0 ? 64 : 2 * s->twins_cap;
		s->twins = xreallocarray(s->twins, s->twins_cap, sizeof(*s->twins));
	}
	s->twins[s->twins_n++] = state_hash_end(&h);
}
