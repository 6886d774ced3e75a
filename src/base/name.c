/* SPDX-License-Identifier: MIT */
#include "base/name.h"

#include <stdlib.h>

#include "base/mem.h"

/* --- UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF --- */

/* Length of the character at p, 0: not one. */
static size_t
utf8_char(const uint8_t *p, size_t n)
{
	static const struct {
		uint8_t  mask, lead;
		uint32_t min;
	} forms[] = { { 0x80, 0x00, 0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };
	uint32_t v;

	for (size_t len = 1; len <= 4 && len <= n; len++) {
		if ((p[0] & forms[len - 1].mask) != forms[len - 1].lead)
			continue;
		v = p[0] & (uint8_t)~forms[len - 1].mask;
		for (size_t i = 1; i < len; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			v = v << 6 | (p[i] & 0x3f);
		}
		return v < forms[len - 1].min || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0 : len;
	}
	return 0;
}

bool
utf8_valid(struct span s)
{
	size_t len;

	for (size_t i = 0; i < s.n; i += len)
		if ((len = utf8_char(s.p + i, s.n - i)) == 0)
			return false;
	return true;
}

/* --- names --- */

static bool
name_has_control(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f || (s.p[i] == 0xc2 && i + 1 < s.n && s.p[i + 1] >= 0x80 && s.p[i + 1] < 0xa0))
			return true;
	return false;
}

/* The segment that begins at *pos; moves *pos behind its "/". */
static struct span
name_segment(struct span s, size_t *pos)
{
	size_t start = *pos, end = start;

	while (end < s.n && s.p[end] != '/')
		end++;
	*pos = end + 1;
	return span_of(s.p + start, end - start);
}

enum err_code
name_check(struct span name, struct err *reterr)
{
	if (name.n == 0)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "the name is empty");
	if (name.n > NAME_MAX_LEN)
		return err_set(reterr, ERR_UNSUPPORTED, 0, "the name is longer than %d bytes", NAME_MAX_LEN);
	if (!utf8_valid(name))
		return err_set(reterr, ERR_UNSUPPORTED, 0, "the name is not UTF-8");
	if (name_has_control(name))
		return err_set(reterr, ERR_UNSUPPORTED, 0, "the name holds a control character");
	if (name.p[0] == '/')
		return err_set(reterr, ERR_UNSUPPORTED, 0, "the name begins with \"/\"");
	for (size_t pos = 0; pos <= name.n;) {
		struct span seg = name_segment(name, &pos);

		if (span_is(seg, ".") || span_is(seg, ".."))
			return err_set(reterr, ERR_UNSUPPORTED, 0, "the name holds a \"%.*s\" segment", (int)seg.n, (const char *)seg.p);
	}
	return ERR_OK;
}

bool
name_is_never_state(struct span name)
{
	struct span last = { NULL, 0 };

	for (size_t pos = 0; pos <= name.n;) {
		last = name_segment(name, &pos);
		if (pos <= name.n && (span_is(last, ".terraform") || span_is(last, ".terragrunt-cache") || span_is(last, ".stateferry")))
			return true;
	}
	return span_ends(last, ".tflock") || span_ends(last, ".lock.info") || span_ends(last, ".backup") ||
	    span_is(last, "errored.tfstate") || span_is(last, "crash.log");
}

/* --- globs --- */

/* Backtracks only to the last "*" and the last "**", so that the time is bounded by pattern × name. */
bool
glob_match(const char *pattern, struct span name)
{
	const char *p = pattern, *star = NULL, *cross = NULL;
	size_t      i = 0, star_at = 0, cross_at = 0;

	for (;;) {
		if (p[0] == '*' && p[1] == '*') {
			p += 2;
			if (*p == '/' && (i == 0 || name.p[i - 1] == '/')) /* a double star with its slash also matches no segment at all */
				p++;
			cross = p;
			cross_at = i;
			star = NULL;
		} else if (*p == '*') {
			star = ++p;
			star_at = i;
		} else if (i < name.n && *p != '\0' && ((*p == '?' && name.p[i] != '/') || (uint8_t)*p == name.p[i])) {
			p++;
			i++;
		} else if (i == name.n && *p == '\0') {
			return true;
		} else if (star != NULL && star_at < name.n && name.p[star_at] != '/') {
			i = ++star_at;
			p = star;
		} else if (cross != NULL && cross_at < name.n) {
			i = ++cross_at;
			p = cross;
			star = NULL;
		} else {
			return false;
		}
	}
}

/* --- did you mean --- */

static size_t
min3(size_t a, size_t b, size_t c)
{
	return a < b ? (a < c ? a : c) : (b < c ? b : c);
}

/* Levenshtein distance, one row at a time; words are arguments and keys, not texts. */
#define NAME_WORD_MAX 64

static size_t
name_distance(const char *a, const char *b)
{
	size_t row[NAME_WORD_MAX + 1], n = strlen(a), m = strlen(b), diagonal, up;

	if (n > NAME_WORD_MAX || m > NAME_WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			up = row[j];
			row[j] = min3(up + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = up;
		}
	}
	return row[m];
}

const char *
name_closest(const char *word, const char *const *list)
{
	size_t      limit = strlen(word) > 8 ? 3 : 2, best = limit + 1, d;
	const char *found = NULL;

	for (; *list != NULL; list++) {
		d = name_distance(word, *list);
		if (d < best && d < strlen(word)) {
			best = d;
			found = *list;
		}
	}
	return found;
}
