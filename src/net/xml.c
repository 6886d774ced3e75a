/* SPDX-License-Identifier: MIT */
#include "net/xml.h"

#include <assert.h>
#include <expat.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

#define XML_PATH_MAX  1024                 /* all names from the root down */
#define XML_PIECE     ((size_t)64 << 10)   /* into expat at once */
#define XML_TOKEN_MAX ((uint64_t)256 << 10) /* a tag or comment that expat has to keep until it ends */

struct xml_reader {
	xml_fn       *fn;
	void         *arg;
	XML_Parser    parser;
	unsigned      depth;
	bool          parent[XML_DEPTH_MAX + 1]; /* by depth: has child elements */
	size_t        path_len[XML_DEPTH_MAX + 1];
	struct buf    path, text;
	uint64_t      fed;
	enum err_code code;                      /* what stopped it; sticky */
	struct err    err;
};

/* expat may still deliver what it has at hand: every handler looks at code first. */
static void
xml_stop(struct xml_reader *x, enum err_code code)
{
	x->code = code;
	XML_StopParser(x->parser, XML_FALSE);
}

static void XMLCALL
xml_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
	struct xml_reader *x = arg;

	(void)name, (void)system, (void)public, (void)internal;
	xml_stop(x, err_set(&x->err, ERR_CORRUPT, 0, "XML with a document type declaration is refused"));
}

static void XMLCALL
xml_open(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct xml_reader *x = arg;
	const char        *colon = strrchr(name, ':'), *local = colon != NULL ? colon + 1 : name;

	(void)attributes;
	if (x->code != ERR_OK)
		return;
	if (x->depth == XML_DEPTH_MAX) {
		xml_stop(x, err_set(&x->err, ERR_CORRUPT, 0, "XML deeper than %d elements", XML_DEPTH_MAX));
		return;
	}
	if (local[0] == '\0') { /* no name with a namespace, and a path that nobody could tell from its parent's */
		xml_stop(x, err_set(&x->err, ERR_CORRUPT, 0, "XML with an element name that ends with a colon"));
		return;
	}
	if (x->path.len + 1 + strlen(local) > XML_PATH_MAX) {
		xml_stop(x, err_set(&x->err, ERR_CORRUPT, 0, "XML element names together longer than %d bytes",
		    XML_PATH_MAX));
		return;
	}
	x->parent[x->depth] = true;
	x->path_len[x->depth] = x->path.len;
	x->depth++;
	x->parent[x->depth] = false;
	if (x->path.len > 0)
		buf_putc(&x->path, '/');
	buf_puts(&x->path, local);
	buf_reset(&x->text);
}

static void XMLCALL
xml_close(void *arg, const XML_Char *name)
{
	struct xml_reader *x = arg;
	struct span        text = { NULL, 0 };
	enum err_code      code;

	(void)name;
	if (x->code != ERR_OK)
		return;
	if (!x->parent[x->depth])
		text = span_str(buf_str(&x->text));
	code = x->fn(x->arg, buf_str(&x->path), text, &x->err);
	if (code != ERR_OK) {
		xml_stop(x, code);
		return;
	}
	x->depth--;
	x->path.len = x->path_len[x->depth];
	x->path.data[x->path.len] = '\0';
	buf_reset(&x->text);
}

static void XMLCALL
xml_chars(void *arg, const XML_Char *s, int n)
{
	struct xml_reader *x = arg;

	if (x->code != ERR_OK || x->parent[x->depth])
		return; /* also blanks between child elements */
	if (buf_add(&x->text, s, (size_t)n, NULL) != ERR_OK)
		xml_stop(x, err_set(&x->err, ERR_CORRUPT, 0, "XML text of <%s> longer than %d bytes", buf_str(&x->path),
		    XML_TEXT_MAX));
}

struct xml_reader *
xml_reader_new(xml_fn *fn, void *arg)
{
	static const XML_Memory_Handling_Suite memory = { xmalloc, xrealloc, free };
	struct xml_reader                     *x = xcalloc(1, sizeof(*x));

	x->fn = fn;
	x->arg = arg;
	x->parser = XML_ParserCreate_MM(NULL, &memory, NULL);
	assert(x->parser != NULL);
	buf_init(&x->path, XML_PATH_MAX);
	buf_init(&x->text, XML_TEXT_MAX);
	XML_SetUserData(x->parser, x);
	XML_SetElementHandler(x->parser, xml_open, xml_close);
	XML_SetCharacterDataHandler(x->parser, xml_chars);
	XML_SetStartDoctypeDeclHandler(x->parser, xml_doctype);
	return x;
}

void
xml_reader_free(struct xml_reader *x)
{
	if (x == NULL)
		return;
	XML_ParserFree(x->parser);
	buf_free(&x->path);
	buf_wipe_free(&x->text); /* temporary credentials come as XML too */
	free(x);
}

static enum err_code
xml_parse(struct xml_reader *x, const void *p, size_t n, bool last)
{
	XML_Index at;

	if (XML_Parse(x->parser, p, (int)n, last) == XML_STATUS_ERROR && x->code == ERR_OK)
		x->code = err_set(&x->err, ERR_CORRUPT, (int)XML_GetErrorCode(x->parser),
		    "not XML: line %lu, column %lu: %s",
		    (unsigned long)XML_GetCurrentLineNumber(x->parser),
		    (unsigned long)XML_GetCurrentColumnNumber(x->parser) + 1,
		    XML_ErrorString(XML_GetErrorCode(x->parser)));
	x->fed += n;
	at = XML_GetCurrentByteIndex(x->parser);
	if (x->code == ERR_OK && at >= 0 && x->fed - (uint64_t)at > XML_TOKEN_MAX)
		x->code = err_set(&x->err, ERR_CORRUPT, 0, "XML with a tag longer than %llu bytes",
		    (unsigned long long)XML_TOKEN_MAX);
	return x->code;
}

static enum err_code
xml_outcome(const struct xml_reader *x, struct err *reterr)
{
	if (x->code != ERR_OK && reterr != NULL) {
		*reterr = x->err;
		reterr->code = x->code;
	}
	return x->code;
}

enum err_code
xml_feed(struct xml_reader *x, const void *p, size_t n, struct err *reterr)
{
	const char *at = p;

	while (n > 0 && x->code == ERR_OK) {
		size_t piece = n < XML_PIECE ? n : XML_PIECE;

		xml_parse(x, at, piece, false);
		at += piece;
		n -= piece;
	}
	return xml_outcome(x, reterr);
}

enum err_code
xml_end(struct xml_reader *x, struct err *reterr)
{
	if (x->code == ERR_OK)
		xml_parse(x, "", 0, true);
	return xml_outcome(x, reterr);
}

/* --- writing --- */

/* Length of the character at p if XML 1.0 allows it, else 0; skip: how far to go on in that case. */
static size_t
xml_char(struct span s, size_t *skip)
{
	size_t   n = s.p[0] < 0x80 ? 1 : s.p[0] < 0xe0 ? 2 : s.p[0] < 0xf0 ? 3 : 4;

	*skip = 1;
	if (n == 1)
		return s.p[0] >= ' ' || s.p[0] == '\t' || s.p[0] == '\n' || s.p[0] == '\r' ? 1 : 0;
	if (s.n < n || !utf8_valid(span_of(s.p, n)))
		return 0;
	*skip = n;
	/* U+FFFE and U+FFFF */
	return n == 3 && s.p[0] == 0xef && s.p[1] == 0xbf && s.p[2] >= 0xbe ? 0 : n;
}

void
xml_escape(struct span in, struct buf *ret)
{
	size_t n, skip;

	for (; in.n > 0; in = span_of(in.p + (n > 0 ? n : skip), in.n - (n > 0 ? n : skip))) {
		n = xml_char(in, &skip);
		switch (n == 1 ? in.p[0] : 0) {
		case '<':
			buf_puts(ret, "&lt;");
			break;
		case '>':
			buf_puts(ret, "&gt;");
			break;
		case '&':
			buf_puts(ret, "&amp;");
			break;
		case '"':
			buf_puts(ret, "&quot;");
			break;
		case '\'':
			buf_puts(ret, "&#39;");
			break;
		case '\r': /* a plain one would be read as a line feed */
			buf_puts(ret, "&#13;");
			break;
		default:
			buf_put(ret, in.p, n);
		}
	}
}
