/* SPDX-License-Identifier: MIT */
#include "base/name.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

/* --- names --- */

/* Of valid UTF-8. */
static bool
name_has_control(struct span s)
{
	uint32_t c;

	for (size_t i = 0; i < s.n;) {
		i += utf8_next(s.p + i, s.n - i, &c);
		if (utf8_is_control(c))
			return true;
	}
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
			return err_set(reterr, ERR_UNSUPPORTED, 0, "the name holds a \"%.*s\" segment", (int)seg.n,
			    (const char *)seg.p);
	}
	return ERR_OK;
}

/* "00000000000000000012-20261123T120000Z-ab12cd34ef56.tfstate": a snapshot that is not compressed. */
static bool
name_is_snapshot(struct span file)
{
	static const char form[] = "dddddddddddddddddddd-ddddddddTddddddZ-xxxxxxxxxxxx.tfstate";

	if (file.n != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < file.n; i++) {
		char c = (char)file.p[i];
		bool digit = c >= '0' && c <= '9';

		if (form[i] == 'd' ? !digit : form[i] == 'x' ? !digit && (c < 'a' || c > 'f') : c != form[i])
			return false;
	}
	return true;
}

bool
name_is_never_state(struct span name)
{
	struct span last = { NULL, 0 };

	for (size_t pos = 0; pos <= name.n;) {
		last = name_segment(name, &pos);
		if (pos <= name.n && (span_is(last, ".terraform") || span_is(last, ".terragrunt-cache") ||
		    span_is(last, ".stateferry")))
			return true;
	}
	return span_ends(last, ".tflock") || (span_starts(last, ".") && span_ends(last, ".lock.info")) ||
	    span_ends(last, ".backup") || span_is(last, "errored.tfstate") || span_is(last, "crash.log") ||
	    name_is_snapshot(last);
}

bool
uuid_lower(struct span text, char ret[UUID_LEN + 1])
{
	if (text.n != UUID_LEN)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		char c = (char)text.p[i];

		if (c >= 'A' && c <= 'F')
			c = (char)(c - 'A' + 'a');
		if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return false;
		ret[i] = c;
	}
	ret[text.n] = '\0';
	return true;
}

bool
name_uuid(struct span name, char ret[UUID_LEN + 1])
{
	for (size_t pos = 0; pos <= name.n;) {
		struct span seg = name_segment(name, &pos);
		const void *dot = seg.n > 0 ? memchr(seg.p, '.', seg.n) : NULL;

		if (dot != NULL)
			seg.n = (size_t)((const uint8_t *)dot - seg.p);
		if (uuid_lower(seg, ret))
			return true;
	}
	return false;
}

/* --- globs --- */

/*
 * Backtracks only to the last "*" and the last double star: an earlier one could take no more than the last one does,
 * so the time is bounded by pattern × name. A double star that is a whole segment and its slash stand for any number
 * of whole segments, none included, and therefore try only the places behind a slash.
 */
struct glob {
	const char *p;              /* where the pattern goes on */
	const char *star, *cross;   /* behind the last "*", the last double star; NULL: none */
	size_t      i, star_at, cross_at;
	bool        cross_segments; /* the last double star was a whole segment */
};

/* Length of the character at i: stars and "?" take whole ones. */
static size_t
glob_char(struct span name, size_t i)
{
	uint32_t c;

	return utf8_next(name.p + i, name.n - i, &c);
}

static void
glob_cross(struct glob *g, const char *pattern)
{
	bool starts = g->p == pattern || g->p[-1] == '/';

	g->p += 2;
	g->cross_segments = starts && *g->p == '/';
	if (g->cross_segments)
		g->p++;
	g->cross = g->p;
	g->cross_at = g->i;
	g->star = NULL;
}

/* Lets the last star take one character more, else the last double star. */
static bool
glob_retry(struct glob *g, struct span name)
{
	if (g->star != NULL && g->star_at < name.n && name.p[g->star_at] != '/') {
		g->star_at += glob_char(name, g->star_at);
		g->i = g->star_at;
		g->p = g->star;
		return true;
	}
	if (g->cross == NULL || g->cross_at >= name.n)
		return false;
	do {
		g->cross_at += glob_char(name, g->cross_at);
	} while (g->cross_segments && g->cross_at < name.n && name.p[g->cross_at - 1] != '/');
	if (g->cross_segments && name.p[g->cross_at - 1] != '/')
		return false;
	g->i = g->cross_at;
	g->p = g->cross;
	g->star = NULL;
	return true;
}

bool
glob_match(const char *pattern, struct span name)
{
	struct glob g = { .p = pattern };

	for (;;) {
		if (g.p[0] == '*' && g.p[1] == '*') {
			glob_cross(&g, pattern);
		} else if (*g.p == '*') {
			g.star = ++g.p;
			g.star_at = g.i;
		} else if (*g.p == '?' && g.i < name.n && name.p[g.i] != '/') {
			g.p++;
			g.i += glob_char(name, g.i);
		} else if (*g.p != '\0' && *g.p != '?' && g.i < name.n && (uint8_t)*g.p == name.p[g.i]) {
			g.p++;
			g.i++;
		} else if (*g.p == '\0' && g.i == name.n) {
			return true;
		} else if (!glob_retry(&g, name)) {
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
