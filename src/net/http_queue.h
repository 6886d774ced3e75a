/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_QUEUE_H
#define NET_HTTP_QUEUE_H

#include <stdbool.h>

#include "loop/loop.h"

/*
 * Who may send next: at most HTTP_TRANSFERS_MAX at once and HTTP_PER_HOST_MAX to one host, hosts in turn. And
 * while the name of a host is looked up, only the one that waits for it is under way: a name server that
 * does not answer holds one thread per host, not one per request, and at most HTTP_LOOKUPS_MAX of them.
 */
#define HTTP_LOOKUPS_MAX   8
#define HTTP_KNOWN_MS      55000 /* a name that was found: libcurl keeps it for 60 s */
#define HTTP_HANGING_MS    10000 /* a lookup that was given up keeps its thread about so long */
#define HTTP_HOSTS_MAX     64    /* remembered when idle */

struct http_host;

/* Embedded in a transfer, zeroed before http_queue_add(). */
struct http_slot {
	struct http_host *host; /* NULL: in no queue */
	struct http_slot *prev, *next;
	enum { HTTP_SLOT_IDLE, HTTP_SLOT_WAITING, HTTP_SLOT_REFUSED, HTTP_SLOT_ACTIVE } state;
};

struct http_queue {
	struct loop      *loop;
	struct http_host *hosts;       /* ring by next; NULL: none. The one whose turn it is */
	size_t            nhosts, active, waiting, lookups;
	struct http_slot  refused;     /* head of a ring */
	struct timer      timer;       /* a hanging lookup is over */
};

/* kick(arg): ask for http_queue_next() again. */
void              http_queue_init(struct http_queue *q, struct loop *l, void (*kick)(void *arg), void *arg);
void              http_queue_free(struct http_queue *q); /* nobody may be in it */
/* named: it has a name that must be looked up. */
void              http_queue_add(struct http_queue *q, struct http_slot *s, const char *host, bool named);
/* The next that may begin, now active; NULL: none at this time. */
struct http_slot *http_queue_next(struct http_queue *q);
/* One that need not begin, because its host's name was not found a moment ago; taken out. */
struct http_slot *http_queue_refused(struct http_queue *q, struct err *ret);
/* This active one waits for its name no longer; found: it was looked up, not only a connection reused. */
void              http_queue_connected(struct http_queue *q, struct http_slot *s, bool found);
bool              http_queue_looking(const struct http_slot *s);
/* Those that wait for the same host are refused with e. hanging: the lookup may still hold its thread. */
void              http_queue_lost(struct http_queue *q, struct http_slot *s, const struct err *e, bool hanging);
/* Takes it out, whatever it is; IDLE is fine. */
void              http_queue_remove(struct http_queue *q, struct http_slot *s);

#endif
