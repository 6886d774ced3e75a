/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/http_curl.h"

#define HTTP_TURN_RESUMES 4

void
http_curl_enter(struct http_curl *c)
{
	c->inside++;
	c->taken = 0;
}

void
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

/* --- after a call of libcurl --- */

/* Acts on what happened inside libcurl. */
void
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

static void
http_curl_resume(void *arg)
{
	struct http_curl *c = arg;

	for (unsigned n = 0; n < HTTP_TURN_RESUMES && c->yielded != NULL; n++) {
		struct http_transfer *t = c->yielded;

		http_curl_unyield(t);
		http_transfer_unpause(t);
	}
	if (c->yielded != NULL)
		loop_defer(c->client.loop, &c->resume, http_curl_resume, c);
}

/* Enough for this turn. */
void
http_curl_yield(struct http_transfer *t)
{
	struct http_curl *c = t->c;

	if (t->yielded)
		return;
	t->yielded = true;
	t->next_yielded = NULL;
	if (c->yielded != NULL)
		c->yielded_last->next_yielded = t;
	else
		c->yielded = t;
	c->yielded_last = t;
	loop_defer(c->client.loop, &c->resume, http_curl_resume, c);
}

void
http_curl_unyield(struct http_transfer *t)
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

/* --- the client --- */

/* What libcurl gives back was a request with its credentials, or an answer with a state: memory is overwritten before it is anybody's.
 * Growing moves; what stays behind is overwritten too. */
static void *
http_curl_grow(void *p, size_t n)
{
	size_t had = p != NULL ? malloc_usable_size(p) : 0;
	void  *more;

	if (p != NULL && n > 0 && n <= had && n > had / 2)
		return p;
	more = malloc(n > 0 ? n : 1);
	if (more == NULL)
		return NULL;
	if (p != NULL)
		memcpy(more, p, n < had ? n : had);
	mem_forget(p);
	return more;
}

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
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, mem_forget, http_curl_grow, strdup, calloc) != CURLE_OK)
		mem_exhausted(0);
}

static void
http_curl_open_multi(struct http_curl *c)
{
	c->multi = curl_multi_init();
	if (c->multi == NULL)
		mem_exhausted(0);
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
	c->client.request = http_transfer_new;
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

	if (client->request != http_transfer_new)
		return;
	if (c->first == NULL && c->inside == 0) {
		http_curl_close_multi(c);
		http_curl_open_multi(c);
	}
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
