/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/http_curl.h"

/* What libcurl is told of a request, and what it calls back for. */
#define HTTP_MAXAGE_S      60L
#define HTTP_SMALL_BUFFER  (16L << 10)
#define HTTP_LARGE_BUFFER  (64L << 10)
#define HTTP_LARGE_BODY    ((uint64_t)256 << 10)
#define HTTP_TURN_BYTES    ((size_t)256 << 10) /* of bodies, taken in one call of libcurl: it would go on up to 6 MB */
#define HTTP_USER_AGENT    "stateferry/" SF_VERSION

/* --- callbacks --- */

/*
 * libcurl is about to send the request, or to connect for that. Refused when it did so before and a byte of a
 * changing request went out; and after 417 (RFC 9110, 10.1.1), where sending it again without Expect is for
 * the caller to decide.
 */
static bool
http_transfer_repeats(struct http_transfer *t)
{
	t->again = t->again || t->x.head_done || (t->requested && t->x.req.changing && t->x.ret->sent);
	return t->again;
}

static curl_socket_t
http_transfer_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http_transfer *t = arg;

	(void)purpose;
	t->opened = true;
	t->counting = false;
	http_queue_connected(&t->c->queue, &t->slot, true);
	return http_transfer_repeats(t) ? CURL_SOCKET_BAD : socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* Before each time that the request is sent; a connection is ready. */
static int
http_transfer_prereq(void *arg, char *peer, char *own, int peer_port, int own_port)
{
	struct http_transfer *t = arg;

	(void)peer, (void)own, (void)peer_port, (void)own_port;
	http_queue_connected(&t->c->queue, &t->slot, false);
	if (http_transfer_repeats(t))
		return CURL_PREREQFUNC_ABORT;
	t->requested = true;
	t->counting = true;
	return CURL_PREREQFUNC_OK;
}

/* Called for every byte that went out: that is how we know whether one did. */
static int
http_transfer_debug(CURL *easy, curl_infotype type, char *p, size_t n, void *arg)
{
	struct http_transfer *t = arg;

	(void)easy, (void)p, (void)n;
	if (t->counting && (type == CURLINFO_HEADER_OUT || type == CURLINFO_DATA_OUT))
		t->x.ret->sent = true;
	return 0;
}

static size_t
http_transfer_header(char *p, size_t size, size_t n, void *arg)
{
	struct http_transfer *t = arg;

	return http_exchange_line(&t->x, span_of(p, size * n)) ? size * n : 0;
}

/* From memory, or at most 64 KB of a file: freshly written or read pages are in the page cache. */
static size_t
http_transfer_read(char *p, size_t size, size_t n, void *arg)
{
	struct http_transfer *t = arg;
	size_t                got = 0, want = size * n < HTTP_PIECE_MAX ? size * n : HTTP_PIECE_MAX;

	if (t->x.req.body == NULL)
		return 0;
	if (body_read(t->x.req.body, t->upload_at, p, want, &got, &t->x.broken) != ERR_OK)
		return CURL_READFUNC_ABORT;
	t->upload_at += got;
	return got;
}

/* Only for requests that change nothing: those may be sent again, from the start. */
static int
http_transfer_seek(void *arg, curl_off_t off, int origin)
{
	struct http_transfer *t = arg;

	if (origin != SEEK_SET)
		return CURL_SEEKFUNC_CANTSEEK;
	t->upload_at = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

static bool
http_transfer_spools(const struct http_transfer *t, size_t n)
{
	if (!t->x.req.spool || t->x.streaming || t->c->spool_dir == NULL)
		return false;
	return (t->x.length != HTTP_LENGTH_UNKNOWN && t->x.length > BODY_SPOOL_ABOVE) ||
	    t->x.body.len + n > BODY_SPOOL_ABOVE;
}

/* The first bytes. Room for all of them at once where the length is known: growing would need twice as much. */
static bool
http_transfer_reserve(struct http_transfer *t)
{
	struct http_exchange *x = &t->x;

	if (x->body.cap > 0 || x->streaming || x->length == HTTP_LENGTH_UNKNOWN)
		return true;
	x->body.max = (size_t)x->length;
	return buf_reserve(&x->body, (size_t)x->length, &x->broken) == ERR_OK;
}

static size_t
http_transfer_write(char *p, size_t size, size_t n, void *arg)
{
	struct http_transfer *t = arg;

	n *= size;
	if (t->c->taken >= HTTP_TURN_BYTES) {
		http_curl_yield(t);
		return CURL_WRITEFUNC_PAUSE;
	}
	t->c->taken += n;
	if (t->spool == NULL && http_transfer_spools(t, n)) {
		t->spool = http_spool_new(t->c->work, t->c->spool_dir, http_transfer_spooled, t);
		http_spool_begin(t->spool, &t->x.body);
	}
	if (t->spool == NULL)
		return http_transfer_reserve(t) && http_exchange_data(&t->x, p, n) ? n : CURL_WRITEFUNC_ERROR;
	if (!http_spool_add(t->spool, p, n)) {
		t->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	return http_exchange_pass(&t->x, p, n) ? n : CURL_WRITEFUNC_ERROR;
}

/* --- options --- */

static void
http_transfer_set(struct http_transfer *t, CURLcode rc)
{
	if (t->setup == CURLE_OK)
		t->setup = rc;
}

static void
http_transfer_set_callbacks(struct http_transfer *t)
{
	CURL *e = t->easy;

	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PRIVATE, t));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->text));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, http_transfer_open));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, http_transfer_prereq));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PREREQDATA, t));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_VERBOSE, 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_DEBUGFUNCTION, http_transfer_debug));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_DEBUGDATA, t));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, http_transfer_header));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_HEADERDATA, t));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, http_transfer_write));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_WRITEDATA, t));
}

static void
http_transfer_set_basics(struct http_transfer *t)
{
	CURL                      *e = t->easy;
	const struct http_request *req = &t->x.req;
	int64_t                    connect = req->connect_timeout_ms;
	bool                       large = req->max_body > HTTP_LARGE_BODY;

	if (connect <= 0)
		connect = HTTP_CONNECT_TIMEOUT_MS;
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_URL, req->url));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https"));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_HTTP_CONTENT_DECODING, 0L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_USERAGENT, HTTP_USER_AGENT));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)connect));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)http_exchange_timeout_ms(&t->x)));
	/* Whoever answers on a Unix socket may work for long without a byte. */
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, req->unix_socket == NULL ? 1L : 0L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)HTTP_STALL_S));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, 30L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, 10L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, HTTP_MAXAGE_S));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_BUFFERSIZE, large ? HTTP_LARGE_BUFFER : HTTP_SMALL_BUFFER));
}

static void
http_transfer_set_route(struct http_transfer *t)
{
	CURL                      *e = t->easy;
	const struct http_request *req = &t->x.req;

	if (req->unix_socket != NULL)
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, req->unix_socket));
	if (req->no_proxy || req->unix_socket != NULL) {
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PROXY, ""));
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_NOPROXY, "*"));
	} else if (req->proxy != NULL) {
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_PROXY, req->proxy));
	}
}

static void
http_transfer_blob(struct http_transfer *t, CURLoption option, const char *pem)
{
	struct curl_blob blob = { .data = (char *)pem, .len = strlen(pem), .flags = CURL_BLOB_NOCOPY };

	http_transfer_set(t, curl_easy_setopt(t->easy, option, &blob));
}

static void
http_transfer_set_tls(struct http_transfer *t)
{
	static const struct http_tls system;
	const struct http_tls       *tls = t->x.req.tls != NULL ? t->x.req.tls : &system;
	const char                  *file = t->c->ca.file, *dir = t->c->ca.dir;
	CURL                        *e = t->easy;

	if (tls->ca_file != NULL || tls->ca_pem != NULL) {
		file = tls->ca_pem != NULL ? NULL : tls->ca_file;
		dir = NULL;
	}
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_CAINFO, file));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_CAPATH, dir));
	if (tls->ca_pem != NULL)
		http_transfer_blob(t, CURLOPT_CAINFO_BLOB, tls->ca_pem);
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, tls->insecure ? 0L : 1L));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, tls->insecure ? 0L : 2L));
	if (tls->cert_pem == NULL)
		return;
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SSLCERTTYPE, "PEM"));
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SSLKEYTYPE, "PEM"));
	http_transfer_blob(t, CURLOPT_SSLCERT_BLOB, tls->cert_pem);
	http_transfer_blob(t, CURLOPT_SSLKEY_BLOB, secret_str(tls->key_pem));
	/* an encrypted key is a refusal then; without it libcurl 7.88 follows a null pointer, or OpenSSL asks the terminal */
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_KEYPASSWD, ""));
}

/* Those for which a request without a body says so (RFC 9110, section 8.6). */
static bool
http_transfer_may_have_body(const char *method)
{
	return strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0;
}

static void
http_transfer_set_method(struct http_transfer *t)
{
	const struct http_request *req = &t->x.req;
	uint64_t                   size = req->body != NULL ? body_size(req->body) : 0;
	long                       buffer = size > HTTP_LARGE_BODY ? HTTP_LARGE_BUFFER : HTTP_SMALL_BUFFER;
	CURL                      *e = t->easy;

	if (strcmp(req->method, "HEAD") == 0) {
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_NOBODY, 1L));
		return;
	}
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_HTTPGET, 1L));
	if (req->body != NULL || http_transfer_may_have_body(req->method)) {
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_UPLOAD, 1L));
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_INFILESIZE_LARGE, (curl_off_t)size));
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_READFUNCTION, http_transfer_read));
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_READDATA, t));
	}
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, buffer));
	/* Without it libcurl cannot send a body again: http_transfer_repeats() does not let it come to that. */
	if (req->body != NULL && !req->changing) {
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, http_transfer_seek));
		http_transfer_set(t, curl_easy_setopt(e, CURLOPT_SEEKDATA, t));
	}
	http_transfer_set(t, curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method));
}

static void
http_transfer_add_line(struct http_transfer *t, const char *line)
{
	struct curl_slist *list = curl_slist_append(t->headers, line);

	if (list == NULL)
		mem_exhausted(0);
	t->headers = list;
}

/* "name;" is libcurl's way to send an empty value. */
static void
http_transfer_add_header(struct http_transfer *t, const char *name, const char *value)
{
	char *line = value[0] != '\0' ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);

	http_transfer_add_line(t, line);
	mem_free_secret(line);
}

static void
http_transfer_set_headers(struct http_transfer *t)
{
	const struct http_request *req = &t->x.req;

	for (size_t i = 0; i < req->nheaders; i++)
		http_transfer_add_header(t, req->headers[i].name, req->headers[i].value);
	if (req->expect_continue && req->body != NULL && body_size(req->body) > 0)
		http_transfer_add_line(t, "Expect: 100-continue");
	else
		http_transfer_add_line(t, "Expect:"); /* not by itself above 1 MB */
	http_transfer_set(t, curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers));
}

void
http_transfer_setup(struct http_transfer *t)
{
	t->easy = curl_easy_init();
	if (t->easy == NULL)
		mem_exhausted(0);
	http_transfer_set_callbacks(t);
	http_transfer_set_basics(t);
	http_transfer_set_route(t);
	http_transfer_set_tls(t);
	http_transfer_set_method(t);
	http_transfer_set_headers(t);
}
