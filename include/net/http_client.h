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
 *	ERR_AUTH       the peer's certificate is not trusted, or its name does not fit, or it does not
 *	               accept ours; a proxy wants credentials
 *	ERR_UNCERTAIN  a changing request may have arrived: whatever went wrong after its first byte
 *	               (timeout, reset, cancel, an answer that was cut or breaks a limit)
 *	ERR_UNSUPPORTED  the answer to a read is larger than max_body or breaks another limit
 *	ERR_CONFIG     nothing was tried: the URL, a header or a certificate is none
 *	ERR_IO         the spool or a body's file
 * err.detail is the CURLcode, or an HTTP status of a proxy. Messages begin with the host and never hold path or
 * query, which may be signed; logs (debug, one line per request) the same.
 * A changing request is never sent twice by the client itself: one request(), at most one time on the wire. A read
 * may be, when a connection that was used before turns out to be dead. Redirects are answers like others: callers
 * follow by hand with a fresh set of headers. So is 417 to an expect_continue (its body is lost): send again without.
 * docs/protocol/http-client.md says how all this is done.
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
	/* nheaders; not Content-Length, Transfer-Encoding, Expect, Connection: the client's own */
	const struct http_header *headers;
	size_t      nheaders;
	/* may be NULL; referenced while the op lives. One in a file is read in pieces of 64 KB on the loop */
	struct body *body;
	bool        changing;         /* a lost answer is ERR_UNCERTAIN */
	bool        expect_continue;  /* Expect: 100-continue, for large conditional writes */
	bool        no_proxy;         /* link-local metadata services */
	/* The whole exchange, from leaving the queue. 0: 30 s plus what max(size, max_body) needs at 1 MB/s.
	 * Whatever it is, 30 s without a byte in either direction are ERR_TIMEOUT too. */
	int64_t     timeout_ms;
	int64_t     connect_timeout_ms; /* name, connection, TLS handshake; 0: 10 s */
	uint64_t    max_body;         /* of the answer; 0: HTTP_BODY_DEFAULT */
	const char *max_body_name;    /* of the setting behind max_body, static, for the message; NULL: none */
	const struct http_tls *tls;   /* NULL: system roots */
	const char *unix_socket;      /* connect there, whatever the url's host */
	const char *proxy;            /* NULL: the proxy environment variables as libcurl reads them */
	/* Where the answer's body goes as it arrives: on the loop, pieces of at most 64 KB. NULL: into response.body.
	 * Called only for status 200 and 206; the bodies of others go to response.body, bounded by
	 * HTTP_BODY_DEFAULT. An error from it ends the op with that error. */
	enum err_code (*on_body)(void *arg, const void *p, size_t n, struct err *reterr);
	void       *on_body_arg;
	/* on_body is a tap: the pieces also go to response.body, as if there were no on_body */
	bool        keep;
	/* no on_body, or keep: above BODY_SPOOL_ABOVE the body goes to an unlinked file in the spool folder, without
	 * passing through memory where Content-Length says so beforehand */
	bool        spool;
};

struct http_response {
	int      status;
	struct http_header headers[HTTP_HEADERS_MAX]; /* names in lower case */
	size_t   nheaders;
	struct body *body;            /* NULL: empty, or went to on_body */
	uint64_t body_size;
	int64_t  date_ms;             /* Date header; 0: none */
	uint32_t retry_after_ms;      /* Retry-After, seconds or HTTP-date; 0: none; capped at one day */
	bool     sent;                /* at least one byte of the request left; also told without an answer */
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

/* Sets up libcurl for the process on first use: before other threads run, because it ignores SIGPIPE and sets
 * RES_OPTIONS where they are unset. Reads files: which certificates the system trusts. spool_dir: where large
 * bodies go (NULL: kept in memory, up to max_body). */
enum err_code http_client_curl(struct loop *l, struct work *w, const char *spool_dir, struct http_client **ret,
    struct err *reterr);
/* Freed memory of idle connections and buffers goes back to the system: they are closed if no request is under way. */
void          http_client_trim(struct http_client *c);

#endif
