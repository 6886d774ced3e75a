/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_RAW_SERVER_H
#define TESTS_LIB_RAW_SERVER_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A server on 127.0.0.1 (or a Unix socket) for tests of clients: it listens in a thread of its own,
 * and runs the test's function for each connection in another, which reads and writes raw bytes and may end badly.
 * When that function returns the connection is closed.
 */
struct raw_server;

struct raw_conn {
	struct raw_server *server;
	void              *arg;
	int                fd;
	unsigned           number;     /* of the connection, from 1 */
	char               held[65536]; /* read, not yet used */
	size_t             nheld;
};

struct raw_request {
	char    method[16], target[1024];
	char    head[16384];           /* request line and headers, NUL-terminated */
	char   *body;                  /* NUL-terminated; freed by raw_request_free() */
	size_t  length;                /* of body */
};

typedef void raw_serve_fn(struct raw_conn *c, void *arg);

struct raw_server *raw_server_new(raw_serve_fn *fn, void *arg);
struct raw_server *raw_server_unix(const char *path, raw_serve_fn *fn, void *arg);
void               raw_server_free(struct raw_server *s); /* ends every connection, waits for the threads */
unsigned           raw_server_port(const struct raw_server *s);
unsigned           raw_server_connections(struct raw_server *s); /* so far */
/* A port of 127.0.0.1 where nobody listens. */
unsigned           raw_closed_port(void);

/* --- for raw_serve_fn --- */
/* A whole request, also "100 Continue" when that is expected. false: the peer closed before it was complete. */
bool        raw_read_request(struct raw_conn *c, struct raw_request *ret);
bool        raw_read_head(struct raw_conn *c, struct raw_request *ret); /* up to the empty line; nothing is answered */
bool        raw_read_body(struct raw_conn *c, struct raw_request *r);   /* Content-Length bytes */
void        raw_request_free(struct raw_request *r);
/* Value of a header, copied to ret; false: absent. */
bool        raw_header(const struct raw_request *r, const char *name, char *ret, size_t size);
bool        raw_read(struct raw_conn *c, void *p, size_t n);   /* exactly n */
bool        raw_write(struct raw_conn *c, const void *p, size_t n);
bool        raw_print(struct raw_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool        raw_wait_readable(struct raw_conn *c);   /* true: a byte is there, and stays; false: the peer closed */
/* until the peer, or raw_server_free(), ends it; what comes is dropped */
void        raw_wait_closed(struct raw_conn *c);
void        raw_reset(struct raw_conn *c);           /* the close will be an RST */

#endif
