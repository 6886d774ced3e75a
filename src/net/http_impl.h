/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_IMPL_H
#define NET_HTTP_IMPL_H

#include "net/http_client.h"

/*
 * One request and its answer, as far as every client treats them alike: the copy of the request and its
 * checks, limits, where body bytes go, and what an error means for the caller.
 */
#define HTTP_PIECE_MAX          ((size_t)64 << 10) /* into on_body at once */
#define HTTP_CONNECT_TIMEOUT_MS 10000             /* name, connection and TLS handshake */
#define HTTP_STALL_S            30                /* not a byte in either direction for so long: ERR_TIMEOUT */

struct http_exchange {
	struct http_client   *client;
	struct http_request   req;          /* strings and headers are our own */
	struct http_header   *headers;      /* req.headers */
	struct http_response *ret;
	/* "host", "host:port" or "unix:/path": all that messages and logs say of the URL */
	char                 *where;
	char                 *host;         /* of the URL */
	uint64_t              limit;        /* of the body, once the headers are there */
	uint64_t              length;       /* Content-Length; HTTP_LENGTH_UNKNOWN */
	size_t                header_bytes;
	bool                  head_done;    /* the final answer's headers are complete */
	bool                  streaming;    /* its body goes to on_body and is not kept */
	bool                  tapped;       /* its body goes to on_body too */
	struct buf            body;
	struct err            broken;       /* what we do not take: a limit, or an error of on_body */
	bool                  by_caller;    /* broken is what on_body said */
	int64_t               since;
};

#define HTTP_LENGTH_UNKNOWN UINT64_MAX

void          http_exchange_init(struct http_exchange *x, struct http_client *c, const struct http_request *req,
                                 struct http_response *ret);
void          http_exchange_free(struct http_exchange *x);
/* ERR_CONFIG: what must not be sent, e.g. a line break in a header. Before anything else. */
enum err_code http_exchange_check(struct http_exchange *x, struct err *reterr);
int64_t       http_exchange_timeout_ms(const struct http_exchange *x);

/* The answer, in order. false: it is refused, see broken. A second status replaces an interim answer (1xx). */
bool          http_exchange_status(struct http_exchange *x, int status);
bool          http_exchange_header(struct http_exchange *x, struct span name, struct span value);
bool          http_exchange_head_end(struct http_exchange *x);
/* One raw line of it, with or without its line end: status, header, continuation, or the empty one at the end. */
bool          http_exchange_line(struct http_exchange *x, struct span line);
/* Counts, and shows it to a tap, but keeps nothing; false: over the limit, or the tap refuses it. */
bool          http_exchange_pass(struct http_exchange *x, const void *p, size_t n);
/* Counts and delivers. */
bool          http_exchange_data(struct http_exchange *x, const void *p, size_t n);

/* The end, one of the two, once: *reterr is what op->res becomes. */
void          http_exchange_answered(struct http_exchange *x, struct body *body_owned, struct err *reterr);
/* Why there is no answer, e.g. (ERR_NETWORK, CURLE_..., "connection refused"): completes the message, and makes it
 * ERR_UNCERTAIN where the request changes something and a byte of it was sent. What came of the answer is dropped. */
void          http_exchange_failed(struct http_exchange *x, const struct err *why, struct err *reterr);

#endif
