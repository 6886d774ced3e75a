/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/http_ca.h"
#include "net/http_curl_error.h"
#include "net/http_impl.h"
#include "net/http_queue.h"
#include "net/http_spool.h"

/*
 * The real client: libcurl's multi interface, driven by the descriptors and timers of our loop. What we
 * rely on of libcurl is written down in docs/protocol/http-client.md.
 *
 * Two rules shape this file. Inside a libcurl call nothing may be added to it or taken out of it: callbacks only
 * take notes, and http_curl_settle() acts on them afterwards. And libcurl sends a request again when a
 * reused connection turns out to be dead: http_transfer_repeats() ends that for requests that change something.
 */
#define HTTP_MAXAGE_S      60L
#define HTTP_SMALL_BUFFER  (16L << 10)
#define HTTP_LARGE_BUFFER  (64L << 10)
#define HTTP_LARGE_BODY    ((uint64_t)256 << 10)
#define HTTP_TURN_BYTES    ((size_t)256 << 10) /* of bodies, taken in one call of libcurl: it would go on up to 6 MB */
#define HTTP_TURN_RESUMES  4
#define HTTP_USER_AGENT    "stateferry/" SF_VERSION

struct http_transfer;

struct http_curl {
	struct http_client    client;
	struct work          *work;
	char                 *spool_dir;
	struct http_ca        ca;
	CURLM                *multi;
	struct timer          timer;
	struct http_queue     queue;
	struct http_transfer *first;   /* those that libcurl has */
	unsigned              inside;  /* calls of libcurl under way */
	bool                  stops;   /* some transfer has stop set */
	size_t                taken;   /* body bytes in this call */
	struct http_transfer *yielded, *yielded_last; /* paused until a later turn */
	struct deferred       resume;
};

struct http_transfer {
	struct op             op;
	struct http_exchange  x;
	struct http_curl     *c;
	struct http_slot      slot;
	struct http_transfer *prev, *next;
	struct http_transfer *next_yielded;

	CURL                 *easy;    /* NULL: libcurl does not have it (any longer) */
	struct curl_slist    *headers;
	CURLcode              setup;   /* the first option that was refused */
	char                  text[CURL_ERROR_SIZE];
	uint64_t              upload_at;
	struct http_spool    *spool;
	bool                  opened;    /* a socket, so the name is known */
	bool                  requested; /* a connection is ready and the request was begun */
	bool                  counting;  /* what is sent now is the request, not the handshake with a proxy */
	bool                  again;     /* libcurl wanted to send it a second time */
	bool                  paused;    /* until the spool has room */
	bool                  yielded;   /* until a later turn: in the list */
	bool                  stop;      /* by why, or as answered: see http_curl_settle() */
	bool                  ended;     /* outcome known but for the spool */
	struct err            why;       /* there is no answer */
};

enum http_state { HTTP_START, HTTP_SENT, HTTP_ENDED };
static const char *const http_states[] = { "start", "sent", "ended" };

static void http_curl_settle(struct http_curl *c);
static void http_curl_resume(void *arg);
static void http_transfer_spooled(void *arg);

static void
http_curl_enter(struct http_curl *c)
{
	c->inside++;
	c->taken = 0;
}

static void
http_curl_leave(struct http_curl *c)
{
	c->inside--;
	http_curl_settle(c);
}

/* --- descriptors and timer --- */

static void
http_curl_ready(int fd, int ready, void *arg)
{
	struct http_curl *c = arg;
	int               running, what = ready & LOOP_READ ? CURL_CSELECT_IN : 0;

	what |= ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0;
	http_curl_enter(c);
	curl_multi_socket_action(c->multi, fd, what, &running);
	http_curl_leave(c);
}

static int
http_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_curl *c = arg;
	struct fd_watch  *w = socket_arg;
	int               events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		fd_watch_free(w);
		curl_multi_assign(c->multi, fd, NULL);
		return 0;
	}
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= LOOP_READ;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= LOOP_WRITE;
	if (w != NULL)
		fd_watch_set(w, events);
	else
		curl_multi_assign(c->multi, fd, fd_watch_new(c->client.loop, fd, events, http_curl_ready, c));
	return 0;
}

static void
http_curl_expired(void *arg)
{
	struct http_curl *c = arg;
	int               running;

	http_curl_enter(c);
	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	http_curl_leave(c);
}

static int
http_curl_timer(CURLM *multi, long ms, void *arg)
{
	struct http_curl *c = arg;

	(void)multi;
	if (ms < 0)
		timer_stop(&c->timer);
	else
		timer_set(&c->timer, ms);
	return 0;
}

/* --- callbacks of a transfer --- */

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

/* Enough for this turn. */
static size_t
http_transfer_yield(struct http_transfer *t)
{
	struct http_curl *c = t->c;

	if (t->yielded)
		return CURL_WRITEFUNC_PAUSE;
	t->yielded = true;
	t->next_yielded = NULL;
	if (c->yielded != NULL)
		c->yielded_last->next_yielded = t;
	else
		c->yielded = t;
	c->yielded_last = t;
	loop_defer(c->client.loop, &c->resume, http_curl_resume, c);
	return CURL_WRITEFUNC_PAUSE;
}

static void
http_transfer_unyield(struct http_transfer *t)
{
	struct http_transfer **at = &t->c->yielded, *before = NULL;

	if (!t->yielded)
		return;
	for (; *at != t; at = &(*at)->next_yielded)
		before = *at;
	*at = t->next_yielded;
	if (t->c->yielded_last == t)
		t->c->yielded_last = before;
	t->yielded = false;
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
	if (t->c->taken >= HTTP_TURN_BYTES)
		return http_transfer_yield(t);
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

/* --- setting one up --- */

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
http_method_has_body(const char *method)
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
	if (req->body != NULL || http_method_has_body(req->method)) {
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
		abort(); /* as xmalloc() does */
	t->headers = list;
}

/* "name;" is libcurl's way to send an empty value. */
static void
http_transfer_add_header(struct http_transfer *t, const char *name, const char *value)
{
	char *line = value[0] != '\0' ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);

	http_transfer_add_line(t, line);
	mem_wipe(line, strlen(line));
	free(line);
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

static void
http_transfer_setup(struct http_transfer *t)
{
	t->easy = curl_easy_init();
	if (t->easy == NULL)
		abort(); /* as xmalloc() does */
	http_transfer_set_callbacks(t);
	http_transfer_set_basics(t);
	http_transfer_set_route(t);
	http_transfer_set_tls(t);
	http_transfer_set_method(t);
	http_transfer_set_headers(t);
}

/* --- begin and end --- */

static void
http_transfer_link(struct http_transfer *t)
{
	t->prev = NULL;
	t->next = t->c->first;
	if (t->next != NULL)
		t->next->prev = t;
	t->c->first = t;
}

static void
http_transfer_unlink(struct http_transfer *t)
{
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		t->c->first = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	t->prev = t->next = NULL;
}

/* Once everything is known, also whether the spool could write. */
static void
http_transfer_outcome(struct http_transfer *t)
{
	struct body *spooled = NULL;

	t->ended = false;
	t->op.state = HTTP_ENDED;
	if (t->spool != NULL && t->why.code == ERR_OK)
		http_spool_error(t->spool, &t->why);
	if (t->spool != NULL && t->why.code == ERR_OK)
		spooled = http_spool_take(t->spool);
	if (t->why.code == ERR_OK)
		http_exchange_answered(&t->x, spooled, &t->op.res);
	else
		http_exchange_failed(&t->x, &t->why, &t->op.res);
	op_wake(&t->op);
}

/* why says how. The spool may still have to write or to stop. */
static void
http_transfer_close(struct http_transfer *t)
{
	t->ended = true;
	if (t->spool != NULL && t->why.code == ERR_OK)
		http_spool_end(t->spool);
	else if (t->spool != NULL)
		http_spool_cancel(t->spool);
	if (t->spool == NULL || !http_spool_busy(t->spool))
		http_transfer_outcome(t);
}

static void
http_transfer_count(struct http_transfer *t)
{
	struct http_client *client = &t->c->client;
	curl_off_t          up = 0, down = 0;
	long                request = 0, header = 0;

	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request);
	curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &header);
	client->bytes_out += (uint64_t)up + (uint64_t)request;
	client->bytes_in += (uint64_t)down + (uint64_t)header;
}

/* libcurl gives it back; not from inside it. */
static void
http_transfer_detach(struct http_transfer *t)
{
	assert(t->c->inside == 0);
	http_transfer_count(t);
	http_transfer_unlink(t);
	http_transfer_unyield(t);
	curl_multi_remove_handle(t->c->multi, t->easy);
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	for (struct curl_slist *h = t->headers; h != NULL; h = h->next)
		mem_wipe(h->data, strlen(h->data));
	curl_slist_free_all(t->headers);
	t->headers = NULL;
	http_queue_remove(&t->c->queue, &t->slot);
}

/* What libcurl's verdict means here. */
static void
http_transfer_judge(struct http_transfer *t, CURLcode code)
{
	enum http_phase phase = t->requested ? HTTP_PHASE_REQUEST : t->opened ? HTTP_PHASE_CONNECT : HTTP_PHASE_LOOKUP;

	if (code == CURLE_OK && !t->x.head_done)
		code = CURLE_PARTIAL_FILE; /* closed within the headers: libcurl makes do with that */
	if (t->why.code != ERR_OK || code == CURLE_OK || (t->again && t->x.head_done))
		return;
	if (t->x.broken.code != ERR_OK)
		t->why = t->x.broken;
	else if (t->again)
		http_curl_error(t->easy, CURLE_GOT_NOTHING, t->text, phase, &t->x, &t->why);
	else
		http_curl_error(t->easy, code, t->text, phase, &t->x, &t->why);
}

static void
http_transfer_finish(struct http_transfer *t, CURLcode code)
{
	bool looking = http_queue_looking(&t->slot);

	http_transfer_judge(t, code);
	if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
		http_queue_lost(&t->c->queue, &t->slot, &t->why, false);
	else if (looking && code == CURLE_OPERATION_TIMEDOUT)
		http_queue_lost(&t->c->queue, &t->slot, &t->why, true);
	http_transfer_detach(t);
	http_transfer_close(t);
}

static void
http_transfer_begin(struct http_transfer *t)
{
	CURLMcode rc;

	http_transfer_setup(t);
	http_transfer_link(t);
	if (t->setup != CURLE_OK)
		err_set(&t->why, ERR_UNSUPPORTED, (int)t->setup, "libcurl refuses an option: %s", curl_easy_strerror(t->setup));
	else if ((rc = curl_multi_add_handle(t->c->multi, t->easy)) != CURLM_OK)
		err_set(&t->why, ERR_IO, (int)rc, "libcurl: %s", curl_multi_strerror(rc));
	else
		return;
	http_transfer_finish(t, CURLE_OK);
}

/* Acts on what happened inside libcurl. */
static void
http_curl_settle(struct http_curl *c)
{
	struct http_slot *s;
	struct err        e;
	CURLMsg          *m;
	int               left;

	if (c->inside > 0)
		return;
	while ((m = curl_multi_info_read(c->multi, &left)) != NULL) {
		struct http_transfer *t = NULL;
		CURLcode              code = m->data.result;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		if (code == CURLE_OK && t->why.code == ERR_CANCELLED)
			err_clear(&t->why); /* complete all the same: what we know is worth more */
		http_transfer_finish(t, code);
	}
	for (struct http_transfer *t = c->stops ? c->first : NULL, *next; t != NULL; t = next) {
		next = t->next;
		if (t->stop)
			http_transfer_finish(t, CURLE_OK);
	}
	c->stops = false;
	while ((s = http_queue_refused(&c->queue, &e)) != NULL) {
		struct http_transfer *t = container_of(s, struct http_transfer, slot);

		t->why = e;
		http_transfer_close(t);
	}
	while ((s = http_queue_next(&c->queue)) != NULL)
		http_transfer_begin(container_of(s, struct http_transfer, slot));
}

/* At once, or after the call of libcurl that is under way. */
static void
http_transfer_stop(struct http_transfer *t)
{
	t->stop = true;
	t->c->stops = true;
	http_curl_settle(t->c);
}

/* libcurl hands over at once what it had kept, and tells only here if that was refused. */
static void
http_transfer_unpause(struct http_transfer *t)
{
	struct http_curl *c = t->c;
	CURLcode          code;

	http_curl_enter(c);
	code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
	c->inside--;
	if (code != CURLE_OK && !t->stop) {
		http_transfer_judge(t, code);
		http_transfer_stop(t);
	} else {
		http_curl_settle(c);
	}
}

static void
http_curl_resume(void *arg)
{
	struct http_curl *c = arg;

	for (unsigned n = 0; n < HTTP_TURN_RESUMES && c->yielded != NULL; n++) {
		struct http_transfer *t = c->yielded;

		http_transfer_unyield(t);
		http_transfer_unpause(t);
	}
	if (c->yielded != NULL)
		loop_defer(c->client.loop, &c->resume, http_curl_resume, c);
}

static void
http_transfer_spooled(void *arg)
{
	struct http_transfer *t = arg;

	if (t->ended && !http_spool_busy(t->spool)) {
		http_transfer_outcome(t);
	} else if (t->easy != NULL && t->why.code == ERR_OK && http_spool_error(t->spool, &t->why) != ERR_OK) {
		http_transfer_stop(t);
	} else if (t->easy != NULL && t->paused) {
		t->paused = false;
		http_transfer_unpause(t);
	}
}

/* --- the operation --- */

static bool
http_is_address(const char *host)
{
	return strchr(host, ':') != NULL || host[strspn(host, "0123456789.")] == '\0';
}

static enum op_turn
http_transfer_step(struct op *op)
{
	struct http_transfer *t = container_of(op, struct http_transfer, op);
	bool                  named;

	switch ((enum http_state)op->state) {
	case HTTP_START:
		if (http_exchange_check(&t->x, &op->res) != ERR_OK)
			return op_fail(op);
		op->state = HTTP_SENT;
		named = t->x.req.unix_socket == NULL && !http_is_address(t->x.host);
		http_queue_add(&t->c->queue, &t->slot, t->x.where, named);
		http_curl_settle(t->c);
		return OP_WAIT;
	case HTTP_SENT:
		return OP_WAIT;
	case HTTP_ENDED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
http_transfer_cancel(struct op *op)
{
	struct http_transfer *t = container_of(op, struct http_transfer, op);

	if (t->why.code == ERR_OK)
		err_set(&t->why, ERR_CANCELLED, 0, "cancelled");
	if (t->ended) { /* the answer is complete, only the spool still writes */
		http_spool_cancel(t->spool);
	} else if (t->easy != NULL) {
		http_transfer_stop(t);
	} else {
		http_queue_remove(&t->c->queue, &t->slot);
		http_transfer_close(t);
	}
}

static void
http_transfer_free(struct op *op)
{
	struct http_transfer *t = container_of(op, struct http_transfer, op);

	assert(t->easy == NULL && t->slot.state == HTTP_SLOT_IDLE);
	http_spool_free(t->spool);
	http_exchange_free(&t->x);
	free(t);
}

static const struct op_class http_transfer_class = {
	"http", http_transfer_step, http_transfer_cancel, http_transfer_free, http_states, ARRAY_LEN(http_states),
};

static struct op *
http_curl_request(struct http_client *client, const struct http_request *req, struct http_response *ret)
{
	struct http_transfer *t = xcalloc(1, sizeof(*t));

	op_init(&t->op, &http_transfer_class, client->loop);
	t->c = container_of(client, struct http_curl, client);
	http_exchange_init(&t->x, client, req, ret);
	return &t->op;
}

/* --- the client --- */

/*
 * SIGPIPE: OpenSSL writes to sockets without MSG_NOSIGNAL. The resolver's own defaults are 5 s and 2 tries
 * per server: longer than our whole time for a connection, and a name server that does not answer holds a thread.
 */
static void
http_curl_process_setup(void)
{
	struct sigaction now, ignore = { .sa_handler = SIG_IGN };

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		sigaction(SIGPIPE, &ignore, NULL);
	setenv("RES_OPTIONS", "timeout:2 attempts:2", 0);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort(); /* as xmalloc() does */
}

static void
http_curl_open_multi(struct http_curl *c)
{
	c->multi = curl_multi_init();
	if (c->multi == NULL)
		abort(); /* as xmalloc() does */
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, http_curl_socket);
	curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, http_curl_timer);
	curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_TRANSFERS_MAX);
	curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
}

static void
http_curl_close_multi(struct http_curl *c)
{
	http_curl_enter(c);
	curl_multi_cleanup(c->multi);
	c->inside--;
	c->multi = NULL;
	timer_stop(&c->timer);
}

static void
http_curl_free(struct http_client *client)
{
	struct http_curl *c = container_of(client, struct http_curl, client);

	assert(c->first == NULL && c->queue.waiting == 0 && c->inside == 0);
	loop_undefer(client->loop, &c->resume);
	http_curl_close_multi(c);
	http_queue_free(&c->queue);
	http_ca_free(&c->ca);
	free(c->spool_dir);
	free(c);
}

static void
http_curl_kick(void *arg)
{
	http_curl_settle(arg);
}

enum err_code
http_client_curl(struct loop *l, struct work *w, const char *spool_dir, struct http_client **ret, struct err *reterr)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct http_curl     *c;
	int                   rc = pthread_once(&once, http_curl_process_setup);

	if (rc != 0)
		return err_errno(reterr, rc, "cannot set up libcurl");
	assert(!loop_is_virtual(l) && (spool_dir == NULL || w != NULL));
	c = xcalloc(1, sizeof(*c));
	c->client.loop = l;
	c->client.request = http_curl_request;
	c->client.free = http_curl_free;
	c->work = w;
	c->spool_dir = xstrdup(spool_dir);
	timer_init(&c->timer, l, http_curl_expired, c);
	http_queue_init(&c->queue, l, http_curl_kick, c);
	http_ca_find(&c->ca);
	http_curl_open_multi(c);
	*ret = &c->client;
	return ERR_OK;
}

void
http_client_trim(struct http_client *client)
{
	struct http_curl *c = container_of(client, struct http_curl, client);

	if (client->request != http_curl_request)
		return;
	if (c->first == NULL && c->inside == 0) {
		http_curl_close_multi(c);
		http_curl_open_multi(c);
	}
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
