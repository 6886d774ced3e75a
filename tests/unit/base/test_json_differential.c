/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "../../lib/test.h"

/*
 * Our reader beside jansson: the same documents accepted, the same values found in them. Jansson is
 * stricter in ways that are known: it refuses invalid UTF-8, halves of surrogate pairs, NUL in keys,
 * numbers beyond its C types. It allows deeper nesting.
 */
struct tree {
	json_t *top, *open[JSON_DEPTH_MAX + 1];
	char   *key[JSON_DEPTH_MAX + 1];
	size_t  key_n[JSON_DEPTH_MAX + 1];
	bool    cut;       /* a text was too long for us to compare */
};

static void
tree_add(struct tree *t, unsigned depth, json_t *v)
{
	if (depth == 0)
		t->top = v;
	else if (json_is_array(t->open[depth - 1]))
		json_array_append_new(t->open[depth - 1], v);
	else
		json_object_setn_new_nocheck(t->open[depth - 1], t->key[depth], t->key_n[depth], v);
}

static json_t *
tree_number(struct span text)
{
	char *s = span_dup(text);
	bool  real = strpbrk(s, ".eE") != NULL;

	errno = 0;
	json_t *v = real ? json_real(strtod(s, NULL)) : json_integer(strtoll(s, NULL, 10));

	free(s);
	return v;
}

static enum json_want
tree_event(void *arg, const struct json_token *t)
{
	struct tree *tree = arg;
	json_t      *v = NULL;

	tree->cut = tree->cut || t->cut;
	switch (t->event) {
	case JSON_EV_KEY:
		free(tree->key[t->depth]);
		tree->key[t->depth] = span_dup(t->text);
		tree->key_n[t->depth] = t->text.n;
		return JSON_WANT;
	case JSON_EV_OBJECT_END:
	case JSON_EV_ARRAY_END:
		return JSON_WANT;
	case JSON_EV_OBJECT:
		v = json_object();
		break;
	case JSON_EV_ARRAY:
		v = json_array();
		break;
	case JSON_EV_STRING:
		v = json_stringn_nocheck((const char *)t->text.p, t->text.n);
		break;
	case JSON_EV_NUMBER:
		v = tree_number(t->text);
		break;
	default:
		v = t->event == JSON_EV_NULL ? json_null() : json_boolean(t->event == JSON_EV_TRUE);
		break;
	}
	tree_add(tree, t->depth, v);
	if (t->event == JSON_EV_OBJECT || t->event == JSON_EV_ARRAY)
		tree->open[t->depth] = v;
	return JSON_WANT;
}

static bool
jansson_is_stricter(const json_error_t *e)
{
	switch (json_error_code(e)) {
	case json_error_invalid_utf8:
	case json_error_null_character:
	case json_error_null_byte_in_key:
	case json_error_numeric_overflow:
		return true;
	default:
		return strncmp(e->text, "invalid Unicode", 15) == 0;
	}
}

static unsigned agreed_good, agreed_bad, compared, stricter;

static void
check(const uint8_t *body, size_t n)
{
	struct tree         t = { 0 };
	struct json_reader *r = json_reader_new(tree_event, &t);
	struct err          e = { 0 };
	json_error_t        je;
	json_t             *theirs = json_loadb((const char *)body, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);
	enum err_code       rc = json_feed(r, body, n / 2, &e);

	if (rc == ERR_OK)
		rc = json_feed(r, body + n / 2, n - n / 2, &e);
	if (rc == ERR_OK)
		rc = json_end(r, &e);
	json_reader_free(r);
	if (rc == ERR_OK && theirs == NULL && !jansson_is_stricter(&je))
		test_fail(__FILE__, __LINE__, "accepted, but jansson says %s: %.*s", je.text, (int)n, (const char *)body);
	if (rc != ERR_OK && theirs != NULL && rc != ERR_UNSUPPORTED)
		test_fail(__FILE__, __LINE__, "refused (%s), but jansson does not: %.*s", e.msg, (int)n, (const char *)body);
	if (rc == ERR_OK && theirs != NULL && !t.cut) {
		compared++;
		if (!json_equal(t.top, theirs))
			test_fail(__FILE__, __LINE__, "another value than jansson's: %.*s", (int)n, (const char *)body);
	}
	agreed_good += rc == ERR_OK && theirs != NULL;
	agreed_bad += rc != ERR_OK && theirs == NULL;
	stricter += rc == ERR_OK && theirs == NULL;
	json_decref(theirs);
	json_decref(t.top);
	for (size_t i = 0; i < JSON_DEPTH_MAX + 1; i++)
		free(t.key[i]);
}

/* ---- generated documents ---- */

static uint64_t seed = 88172645463325252u;

static uint64_t
pick(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static void
put_blanks(struct buf *b)
{
	static const char *const blanks[] = { "", "", "", " ", "\n", "\t", "\r\n", "          ", "\n        " };

	buf_puts(b, blanks[pick(sizeof(blanks) / sizeof(blanks[0]))]);
}

static void
put_string(struct buf *b)
{
	static const char *const parts[] = {
		"a", "key", "\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\u00e9", "\\ud83d\\ude00", "\xc3\xa9", "\xe6\x97\xa5",
		"\xf0\x9f\x98\x80", " ", "{", "\\u2028", "longer than a word of eight bytes", "\x7f", "\\b\\f\\r\\t",
		"\\u0000", "\\ud800", "\xff",
	};

	buf_putc(b, '"');
	for (uint64_t n = pick(6); n > 0; n--)
		/* The last three, which jansson refuses, are rare. */
		buf_puts(b, parts[pick(sizeof(parts) / sizeof(parts[0]) - (pick(50) == 0 ? 0 : 3))]);
	buf_putc(b, '"');
}

static void
put_number(struct buf *b)
{
	static const char *const numbers[] = {
		"0", "-0", "1", "42", "-17", "9223372036854775807", "-9223372036854775808", "0.5", "-1.25e3", "1E2", "1e-300",
		"123456789012345", "3.141592653589793", "1e400", "9223372036854775808",
	};

	buf_puts(b, numbers[pick(sizeof(numbers) / sizeof(numbers[0]) - (pick(50) == 0 ? 0 : 2))]);
}

static void
put_value(struct buf *b, unsigned depth)
{
	uint64_t kind = pick(depth > 6 ? 5 : 9);
	bool     object = kind % 2 == 0;

	put_blanks(b);
	if (kind < 2)
		put_string(b);
	else if (kind < 4)
		put_number(b);
	else if (kind == 4)
		buf_puts(b, (const char *const[]){ "true", "false", "null" }[pick(3)]);
	else {
		buf_putc(b, object ? '{' : '[');
		for (uint64_t i = 0, n = pick(6); i < n; i++) {
			put_blanks(b);
			if (i > 0)
				buf_putc(b, ',');
			put_blanks(b);
			if (object) {
				put_string(b);
				put_blanks(b);
				buf_putc(b, ':');
			}
			put_value(b, depth + 1);
		}
		put_blanks(b);
		buf_putc(b, object ? '}' : ']');
	}
	put_blanks(b);
}

/* Small damage: where parsers differ. No NUL, which jansson overlooks behind a number. */
static void
mutate(struct buf *b)
{
	static const char bytes[] = "{}[]\",:\\/ \n\t01eE+-.utfnalsr\x01\x80\xff'";
	size_t            at = pick(b->len);

	switch (pick(4)) {
	case 0:
		b->data[at] = (uint8_t)bytes[pick(sizeof(bytes) - 1)];
		break;
	case 1:
		memmove(b->data + at, b->data + at + 1, b->len - at - 1);
		b->len--;
		break;
	case 2:
		buf_putc(b, 0);
		memmove(b->data + at + 1, b->data + at, b->len - at - 1);
		b->data[at] = (uint8_t)bytes[pick(sizeof(bytes) - 1)];
		break;
	default:
		b->len = at;
		break;
	}
}

static void
agrees_over_generated(void)
{
	struct buf b;

	agreed_good = agreed_bad = compared = stricter = 0;
	buf_init(&b, 0);
	for (int i = 0; i < 6000; i++) {
		buf_reset(&b);
		put_value(&b, 0);
		check(b.data, b.len);
		for (int k = 0; k < 4 && b.len > 0; k++) {
			mutate(&b);
			check(b.data, b.len);
		}
	}
	buf_free(&b);
	printf("# %u accepted, %u refused by both, %u values compared, %u refused by jansson alone\n", agreed_good, agreed_bad,
	    compared, stricter);
	CHECK(agreed_good > 5000 && agreed_bad > 5000 && compared > 5000 && stricter > 10);
}

/* ---- files ---- */

static unsigned
check_folder(const char *folder)
{
	unsigned       n = 0;
	size_t         size;
	char           path[512];
	struct dirent *d;
	DIR           *dir;

	dir = opendir(test_path(folder));
	if (dir == NULL)
		test_fail(__FILE__, __LINE__, "%s: %s", folder, strerror(errno));
	while ((d = readdir(dir)) != NULL) {
		if (d->d_type == DT_DIR || d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, d->d_name);
		const char *body = test_read(path, &size);

		check((const uint8_t *)body, size);
		n++;
	}
	closedir(dir);
	return n;
}

static void
agrees_over_files(void)
{
	unsigned n;

	n = check_folder("golden/state") + check_folder("golden/state/bad") + check_folder("golden/state/seq") +
	    check_folder("golden/state/synthetic") + check_folder("golden/state/workdir");
	CHECK(n > 50);
	CHECK(check_folder("fuzz/corpus/json") > 20);
	CHECK(check_folder("fuzz/corpus/state_scan") > 20);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "agrees with jansson over generated documents", agrees_over_generated },
	    { "agrees with jansson over files", agrees_over_files },
	    { NULL, NULL },
	});
}
