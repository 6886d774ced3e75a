/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/mem.h"
#include "net/xml.h"
#include "../../lib/test.h"

static struct err e;

struct seen {
	struct buf  log;
	const char *refuse; /* a path */
};

static enum err_code
see(void *arg, const char *path, struct span text, struct err *reterr)
{
	struct seen *s = arg;

	if (s->refuse != NULL && strcmp(path, s->refuse) == 0)
		return err_set(reterr, ERR_BUSY, 503, "enough");
	buf_puts(&s->log, path);
	if (text.p != NULL) {
		buf_puts(&s->log, "=[");
		buf_put(&s->log, text.p, text.n);
		buf_puts(&s->log, "]");
	}
	buf_puts(&s->log, "\n");
	return ERR_OK;
}

/* In pieces of so many bytes; the log is the caller's. */
static enum err_code
read_xml(struct span xml, size_t piece, const char *refuse, char **ret_log)
{
	struct seen        s = { .refuse = refuse };
	struct xml_reader *x = xml_reader_new(see, &s);
	enum err_code      code = ERR_OK;

	buf_init(&s.log, 0);
	for (size_t at = 0; at < xml.n && code == ERR_OK; at += piece)
		code = xml_feed(x, xml.p + at, xml.n - at < piece ? xml.n - at : piece, &e);
	if (code == ERR_OK)
		code = xml_end(x, &e);
	else
		CHECK(xml_end(x, NULL) == code); /* an error stays */
	xml_reader_free(x);
	*ret_log = buf_take(&s.log);
	return code;
}

static void
check_xml(const char *xml, const char *log)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 64, 1 << 20 };
	char               *got;

	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		CHECK_OK(read_xml(span_str(xml), pieces[i], NULL, &got), e);
		CHECK_STR(got, log);
		free(got);
	}
}

static void
check_bad(const char *xml, const char *says)
{
	char *got;

	CHECK_U64(read_xml(span_str(xml), 5, NULL, &got), ERR_CORRUPT);
	free(got);
	if (strstr(e.msg, says) == NULL)
		test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", e.msg, says);
}

static void
leaves(void)
{
	check_xml("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	          "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n"
	          "  <Name>b</Name><Prefix/><IsTruncated>false</IsTruncated>\n"
	          "  <Contents a='1'>\n    <Key>a&amp;b &lt;\xc3\xbc&#x20;</Key><Size>5</Size>\n  </Contents>\n"
	          "  <Contents><Key><![CDATA[<x>]]></Key></Contents>\n"
	          "</ListBucketResult>\n",
	    "ListBucketResult/Name=[b]\nListBucketResult/Prefix=[]\nListBucketResult/IsTruncated=[false]\n"
	    "ListBucketResult/Contents/Key=[a&b <\xc3\xbc ]\nListBucketResult/Contents/Size=[5]\nListBucketResult/Contents\n"
	    "ListBucketResult/Contents/Key=[<x>]\nListBucketResult/Contents\nListBucketResult\n");
	check_xml("<s:Envelope xmlns:s='u'><s:Body><m:A xmlns:m='v'>t</m:A> tail </s:Body></s:Envelope>",
	    "Envelope/Body/A=[t]\nEnvelope/Body\nEnvelope\n");
	check_xml("<a/>", "a=[]\n");
	check_xml("<a>x<!-- c -->y<?p i?>z</a>", "a=[xyz]\n");
}

static void
not_xml(void)
{
	check_bad("", "no element");
	check_bad("{\"a\":1}", "not XML: line 1, column 1");
	check_bad("<html><body>503<br></body></html>", "mismatched");
	check_bad("<a><b>", "no element");
	check_bad("<a></a><b/>", "junk");
	check_bad("<a>\x01</a>", "not XML");
	check_bad("<a>\xff</a>", "not XML");
}

static void
doctypes(void)
{
	check_bad("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "document type");
	check_bad("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "document type");
	check_bad("<!DOCTYPE html><html/>", "document type");
}

/* pre, n times unit, post. */
static enum err_code
read_big(const char *pre, const char *unit, size_t n, const char *post)
{
	struct buf    b;
	char         *log;
	enum err_code code;

	buf_init(&b, 0);
	buf_puts(&b, pre);
	for (size_t i = 0; i < n; i++)
		buf_puts(&b, unit);
	buf_puts(&b, post);
	code = read_xml(buf_span(&b), 4096, NULL, &log);
	free(log);
	buf_free(&b);
	return code;
}

static void
limits(void)
{
	char name[200];

	CHECK_OK(read_big("<a>", "x", XML_TEXT_MAX, "</a>"), e);
	CHECK_U64(read_big("<a>", "x", XML_TEXT_MAX + 1, "</a>"), ERR_CORRUPT);
	CHECK(strstr(e.msg, "65536") != NULL);
	CHECK_U64(read_big("", "<a>", XML_DEPTH_MAX, ""), ERR_CORRUPT);
	CHECK(strstr(e.msg, "no element") != NULL);
	CHECK_U64(read_big("", "<a>", XML_DEPTH_MAX + 1, ""), ERR_CORRUPT);
	CHECK(strstr(e.msg, "deeper than 32") != NULL);
	/* an empty element: both handlers in one go */
	CHECK_U64(read_big("<r>", "<a>", XML_DEPTH_MAX - 1, "<b/>"), ERR_CORRUPT);
	CHECK(strstr(e.msg, "deeper than 32") != NULL);
	CHECK_U64(read_big("<a b='", "x", 1 << 20, "'/>"), ERR_CORRUPT);
	CHECK(strstr(e.msg, "tag longer") != NULL);
	snprintf(name, sizeof(name), "<%0120d>", 0);
	name[1] = 'n';
	CHECK_U64(read_big("", name, 9, ""), ERR_CORRUPT);
	CHECK(strstr(e.msg, "names together longer") != NULL);
}

static void
callback_error(void)
{
	char *log;

	CHECK_U64(read_xml(span_str("<E><Code>SlowDown</Code><M/><N/></E>"), 3, "E/M", &log), ERR_BUSY);
	CHECK_STR(e.msg, "enough");
	CHECK_U64((uint64_t)e.detail, 503);
	CHECK_STR(log, "E/Code=[SlowDown]\n");
	free(log);
}

static void
escaping(void)
{
	struct buf b;
	char      *log;

	buf_init(&b, 0);
	xml_escape(SPAN_LIT("<a b=\"c\">&'\r\n\t\x01\xc3\xbc\xff\xef\xbf\xbf\xef\xbf\xbd"), &b);
	CHECK_STR(buf_str(&b), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;&#13;\n\t\xc3\xbc\xef\xbf\xbd");
	buf_reset(&b);
	buf_puts(&b, "<k>");
	xml_escape(SPAN_LIT("\r ]]> & x\xf0\x9f\x92\xa9"), &b);
	buf_puts(&b, "</k>");
	CHECK_OK(read_xml(buf_span(&b), 1, NULL, &log), e);
	CHECK_STR(log, "k=[\r ]]> & x\xf0\x9f\x92\xa9]\n");
	free(log);
	buf_free(&b);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "leaves and their parents", leaves }, { "what is no XML", not_xml },
		{ "no document types", doctypes },
		{ "limits", limits }, { "an error of the callback", callback_error }, { "escaping", escaping },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
