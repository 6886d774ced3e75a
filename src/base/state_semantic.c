/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/state_scan.h"
#include "base/utf8.h"

/*
 * The digest is taken of a canonical text: no blanks, keys sorted, each string with the fewest escapes,
 * numbers as they are written, and without what writers change although nothing has changed. The body is
 * read into a tree that only points back into it, and that tree is printed in order.
 */
#define SEMANTIC_FLUSH 65536

enum semantic_type { SEMANTIC_OBJECT, SEMANTIC_ARRAY, SEMANTIC_STRING, SEMANTIC_OTHER };

/* A value, and the key it has in its object. Offsets are into the body; strings are without their quotes. */
struct semantic_node {
	uint32_t at, n;
	uint32_t key_at, key_n;
	uint32_t next;           /* in the same container; 0: last */
	uint32_t first;          /* child; 0: none */
	uint8_t  type;
	bool     plain, key_plain; /* ASCII without escapes: the canonical text is the text */
};

/* Where in a state a value is, as far as the rules care. */
enum semantic_place { ANYWHERE, TOP, RESOURCES, RESOURCE, INSTANCES, INSTANCE, CHECKS, CHECK, CHECK_OBJECTS };

enum semantic_rule { KEEP, DROP, DROP_NULL, DROP_EMPTY_ARRAY, DROP_ZERO };

static const struct {
	enum semantic_place in;
	const char         *key;
	enum semantic_rule  rule;
	enum semantic_place opens;
} semantic_rules[] = {
	{ TOP, "terraform_version", DROP, ANYWHERE },
	{ TOP, "serial", DROP, ANYWHERE },
	{ TOP, "lineage", DROP, ANYWHERE },
	{ TOP, "check_results", DROP_NULL, CHECKS },
	{ TOP, "resources", KEEP, RESOURCES },
	{ RESOURCE, "each", DROP, ANYWHERE },
	{ RESOURCE, "instances", KEEP, INSTANCES },
	{ INSTANCE, "sensitive_attributes", DROP_EMPTY_ARRAY, ANYWHERE },
	{ INSTANCE, "identity_schema_version", DROP_ZERO, ANYWHERE },
	{ CHECK, "objects", KEEP, CHECK_OBJECTS },
};

struct semantic {
	struct span           body;
	struct semantic_node *nodes;       /* [0] is a parent for the top value */
	size_t                n, cap;
	uint32_t              open[JSON_DEPTH_MAX + 2], last[JSON_DEPTH_MAX + 2]; /* containers, and their last child */
	unsigned              depth;
	uint32_t              key_at, key_n; /* of the value that comes next */
	bool                  key_plain;

	struct sha256        *hash;
	struct buf            out;         /* not hashed yet */
	unsigned              held;        /* within arrays that are sorted afterwards */
};

/* ---- the tree ---- */

static bool
semantic_is_plain(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] >= 0x80 || s.p[i] == '\\')
			return false;
	return true;
}

static struct semantic_node *
semantic_add(struct semantic *s)
{
	uint32_t              at = (uint32_t)s->n;
	struct semantic_node *node;

	if (s->n == s->cap) {
		s->cap = s->cap == 0 ? 256 : s->cap + s->cap / 2;
		s->nodes = xreallocarray(s->nodes, s->cap, sizeof(*s->nodes));
	}
	node = &s->nodes[s->n++];
	memset(node, 0, sizeof(*node));
	node->key_at = s->key_at;
	node->key_n = s->key_n;
	node->key_plain = s->key_plain;
	if (s->last[s->depth] == 0)
		s->nodes[s->open[s->depth]].first = at;
	else
		s->nodes[s->last[s->depth]].next = at;
	s->last[s->depth] = at;
	return node;
}

static enum json_want
semantic_event(void *arg, const struct json_token *t)
{
	struct semantic      *s = arg;
	struct semantic_node *node;
	bool                  quoted = t->event == JSON_EV_KEY || t->event == JSON_EV_STRING;
	uint32_t              at = (uint32_t)t->start + quoted, n = (uint32_t)(t->end - t->start) - 2 * quoted;

	switch (t->event) {
	case JSON_EV_KEY:
		s->key_at = at;
		s->key_n = n;
		s->key_plain = semantic_is_plain(span_of(s->body.p + at, n));
		return JSON_WANT;
	case JSON_EV_OBJECT_END:
	case JSON_EV_ARRAY_END:
		s->depth--;
		return JSON_WANT;
	default:
		break;
	}
	node = semantic_add(s);
	node->at = at;
	node->n = n;
	node->type = t->event == JSON_EV_OBJECT ? SEMANTIC_OBJECT : t->event == JSON_EV_ARRAY ? SEMANTIC_ARRAY
	    : t->event == JSON_EV_STRING ? SEMANTIC_STRING : SEMANTIC_OTHER;
	if (t->event == JSON_EV_STRING)
		node->plain = semantic_is_plain(span_of(s->body.p + at, n));
	if (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY) {
		s->open[++s->depth] = (uint32_t)(s->n - 1);
		s->last[s->depth] = 0;
	}
	return JSON_WANT;
}

/* ---- strings ---- */

static uint32_t
semantic_hex4(const uint8_t *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++)
		v = v << 4 | (p[i] <= '9' ? p[i] - (uint32_t)'0' : (p[i] | 0x20u) - 'a' + 10);
	return v;
}

/* The code point at raw[at], escapes resolved, and behind it. The grammar has been checked. */
static size_t
semantic_next(struct span raw, size_t at, uint32_t *ret)
{
	uint32_t c, low;

	if (raw.p[at] != '\\')
		return at + utf8_next(raw.p + at, raw.n - at, ret);
	if (raw.p[at + 1] != 'u') {
		c = raw.p[at + 1];
		*ret = c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
		return at + 2;
	}
	c = semantic_hex4(raw.p + at + 2);
	at += 6;
	*ret = c >= 0xD800 && c <= 0xDFFF ? UTF8_BAD : c;
	if (c < 0xD800 || c > 0xDBFF || raw.n - at < 6 || raw.p[at] != '\\' || raw.p[at + 1] != 'u')
		return at;
	low = semantic_hex4(raw.p + at + 2);
	if (low < 0xDC00 || low > 0xDFFF)
		return at;
	*ret = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	return at + 6;
}

/* By code point, which is the order of the bytes in UTF-8. */
static int
semantic_text_cmp(struct span a, bool a_plain, struct span b, bool b_plain)
{
	size_t   i = 0, j = 0;
	uint32_t x, y;
	int      sign;

	if (a_plain && b_plain) {
		sign = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
		return sign != 0 ? sign : a.n < b.n ? -1 : a.n > b.n;
	}
	while (i < a.n && j < b.n) {
		i = semantic_next(a, i, &x);
		j = semantic_next(b, j, &y);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return i < a.n ? 1 : j < b.n ? -1 : 0;
}

/* ---- output ---- */

static void
semantic_flush(struct semantic *s)
{
	sha256_add(s->hash, s->out.data, s->out.len);
	buf_reset(&s->out);
}

static void
semantic_put(struct semantic *s, const void *p, size_t n)
{
	if (s->held == 0 && s->out.len + n >= SEMANTIC_FLUSH) {
		if (s->out.len > 0)
			semantic_flush(s);
		if (n >= SEMANTIC_FLUSH) {
			sha256_add(s->hash, p, n);
			return;
		}
	}
	buf_put(&s->out, p, n);
}

static void
semantic_put_char(struct semantic *s, uint32_t c)
{
	static const char shorts[] = "btn\0fr"; /* U+0008 to U+000D */
	char              text[8];
	uint8_t           utf8[4];

	if (c >= 8 && c <= 13 && shorts[c - 8] != '\0') {
		text[0] = '\\';
		text[1] = shorts[c - 8];
		semantic_put(s, text, 2);
	} else if (c < 0x20) {
		snprintf(text, sizeof(text), "\\u%04" PRIx32, c);
		semantic_put(s, text, 6);
	} else {
		if (c == '"' || c == '\\')
			semantic_put(s, "\\", 1);
		semantic_put(s, utf8, utf8_put(utf8, c));
	}
}

static void
semantic_put_string(struct semantic *s, struct span raw, bool plain)
{
	uint32_t c;

	semantic_put(s, "\"", 1);
	if (plain)
		semantic_put(s, raw.p, raw.n);
	else
		for (size_t i = 0; i < raw.n;) {
			i = semantic_next(raw, i, &c);
			semantic_put_char(s, c);
		}
	semantic_put(s, "\"", 1);
}

/* ---- the tree in canonical order ---- */

static void semantic_put_node(struct semantic *s, const struct semantic_node *node, enum semantic_place place);

static struct span
semantic_text(const struct semantic *s, const struct semantic_node *node)
{
	return span_of(s->body.p + node->at, node->n);
}

struct semantic_member {
	struct span                 key;
	const struct semantic_node *node;
};

static int
semantic_member_cmp(const void *a, const void *b)
{
	const struct semantic_member *x = a, *y = b;
	int sign = semantic_text_cmp(x->key, x->node->key_plain, y->key, y->node->key_plain);

	return sign != 0 ? sign : x->node < y->node ? -1 : 1;
}

/* Is the member left out, and if not, where are we in it? */
static bool
semantic_drops(const struct semantic *s, enum semantic_place in, const struct semantic_member *m,
    enum semantic_place *ret_opens)
{
	*ret_opens = ANYWHERE;
	for (size_t i = 0; i < ARRAY_LEN(semantic_rules); i++) {
		if (semantic_rules[i].in != in ||
		    semantic_text_cmp(m->key, m->node->key_plain, span_str(semantic_rules[i].key), true) != 0)
			continue;
		*ret_opens = semantic_rules[i].opens;
		switch (semantic_rules[i].rule) {
		case KEEP:
			return false;
		case DROP:
			return true;
		case DROP_NULL:
			return m->node->type == SEMANTIC_OTHER && span_is(semantic_text(s, m->node), "null");
		case DROP_EMPTY_ARRAY:
			return m->node->type == SEMANTIC_ARRAY && m->node->first == 0;
		case DROP_ZERO:
			return m->node->type == SEMANTIC_OTHER && span_is(semantic_text(s, m->node), "0");
		}
	}
	return false;
}

static size_t
semantic_count(const struct semantic *s, const struct semantic_node *node)
{
	size_t n = 0;

	for (uint32_t i = node->first; i != 0; i = s->nodes[i].next)
		n++;
	return n;
}

static void
semantic_put_object(struct semantic *s, const struct semantic_node *node, enum semantic_place place)
{
	size_t                  n = semantic_count(s, node), filled = 0;
	struct semantic_member *m = xreallocarray(NULL, n + 1, sizeof(*m));
	enum semantic_place     opens;
	bool                    comma = false;

	for (uint32_t i = node->first; i != 0; i = s->nodes[i].next) {
		m[filled].node = &s->nodes[i];
		m[filled++].key = span_of(s->body.p + s->nodes[i].key_at, s->nodes[i].key_n);
	}
	qsort(m, n, sizeof(*m), semantic_member_cmp);
	semantic_put(s, "{", 1);
	for (size_t i = 0; i < n; i++) {
		/* Of equal keys the last one counts. */
		if (i + 1 < n &&
		    semantic_text_cmp(m[i].key, m[i].node->key_plain, m[i + 1].key, m[i + 1].node->key_plain) == 0)
			continue;
		if (semantic_drops(s, place, &m[i], &opens))
			continue;
		if (comma)
			semantic_put(s, ",", 1);
		comma = true;
		semantic_put_string(s, m[i].key, m[i].node->key_plain);
		semantic_put(s, ":", 1);
		semantic_put_node(s, m[i].node, opens);
	}
	semantic_put(s, "}", 1);
	free(m);
}

static int
semantic_span_cmp(const void *a, const void *b)
{
	return semantic_text_cmp(*(const struct span *)a, true, *(const struct span *)b, true);
}

/* The order in the file is random: by the text of the elements instead. */
static void
semantic_put_sorted(struct semantic *s, const struct semantic_node *node, enum semantic_place inside)
{
	size_t       n = semantic_count(s, node), begin = s->out.len, filled = 0;
	size_t      *ends = xreallocarray(NULL, n + 1, sizeof(*ends));
	struct span *item = xreallocarray(NULL, n + 1, sizeof(*item));
	uint8_t     *copy;

	s->held++;
	for (uint32_t i = node->first; i != 0; i = s->nodes[i].next) {
		semantic_put_node(s, &s->nodes[i], inside);
		ends[filled++] = s->out.len;
	}
	s->held--;
	copy = xmalloc(s->out.len - begin + 1);
	memcpy(copy, s->out.data + begin, s->out.len - begin);
	for (size_t i = 0; i < n; i++) {
		size_t from = i == 0 ? begin : ends[i - 1];

		item[i] = span_of(copy + (from - begin), ends[i] - from);
	}
	qsort(item, n, sizeof(*item), semantic_span_cmp);
	s->out.len = begin;
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			semantic_put(s, ",", 1);
		semantic_put(s, item[i].p, item[i].n);
	}
	free(copy);
	free(item);
	free(ends);
}

static void
semantic_put_array(struct semantic *s, const struct semantic_node *node, enum semantic_place place)
{
	static const enum semantic_place inside[] = {
		[RESOURCES] = RESOURCE, [INSTANCES] = INSTANCE, [CHECKS] = CHECK, [CHECK_OBJECTS] = ANYWHERE,
	};

	semantic_put(s, "[", 1);
	if (node->first == 0)
		;
	else if (place == CHECKS || place == CHECK_OBJECTS)
		semantic_put_sorted(s, node, inside[place]);
	else
		for (uint32_t i = node->first; i != 0; i = s->nodes[i].next) {
			if (i != node->first)
				semantic_put(s, ",", 1);
			semantic_put_node(s, &s->nodes[i], inside[place]);
		}
	semantic_put(s, "]", 1);
}

static void
semantic_put_node(struct semantic *s, const struct semantic_node *node, enum semantic_place place)
{
	switch ((enum semantic_type)node->type) {
	case SEMANTIC_OBJECT:
		semantic_put_object(s, node, place);
		break;
	case SEMANTIC_ARRAY:
		semantic_put_array(s, node, place);
		break;
	case SEMANTIC_STRING:
		semantic_put_string(s, semantic_text(s, node), node->plain);
		break;
	case SEMANTIC_OTHER:
		semantic_put(s, s->body.p + node->at, node->n);
		break;
	}
}

enum err_code
state_semantic_digest(struct span body, struct digest *ret, struct err *reterr)
{
	struct semantic     s = { .body = body };
	struct state_info   info;
	struct json_reader *r;
	enum err_code       rc;

	state_scan_all(body, &info);
	if (info.kind != STATE_V4)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "no state of version 4: %s",
		    info.why[0] != '\0' ? info.why : "another format");
	if (body.n >= UINT32_MAX)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "a state of 4 GiB or more");
	/* An invalid byte becomes three; nothing else grows. */
	buf_init(&s.out, 3 * body.n + 2 * SEMANTIC_FLUSH);
	s.hash = sha256_new();
	semantic_add(&s);
	r = json_reader_new(semantic_event, &s);
	rc = json_feed(r, body.p, body.n, reterr);
	if (rc == ERR_OK)
		rc = json_end(r, reterr);
	json_reader_free(r);
	if (rc == ERR_OK) {
		semantic_put_node(&s, &s.nodes[s.nodes[0].first], TOP);
		semantic_flush(&s);
		sha256_peek(s.hash, ret);
	}
	sha256_free(s.hash);
	buf_wipe_free(&s.out);
	free(s.nodes);
	return rc;
}
