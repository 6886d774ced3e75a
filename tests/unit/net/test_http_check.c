/* SPDX-License-Identifier: MIT */
#include "net/http_check.h"

#include <stdlib.h>

#include "base/mem.h"
#include "../../lib/test.h"

/* docs/protocol/http-server.md, as a table. */

#define H "Host: x\r\n"

static const struct row {
	const char *head;
	int         status; /* 0: fine; -1: more is needed */
} rows[] = {
	{ "GET / HTTP/1.1\r\n" H "\r\n", 0 },
	{ "GET / HTTP/1.0\r\n\r\n", 0 },
	{ "GET /a/b?c=d&e=%2F HTTP/1.1\r\n" H "\r\n", 0 },
	{ "GET /%C3%BC/...%20/.a HTTP/1.1\r\n" H "\r\n", 0 },
	{ "LOCK /x HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nbody", 0 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", 0 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 0004\r\nExpect: 100-Continue\r\n\r\n", 0 },
	{ "GET / HTTP/1.1\r\nHOST: [::1]:80\r\nA:\r\nB:\t x \r\nC: \xc3\xbc\r\ncontent-length: 0\r\n\r\n", 0 },
	{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0 },

	{ "", -1 },
	{ "GET / HT", -1 },
	{ "GET / HTTP/1.1\r\n", -1 },
	{ "GET / HTTP/1.1\r\n" H, -1 },
	{ "GET / HTTP/1.1\r\n" H "\r", -1 },

	/* framing */
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nContent-Length: 4\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 4, 4\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: +4\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: -4\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 0x4\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 4 \r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n", 413 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked \r\n\r\n", 501 },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 501 },
	{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", 400 },
	{ "HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400 },
	{ "POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n", 417 },

	/* fields */
	{ "GET / HTTP/1.1\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A : b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A\t: b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H ": b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A(: b\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A: b\x01\r\n\r\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "A: b\rB: c\r\n\r\n", 400 },

	/* lines, refused before the end comes */
	{ "GET / HTTP/1.1\nHost: x\n\n", 400 },
	{ "GET / HTTP/1.1\r\nHost: x\n", 400 },
	{ "GET / HTTP/1.1\r\n" H "\n", 400 },
	{ "\r\nGET / HTTP/1.1\r\n", 400 },
	{ "\n", 400 },

	/* the request line */
	{ "GET /\r\n", 400 },
	{ "GET\r\n", 400 },
	{ " GET / HTTP/1.1\r\n", 400 },
	{ "GET  / HTTP/1.1\r\n", 400 },
	{ "GET /  HTTP/1.1\r\n", 400 },
	{ "GET / HTTP/1.1 \r\n", 400 },
	{ "GET / a HTTP/1.1\r\n", 400 },
	{ "GET / http/1.1\r\n", 400 },
	{ "GET / HTTP/1.2\r\n", 505 },
	{ "PRI * HTTP/2.0\r\n", 400 },
	{ "PRI / HTTP/2.0\r\n", 505 },
	{ "G(T / HTTP/1.1\r\n", 400 },
	{ "GETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\n", 400 },

	/* the target */
	{ "GET http://x/ HTTP/1.1\r\n", 400 },
	{ "GET * HTTP/1.1\r\n", 400 },
	{ "CONNECT x:1 HTTP/1.1\r\n", 400 },
	{ "GET /. HTTP/1.1\r\n", 400 },
	{ "GET /.. HTTP/1.1\r\n", 400 },
	{ "GET /../a HTTP/1.1\r\n", 400 },
	{ "GET /a/./b HTTP/1.1\r\n", 400 },
	{ "GET /a/%2e%2E HTTP/1.1\r\n", 400 },
	{ "GET /a/.%2e?b HTTP/1.1\r\n", 400 },
	{ "GET /../../a%2f..%2fb HTTP/1.1\r\n", 400 },
	{ "GET /a%2fb HTTP/1.1\r\n", 400 },
	{ "GET /a%00b HTTP/1.1\r\n", 400 },
	{ "GET /a?b=%00 HTTP/1.1\r\n", 400 },
	{ "GET /a?b=%0a HTTP/1.1\r\n", 400 },
	{ "GET /a%7f HTTP/1.1\r\n", 400 },
	{ "GET /%zz HTTP/1.1\r\n", 400 },
	{ "GET /%4 HTTP/1.1\r\n", 400 },
	{ "GET /a#b HTTP/1.1\r\n", 400 },
	{ "GET /a\\b HTTP/1.1\r\n", 400 },
	{ "GET /\xc3\xbc HTTP/1.1\r\n", 400 },
	{ "GET /a\tb HTTP/1.1\r\n", 400 },
	{ "GET /a?..=/../ HTTP/1.1\r\n" H "\r\n", 0 },
};

static int
judge(const char *p, size_t n, struct http_head *ret)
{
	switch (http_check(span_of(p, n), ret)) {
	case HTTP_MORE:
		return -1;
	case HTTP_FINE:
		return 0;
	case HTTP_REFUSE:
		CHECK(ret->reason != NULL && ret->status >= 400);
		return ret->status;
	}
	return -2;
}

static void
the_table(void)
{
	struct http_head head;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int status = judge(rows[i].head, strlen(rows[i].head), &head);

		if (status != rows[i].status)
			test_fail(__FILE__, __LINE__, "%d, not %d: %s", status, rows[i].status, rows[i].head);
	}
}

/* A prefix never decides otherwise than the whole, and the end is found where it is. */
static void
any_cut_gives_the_same_verdict(void)
{
	struct http_head head;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = strlen(rows[i].head);
		bool   decided = false;

		for (size_t cut = 0; cut <= n; cut++) {
			int status = judge(rows[i].head, cut, &head);

			if (status == 0) {
				CHECK(head.size <= cut && memcmp(rows[i].head + head.size - 4, "\r\n\r\n", 4) == 0);
				CHECK(decided || head.size == cut);
			}
			CHECK(status == rows[i].status || (status == -1 && !decided));
			decided = status != -1;
		}
	}
}

static void
what_it_finds(void)
{
	struct http_head head;
	const char      *text = "HEAD / HTTP/1.1\r\n" H "\r\n";

	CHECK(judge(text, strlen(text), &head) == 0);
	CHECK(head.is_head && !head.chunked);
	CHECK_U64(head.size, strlen(text));
	text = "PUT / HTTP/1.1\r\n" H "Content-Length: 123456789012\r\n\r\n{}";
	CHECK(judge(text, strlen(text), &head) == 0);
	CHECK_U64(head.length, 123456789012);
	CHECK_U64(head.size, strlen(text) - 2);
	CHECK(!head.is_head && !head.chunked);
	text = "PUT / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n";
	CHECK(judge(text, strlen(text), &head) == 0);
	CHECK(head.chunked && head.length == 0);
}

static void
a_nul_is_refused_wherever_it_is(void)
{
	static const char head[] = "GET /abc HTTP/1.1\r\nHost: x\r\nAbc: def\r\n\r\n";
	struct http_head  ret;
	char              text[sizeof(head)];

	for (size_t i = 0; i < sizeof(head) - 1; i++) {
		memcpy(text, head, sizeof(head));
		text[i] = '\0';
		if (i == sizeof(head) - 2)
			CHECK(judge(text, sizeof(head) - 1, &ret) == -1); /* in place of the last LF */
		else
			CHECK(judge(text, sizeof(head) - 1, &ret) >= 400);
	}
}

static void
limits(void)
{
	struct buf       b;
	struct http_head head;

	buf_init(&b, 0);
	buf_puts(&b, "GET /");
	for (size_t i = 0; i < HTTP_TARGET_MAX - 1; i++)
		buf_putc(&b, 'a');
	CHECK(judge(buf_str(&b), b.len, &head) == -1);
	buf_puts(&b, " HTTP/1.1\r\n" H "\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 0);

	buf_reset(&b);
	buf_puts(&b, "GET /");
	for (size_t i = 0; i < HTTP_TARGET_MAX; i++)
		buf_putc(&b, 'a');
	buf_puts(&b, " HTTP/1.1\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 400);

	/* without an end */
	buf_reset(&b);
	buf_puts(&b, "GET /");
	while (b.len < HTTP_LINE_MAX + 2)
		buf_putc(&b, 'a');
	CHECK(judge(buf_str(&b), b.len, &head) == 400);

	buf_reset(&b);
	buf_puts(&b, "GET /?");
	for (int i = 1; i < HTTP_ARGS_MAX; i++)
		buf_puts(&b, "a&");
	buf_puts(&b, "a HTTP/1.0\r\n\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 0);
	b.len -= strlen(" HTTP/1.0\r\n\r\n");
	buf_puts(&b, "&a HTTP/1.0\r\n\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 400);

	buf_reset(&b);
	buf_puts(&b, "GET / HTTP/1.1\r\n" H);
	for (int i = 1; i < HTTP_FIELDS_MAX; i++)
		buf_puts(&b, "a: b\r\n");
	buf_puts(&b, "\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 0);
	b.len -= 2;
	buf_puts(&b, "a: b\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 431);

	buf_reset(&b);
	buf_puts(&b, "GET / HTTP/1.1\r\n" H "a: ");
	while (b.len < strlen("GET / HTTP/1.1\r\n") + HTTP_FIELDS_BYTES_MAX - 4)
		buf_putc(&b, 'b');
	CHECK(judge(buf_str(&b), b.len, &head) == -1);
	buf_puts(&b, "\r\n\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 0);
	b.len -= 4;
	buf_puts(&b, "b\r\n\r\n");
	CHECK(judge(buf_str(&b), b.len, &head) == 431);
	b.len -= 4;
	buf_puts(&b, "bbbbbb");
	CHECK(judge(buf_str(&b), b.len, &head) == 431);
	buf_free(&b);
}

/* A buffer that is full never asks for more. */
static void
a_full_head_is_decided(void)
{
	struct buf       b;
	struct http_head head;

	buf_init(&b, 0);
	buf_puts(&b, "GET /");
	while (b.len < HTTP_LINE_MAX - 9)
		buf_putc(&b, 'a');
	buf_puts(&b, " HTTP/1.1\r\n" H "a: ");
	while (b.len < HTTP_HEAD_MAX)
		buf_putc(&b, 'b');
	CHECK(judge(buf_str(&b), b.len, &head) != -1);
	buf_free(&b);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "the table", the_table },
	    { "any cut gives the same verdict", any_cut_gives_the_same_verdict },
	    { "what it finds", what_it_finds },
	    { "a NUL is refused wherever it is", a_nul_is_refused_wherever_it_is },
	    { "limits", limits },
	    { "a full head is decided", a_full_head_is_decided },
	    { NULL, NULL } });
}
