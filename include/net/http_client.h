/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/secret.h"
#include "loop/body.h"
#include "loop/op.h"
#include "loop/work.h"

/*
 * HTTP requests as operations. One interface, two clients: curl multi on the
 * loop, and a scripted one for tests that answers whole requests in virtual
 * time (tests/lib/scripted_http.h).
 *
 * An answer of any status ends the op with ERR_OK: judging it is the caller's.
 * Without a complete answer:
 *	ERR_CANCELLED  cancelled, and of a changing request no byte was sent
 *	ERR_NETWORK    refused, DNS, TLS; or a read (not changing) that broke off
 *	ERR_TIMEOUT    the same, by time
 *	ERR_AUTH       the peer's certificate is not trusted, or its name does not fit
 *	ERR_UNCERTAIN  a changing request may have arrived (timeout, reset, cancel after the first byte, cut answer)
 *	ERR_UNSUPPORTED  the answer is larger than max_body or breaks another limit
 * A changing request is never sent twice by the client itself: one request(), at most one time on the wire.
 * Redirects are answers like others: callers follow by hand with a fresh set of headers.
 */
#define HTTP_HEADERS_MAX 64          /* of an answer; more: ERR_UNSUPPORTED */
#define HTTP_HEADER_BYTES_MAX 65536
#define HTTP_BODY_DEFAULT ((uint64_t)1 << 20)
#define HTTP_TRANSFERS_MAX 64        /* in flight in one client; the rest waits */
#define HTTP_PER_HOST_MAX 16

struct http_header {
	const char *name;
	char       *value;
};

/* How a connection is made; one object may serve many requests and outlives them. All members may be zero. */
struct http_tls {
	const char   *ca_file;        /* PEM file; NULL: the system's */
	const char   *ca_pem;         /* PEM text instead: replaces the system's roots */
	const char   *cert_pem;       /* client certificate and key, both or neither */
	const struct secret *key_pem;
	bool          insecure;       /* no verification at all */
};

struct http_request {
	const char *method;           /* any token: GET, PUT, LOCK ... */
	const char *url;              /* sent as it is: escaped by the caller, no user:password@ */
	const struct http_header *headers; /* nheaders; Content-Length is the client's own */
	size_t      nheaders;
	struct body *body;            /* may be NULL; referenced while the op lives */
	bool        changing;         /* a lost answer is ERR_UNCERTAIN */
	bool        expect_continue;  /* Expect: 100-continue, for large conditional writes */
	bool        no_proxy;         /* link-local metadata services */
	int64_t     timeout_ms;       /* whole exchange; 0: 30 s plus what max(size, max_body) needs at 1 MB/s */
	int64_t     connect_timeout_ms; /* 0: 10 s */
	uint64_t    max_body;         /* of the answer; 0: HTTP_BODY_DEFAULT */
	const struct http_tls *tls;   /* NULL: system roots */
	const char *unix_socket;      /* connect there, whatever the url's host */
	const char *proxy;            /* NULL: the proxy environment variables as libcurl reads them */
	/* Where the answer's body goes as it arrives: on the loop, pieces of at most 64 KB. NULL: into response.body.
	 * Called only for status 200 and 206; the bodies of others go to response.body, bounded by
	 * HTTP_BODY_DEFAULT. An error from it ends the op with that error. */
	enum err_code (*on_body)(void *arg, const void *p, size_t n, struct err *reterr);
	void       *on_body_arg;
	bool        keep;             /* on_body is a tap: the pieces also go to response.body, as if there were no on_body */
	bool        spool;            /* no on_body: above BODY_SPOOL_ABOVE the body goes to an unlinked file in the spool folder */
};

struct http_response {
	int      status;
	struct http_header headers[HTTP_HEADERS_MAX]; /* names in lower case */
	size_t   nheaders;
	struct body *body;            /* NULL: empty, or went to on_body */
	uint64_t body_size;
	int64_t  date_ms;             /* Date header; 0: none */
	uint32_t retry_after_ms;      /* Retry-After, seconds or HTTP-date; 0: none; capped at one day */
	bool     sent;                /* at least one byte of the request left */
};

void        http_response_init(struct http_response *r);
void        http_response_free(struct http_response *r);   /* contents; usable again afterwards */
const char *http_header_get(const struct http_response *r, const char *lower_case_name); /* NULL: absent; first one */

struct http_client {
	struct op *(*request)(struct http_client *c, const struct http_request *req, struct http_response *ret);
	void       (*free)(struct http_client *c);
	struct loop *loop;
	/* For metrics: counts by outcome. */
	uint64_t   requests, failures, bytes_in, bytes_out;
};

/* A copy is made of everything in req but body, tls and the callbacks' argument; ret must outlive the op, and
 * is initialised by it. */
struct op *http_request(struct http_client *c, const struct http_request *req, struct http_response *ret);
void       http_client_free(struct http_client *c); /* no request may be left */

/* Sets up libcurl for the process on first use. spool_dir: where large bodies go (NULL: kept in memory). */
enum err_code http_client_curl(struct loop *l, struct work *w, const char *spool_dir, struct http_client **ret, struct err *reterr);
/* Freed memory of idle connections and buffers goes back to the system. */
void          http_client_trim(struct http_client *c);

#endif
