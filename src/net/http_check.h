/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_CHECK_H
#define NET_HTTP_CHECK_H

#include "base/buf.h"

/*
 * Reads the head of a request before any parser does and lets through only what has one meaning:
 * docs/protocol/http-server.md has the rules. Pure, so that it can be fuzzed.
 */
enum { HTTP_METHOD_MAX = 32, HTTP_TARGET_MAX = 4096, HTTP_ARGS_MAX = 64 };
enum { HTTP_FIELDS_MAX = 64, HTTP_FIELDS_BYTES_MAX = 16384 };
/* "METHOD TARGET HTTP/1.1" */
#define HTTP_LINE_MAX (HTTP_METHOD_MAX + 1 + HTTP_TARGET_MAX + 1 + 8)
/* Two for the CRLF of the line; a longer head is always refused. */
#define HTTP_HEAD_MAX (HTTP_LINE_MAX + 2 + HTTP_FIELDS_BYTES_MAX)

enum http_verdict { HTTP_MORE, HTTP_FINE, HTTP_REFUSE };

struct http_head {
	size_t      size;       /* HTTP_FINE: bytes up to the body */
	bool        chunked;
	uint64_t    length;     /* of the body, as announced; 0 when chunked */
	bool        is_head;    /* the method is HEAD: an answer has no body */
	int         status;     /* HTTP_REFUSE: what to answer, and why (static) */
	const char *reason;
};

/* bytes is what came so far. HTTP_MORE: fine as far as it goes. A refusal does not wait for the rest. */
enum http_verdict http_check(struct span bytes, struct http_head *ret);

#endif
