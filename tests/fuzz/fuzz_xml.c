/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "net/xml.h"

/*
 * The first byte is a piece size: any cut of the rest is read the same way as
 * the whole. And what xml_escape() writes is read back as what went in, once it needs no escape.
 */
static enum err_code
see(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct buf *log = arg;

	(void)reterr;
	FUZZ_CHECK(text.n <= XML_TEXT_MAX && path[0] != '\0');
	buf_puts(log, path);
	buf_puts(log, text.p != NULL ? "=" : "");
	buf_put(log, text.p, text.n);
	buf_puts(log, "\n");
	return ERR_OK;
}

static enum err_code
read_xml(struct span xml, size_t piece, struct buf *log)
{
	struct xml_reader *x = xml_reader_new(see, log);
	struct err         e = { 0 };
	enum err_code      code = ERR_OK;

	for (size_t at = 0; at < xml.n && code == ERR_OK; at += piece)
		code = xml_feed(x, xml.p + at, xml.n - at < piece ? xml.n - at : piece, &e);
	if (code == ERR_OK)
		code = xml_end(x, &e);
	FUZZ_CHECK(code == e.code && (code == ERR_OK || code == ERR_CORRUPT));
	xml_reader_free(x);
	return code;
}

static void
escape_and_back(struct span in)
{
	struct buf xml, once, again;

	buf_init(&xml, 0);
	buf_init(&once, 0);
	buf_init(&again, 0);
	buf_puts(&xml, "<k>");
	xml_escape(in, &xml);
	buf_puts(&xml, "</k>");
	FUZZ_CHECK(in.n > XML_TEXT_MAX || read_xml(buf_span(&xml), 4096, &once) == ERR_OK);
	if (in.n <= XML_TEXT_MAX) { /* "k=" ... "\n": nothing is lost a second time */
		struct span text = span_of(once.data + 2, once.len - 3);

		buf_reset(&xml);
		buf_puts(&xml, "<k>");
		xml_escape(text, &xml);
		buf_puts(&xml, "</k>");
		FUZZ_CHECK(read_xml(buf_span(&xml), 1, &again) == ERR_OK && span_eq(buf_span(&again), buf_span(&once)));
	}
	buf_free(&xml);
	buf_free(&once);
	buf_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf    whole, cut;
	enum err_code code;

	if (n == 0)
		return 0;
	buf_init(&whole, 0);
	buf_init(&cut, 0);
	code = read_xml(span_of(data + 1, n - 1), n, &whole);
	FUZZ_CHECK(read_xml(span_of(data + 1, n - 1), (size_t)data[0] + 1, &cut) == code);
	if (code == ERR_OK)
		FUZZ_CHECK(span_eq(buf_span(&whole), buf_span(&cut)));
	escape_and_back(span_of(data + 1, n - 1));
	buf_free(&whole);
	buf_free(&cut);
	return 0;
}
