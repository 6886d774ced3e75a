/* SPDX-License-Identifier: MIT */
#include "state_rig.h"

static struct span
objects_copy(struct span s)
{
	return span_of(span_dup(s), s.n);
}

void
objects_add(void *arg, const struct state_object *o)
{
	struct objects *all = arg;

	if (all->n == all->cap) {
		all->cap = all->cap == 0 ? 64 : 2 * all->cap;
		all->o = xreallocarray(all->o, all->cap, sizeof(*all->o));
	}
	all->o[all->n] = *o;
	all->o[all->n].address = objects_copy(o->address);
	all->o[all->n++].deposed = objects_copy(o->deposed);
}

void
objects_free(struct objects *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free((void *)all->o[i].address.p);
		free((void *)all->o[i].deposed.p);
	}
	free(all->o);
	memset(all, 0, sizeof(*all));
}

void
scan_pieces(const char *body, size_t n, size_t size, struct objects *all, struct state_info *ret)
{
	struct state_scan *s = state_scan_new(all == NULL ? NULL : objects_add, all);

	if (size == 0)
		size = n + 1;
	for (size_t at = 0; at < n; at += size) {
		size_t take = n - at < size ? n - at : size;
		void  *piece = xmemdup(body + at, take);

		state_scan_feed(s, piece, take);
		free(piece);
	}
	state_scan_end(s, ret);
	state_scan_free(s);
}

const char *
scan_json(const char *text)
{
	static char bodies[2][2048], *body;
	size_t      n = strlen(text);

	CHECK(n < sizeof(bodies[0]));
	body = body == bodies[0] ? bodies[1] : bodies[0];
	for (size_t i = 0; i <= n; i++)
		body[i] = text[i] == '\'' ? '"' : text[i];
	return body;
}

struct state_info
scan_text(const char *text)
{
	struct state_info info;

	state_scan_all(span_str(scan_json(text)), &info);
	return info;
}

const char *
golden_state(const char *name, size_t *ret_n)
{
	char path[256];

	snprintf(path, sizeof(path), "golden/state/%s", name);
	return test_read(path, ret_n);
}

void
check_kind(const char *text, enum state_kind kind, const char *why)
{
	struct state_info info = scan_text(text);

	if (info.kind != kind || strcmp(info.why, why) != 0)
		test_fail(__FILE__, __LINE__, "%s: kind %d, \"%s\", not %d, \"%s\"", text, info.kind, info.why, kind, why);
}

void
check_told(const char *text, const char *expected)
{
	const char       *body = scan_json(text);
	struct objects    all = { 0 };
	struct state_info info;
	struct buf        b;

	scan_pieces(body, strlen(body), 0, &all, &info);
	CHECK_STR(info.why, "");
	buf_init(&b, 0);
	for (size_t i = 0; i < all.n; i++) {
		buf_put(&b, all.o[i].address.p, all.o[i].address.n);
		if (all.o[i].deposed.n > 0)
			buf_putc(&b, ' ');
		buf_put(&b, all.o[i].deposed.p, all.o[i].deposed.n);
		buf_puts(&b, all.o[i].tainted ? "!\n" : "\n");
	}
	CHECK_STR(buf_str(&b), scan_json(expected));
	buf_free(&b);
	objects_free(&all);
}
