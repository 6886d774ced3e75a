/* SPDX-License-Identifier: MIT */
/* The shared files of AWS: any bytes, and what the parser says of them holds. */
#include "../lib/fuzz.h"

#include "base/buf.h"
#include "provider/s3/s3_ini.h"

static bool
blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Inside text, on one line, without blanks at its ends. */
static void
check(struct span text, struct span s)
{
	if (s.n == 0)
		return;
	FUZZ_CHECK(s.p >= text.p && s.p + s.n <= text.p + text.n);
	FUZZ_CHECK(memchr(s.p, '\n', s.n) == NULL);
	FUZZ_CHECK(!blank(s.p[0]) && !blank(s.p[s.n - 1]));
}

struct seen {
	struct span text;
	const uint8_t *at; /* keys come in the order of the text */
	size_t      pairs;
};

static void
pair(void *arg, struct span section, struct span parent, struct span key, struct span value)
{
	struct seen *s = arg;

	check(s->text, section);
	check(s->text, parent);
	check(s->text, key);
	check(s->text, value);
	FUZZ_CHECK(section.n > 0);
	if (key.n == 0)
		return;
	FUZZ_CHECK(memchr(key.p, '=', key.n) == NULL && memchr(section.p, ']', section.n) == NULL);
	FUZZ_CHECK(s->at == NULL || key.p > s->at);
	s->at = key.p;
	s->pairs++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct seen once = { .text = text }, twice = { .pairs = 0 };
	struct buf  more;

	s3_ini_parse(text, pair, &once);
	/* Another section behind it adds its one pair, and changes nothing else. */
	buf_init(&more, size + 64);
	buf_put(&more, data, size);
	buf_puts(&more, "\n[zz]\nk = v\n");
	twice.text = buf_span(&more);
	s3_ini_parse(twice.text, pair, &twice);
	FUZZ_CHECK(twice.pairs == once.pairs + 1);
	buf_free(&more);
	return 0;
}
