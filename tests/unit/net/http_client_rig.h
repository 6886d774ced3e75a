/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_NET_HTTP_CLIENT_RIG_H
#define TESTS_UNIT_NET_HTTP_CLIENT_RIG_H

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/raw_server.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "net/http_client.h"

/* The curl client on a real loop, one request at a time, and servers that answer it. */
struct web {
	struct loop         *loop;
	struct work         *work;
	struct http_client  *client;
	struct http_response answer;
	struct err           outcome; /* of the last request */
	bool                 ended;
	struct err           e;
};
extern struct web web;

void          web_setup(void);
void          web_teardown(void);
/* Starts it; web.answer is its answer. */
struct op    *web_begin(const struct http_request *req);
void          web_start(struct op *op);
/* Until what was started has ended. */
enum err_code web_finish(void);
bool          web_ended(void *arg); /* for loop_run_until() */
/* One of http://127.0.0.1:PORT; valid until the next call. */
const char   *web_url(unsigned port, const char *path);
/* n bytes, owned by the caller. */
struct body  *web_body(size_t n);
/* Any method but GET changes something. */
enum err_code web_ask(const char *method, const char *url, struct body *body);
enum err_code web_ask_for(const char *method, const char *url, struct body *body, int64_t ms);

/* Answers with the head of the request, then a blank line, then length and sum of the body. */
struct echo {
	atomic_uint conns, requests;
};
void          serve_echo(struct raw_conn *c, void *arg); /* arg: struct echo */
const char   *web_echoed(void);                          /* valid until the next call */

/* Answers every request alike. */
struct fixed {
	const char *head;
	size_t      body;     /* bytes of 'x', in pieces */
	bool        chunked;
};
void          serve_fixed(struct raw_conn *c, void *arg); /* arg: struct fixed */

#endif
