/* SPDX-License-Identifier: MIT */
#include "http_client_rig.h"

struct web web;

void
web_setup(void)
{
	if (web.loop != NULL)
		return; /* left by a test that failed */
	web.loop = loop_new(&web.e);
	web.work = work_new(web.loop);
	CHECK_OK(http_client_curl(web.loop, web.work, test_tmpdir(), &web.client, &web.e), web.e);
	http_response_init(&web.answer);
}

void
web_teardown(void)
{
	http_response_free(&web.answer);
	http_client_free(web.client);
	work_free(web.work);
	loop_free(web.loop);
	web.loop = NULL;
}

static void
web_done(struct op *op, void *arg)
{
	(void)arg;
	web.outcome = op->err;
	web.ended = true;
	op_free(op);
}

bool
web_ended(void *arg)
{
	(void)arg;
	return web.ended;
}

void
web_start(struct op *op)
{
	web.ended = false;
	op_start(op, web_done, NULL);
}

struct op *
web_begin(const struct http_request *req)
{
	struct op *op;

	http_response_free(&web.answer);
	op = http_request(web.client, req, &web.answer);
	web_start(op);
	return op;
}

enum err_code
web_finish(void)
{
	CHECK(loop_run_until(web.loop, web_ended, NULL, 20000));
	return web.outcome.code;
}

const char *
web_url(unsigned port, const char *path)
{
	static char url[300];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	return url;
}

struct body *
web_body(size_t n)
{
	struct buf b;

	buf_init(&b, 0);
	for (size_t i = 0; i < n; i++)
		buf_putc(&b, (char)('a' + i % 23));
	return body_new(&b);
}

enum err_code
web_ask_for(const char *method, const char *url, struct body *body, int64_t ms)
{
	struct http_request req = { .method = method, .url = url, .body = body, .timeout_ms = ms };

	req.changing = strcmp(method, "GET") != 0;
	web_begin(&req);
	return web_finish();
}

enum err_code
web_ask(const char *method, const char *url, struct body *body)
{
	return web_ask_for(method, url, body, 10000);
}

/* --- servers --- */

void
serve_echo(struct raw_conn *c, void *arg)
{
	struct echo       *echo = arg;
	struct raw_request r;

	atomic_fetch_add(&echo->conns, 1);
	while (raw_read_request(c, &r)) {
		char     text[20000];
		unsigned sum = 0;
		int      n;

		atomic_fetch_add(&echo->requests, 1);
		for (size_t i = 0; i < r.length; i++)
			sum = sum * 31 + (unsigned char)r.body[i];
		n = snprintf(text, sizeof(text), "%s%zu %u", r.head, r.length, sum);
		raw_print(c, "HTTP/1.1 200 OK\r\nX-Number: %u\r\nContent-Length: %d\r\n\r\n%s", c->number, n,
		    strcmp(r.method, "HEAD") == 0 ? "" : text);
		raw_request_free(&r);
	}
	raw_request_free(&r);
}

const char *
web_echoed(void)
{
	static char text[20000];
	struct span s = body_span(web.answer.body);

	snprintf(text, sizeof(text), "%.*s", (int)s.n, (const char *)s.p);
	return text;
}

void
serve_fixed(struct raw_conn *c, void *arg)
{
	const struct fixed *f = arg;
	struct raw_request  r;
	char                piece[10000];

	memset(piece, 'x', sizeof(piece));
	while (raw_read_request(c, &r)) {
		raw_request_free(&r);
		raw_print(c, "%s", f->head);
		for (size_t left = f->body, n; left > 0; left -= n) {
			n = left < sizeof(piece) ? left : sizeof(piece);
			if (f->chunked)
				raw_print(c, "%zx\r\n", n);
			if (!raw_write(c, piece, n))
				break;
			if (f->chunked)
				raw_print(c, "\r\n");
		}
		if (f->chunked)
			raw_print(c, "0\r\nX-Trailer: evil\r\nETag: \"evil\"\r\n\r\n");
	}
	raw_request_free(&r);
}
