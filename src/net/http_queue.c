/* SPDX-License-Identifier: MIT */
#include "net/http_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/http_client.h"

struct http_host {
	struct http_host *prev, *next;   /* ring */
	char             *name;
	bool              named;
	size_t            active, refused;
	struct http_slot  waiting;       /* head of a ring */
	struct http_slot *looking;       /* waits for the name, for all of them */
	int64_t           known_until, hanging_until;
	struct err        lost;          /* why the last lookup failed */
};

/* --- rings --- */

static void
http_ring_add(struct http_slot *head, struct http_slot *s)
{
	s->next = head;
	s->prev = head->prev;
	s->prev->next = head->prev = s;
}

static void
http_ring_remove(struct http_slot *s)
{
	s->next->prev = s->prev;
	s->prev->next = s->next;
	s->next = s->prev = NULL;
}

static bool
http_host_waits(const struct http_host *h)
{
	return h->waiting.next != &h->waiting;
}

/* --- hosts --- */

static struct http_host *
http_host_new(struct http_queue *q, const char *name, bool named)
{
	struct http_host *h = xcalloc(1, sizeof(*h));

	h->name = xstrdup(name);
	h->named = named;
	h->waiting.next = h->waiting.prev = &h->waiting;
	h->next = h->prev = h;
	if (q->hosts != NULL) {
		h->next = q->hosts;
		h->prev = q->hosts->prev;
		h->prev->next = h->next->prev = h;
	} else {
		q->hosts = h;
	}
	q->nhosts++;
	return h;
}

static void
http_host_free(struct http_queue *q, struct http_host *h)
{
	assert(h->active == 0 && h->refused == 0 && !http_host_waits(h));
	h->next->prev = h->prev;
	h->prev->next = h->next;
	if (q->hosts == h)
		q->hosts = h->next != h ? h->next : NULL;
	q->nhosts--;
	free(h->name);
	free(h);
}

static void
http_queue_forget(struct http_queue *q)
{
	struct http_host *h = q->hosts, *next;
	int64_t           now = loop_now(q->loop);

	for (size_t n = q->nhosts; n > 0; n--, h = next) {
		next = h->next;
		if (h->active == 0 && h->refused == 0 && !http_host_waits(h) && h->hanging_until <= now)
			http_host_free(q, h);
	}
}

static struct http_host *
http_queue_host(struct http_queue *q, const char *name, bool named)
{
	struct http_host *h = q->hosts;

	for (size_t n = q->nhosts; n > 0; n--, h = h->next)
		if (strcmp(h->name, name) == 0)
			return h;
	if (q->nhosts >= HTTP_HOSTS_MAX)
		http_queue_forget(q);
	return http_host_new(q, name, named);
}

/* --- the queue --- */

void
http_queue_init(struct http_queue *q, struct loop *l, void (*kick)(void *arg), void *arg)
{
	memset(q, 0, sizeof(*q));
	q->loop = l;
	q->refused.next = q->refused.prev = &q->refused;
	timer_init(&q->timer, l, kick, arg);
}

void
http_queue_free(struct http_queue *q)
{
	timer_stop(&q->timer);
	while (q->hosts != NULL)
		http_host_free(q, q->hosts);
}

static void
http_queue_refuse(struct http_queue *q, struct http_slot *s)
{
	s->state = HTTP_SLOT_REFUSED;
	s->host->refused++;
	http_ring_add(&q->refused, s);
}

void
http_queue_add(struct http_queue *q, struct http_slot *s, const char *host, bool named)
{
	assert(s->state == HTTP_SLOT_IDLE);
	s->host = http_queue_host(q, host, named);
	if (s->host->hanging_until > loop_now(q->loop)) {
		http_queue_refuse(q, s);
		return;
	}
	s->state = HTTP_SLOT_WAITING;
	q->waiting++;
	http_ring_add(&s->host->waiting, s);
}

/* Threads that look up a name; *ret_over: when the first of those given up ends (0: none). */
static size_t
http_queue_lookups(const struct http_queue *q, int64_t *ret_over)
{
	const struct http_host *h = q->hosts;
	size_t                  busy = q->lookups;

	*ret_over = 0;
	for (size_t n = q->nhosts; n > 0; n--, h = h->next) {
		if (h->hanging_until <= loop_now(q->loop))
			continue;
		busy++;
		if (*ret_over == 0 || h->hanging_until < *ret_over)
			*ret_over = h->hanging_until;
	}
	return busy;
}

/* May one of this host begin? Takes the lookup for it if that is needed. */
static bool
http_queue_admit(struct http_queue *q, struct http_host *h)
{
	int64_t now = loop_now(q->loop), over;

	if (!http_host_waits(h) || h->active >= HTTP_PER_HOST_MAX)
		return false;
	if (!h->named || now < h->known_until)
		return true;
	if (h->looking != NULL)
		return false;
	if (http_queue_lookups(q, &over) >= HTTP_LOOKUPS_MAX) {
		if (over != 0)
			timer_set(&q->timer, over - now);
		return false;
	}
	h->looking = h->waiting.next;
	q->lookups++;
	return true;
}

struct http_slot *
http_queue_next(struct http_queue *q)
{
	struct http_host *h = q->hosts;
	struct http_slot *s;

	if (q->waiting == 0 || q->active >= HTTP_TRANSFERS_MAX)
		return NULL;
	for (size_t n = q->nhosts; n > 0; n--, h = h->next) {
		if (!http_queue_admit(q, h))
			continue;
		s = h->waiting.next;
		http_ring_remove(s);
		s->state = HTTP_SLOT_ACTIVE;
		q->waiting--;
		q->active++;
		h->active++;
		q->hosts = h->next;
		return s;
	}
	return NULL;
}

struct http_slot *
http_queue_refused(struct http_queue *q, struct err *ret)
{
	struct http_slot *s = q->refused.next;

	if (s == &q->refused)
		return NULL;
	*ret = s->host->lost;
	http_queue_remove(q, s);
	return s;
}

bool
http_queue_looking(const struct http_slot *s)
{
	return s->host != NULL && s->host->looking == s;
}

void
http_queue_connected(struct http_queue *q, struct http_slot *s, bool found)
{
	if (found)
		s->host->known_until = loop_now(q->loop) + HTTP_KNOWN_MS;
	if (s->host->looking != s)
		return;
	s->host->looking = NULL;
	q->lookups--;
}

void
http_queue_lost(struct http_queue *q, struct http_slot *s, const struct err *e, bool hanging)
{
	struct http_host *h = s->host;

	h->lost = *e;
	h->known_until = 0;
	if (hanging)
		h->hanging_until = loop_now(q->loop) + HTTP_HANGING_MS;
	while (http_host_waits(h)) {
		struct http_slot *w = h->waiting.next;

		http_ring_remove(w);
		q->waiting--;
		http_queue_refuse(q, w);
	}
}

void
http_queue_remove(struct http_queue *q, struct http_slot *s)
{
	struct http_host *h = s->host;

	switch (s->state) {
	case HTTP_SLOT_IDLE:
		return;
	case HTTP_SLOT_WAITING:
		http_ring_remove(s);
		q->waiting--;
		break;
	case HTTP_SLOT_REFUSED:
		http_ring_remove(s);
		h->refused--;
		break;
	case HTTP_SLOT_ACTIVE:
		http_queue_connected(q, s, false);
		h->active--;
		q->active--;
		break;
	}
	s->state = HTTP_SLOT_IDLE;
	s->host = NULL;
}
