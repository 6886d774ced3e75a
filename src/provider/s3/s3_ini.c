/* SPDX-License-Identifier: MIT */
#include "s3_ini.h"

struct s3_ini {
	struct span section, parent;
	s3_ini_fn  *fn;
	void       *arg;
};

static bool
s3_ini_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static struct span
s3_ini_trim(struct span s)
{
	while (s.n > 0 && s3_ini_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && s3_ini_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* Without what follows a blank and "#" or ";". */
static struct span
s3_ini_uncomment(struct span s)
{
	for (size_t i = 1; i < s.n; i++)
		if ((s.p[i] == '#' || s.p[i] == ';') && s3_ini_blank(s.p[i - 1]))
			return span_of(s.p, i - 1);
	return s;
}

static void
s3_ini_section(struct s3_ini *ini, struct span line)
{
	static const struct span none = { NULL, 0 };
	const uint8_t           *end = memchr(line.p, ']', line.n);

	ini->parent = none;
	ini->section = end == NULL ? none : s3_ini_trim(span_of(line.p + 1, (size_t)(end - line.p) - 1));
	if (ini->section.n > 0)
		ini->fn(ini->arg, ini->section, none, none, none);
}

static void
s3_ini_pair(struct s3_ini *ini, struct span line, bool indented)
{
	const uint8_t *eq = memchr(line.p, '=', line.n);
	struct span    key, value;

	if (!indented)
		ini->parent = (struct span){ NULL, 0 };
	if (eq == NULL || ini->section.n == 0)
		return;
	key = s3_ini_trim(span_of(line.p, (size_t)(eq - line.p)));
	value = s3_ini_trim(s3_ini_uncomment(span_of(eq + 1, line.n - (size_t)(eq - line.p) - 1)));
	if (key.n == 0)
		return;
	ini->fn(ini->arg, ini->section, ini->parent, key, value);
	if (ini->parent.n == 0 && value.n == 0)
		ini->parent = key;
}

static void
s3_ini_line(struct s3_ini *ini, struct span line)
{
	bool indented = line.n > 0 && s3_ini_blank(line.p[0]);

	line = s3_ini_trim(line);
	if (line.n == 0 || line.p[0] == '#' || line.p[0] == ';')
		return;
	if (line.p[0] == '[')
		s3_ini_section(ini, line);
	else
		s3_ini_pair(ini, line, indented);
}

void
s3_ini_parse(struct span text, s3_ini_fn *fn, void *arg)
{
	struct s3_ini ini = { .fn = fn, .arg = arg };

	if (span_starts(text, "\xef\xbb\xbf"))
		text = span_of(text.p + 3, text.n - 3);
	while (text.n > 0) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		size_t         n = end != NULL ? (size_t)(end - text.p) : text.n;

		s3_ini_line(&ini, span_of(text.p, n));
		n += end != NULL;
		text = span_of(text.p + n, text.n - n);
	}
}
