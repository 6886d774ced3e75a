/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_CURL_H
#define NET_HTTP_CURL_H

#include <curl/curl.h>

#include "net/http_ca.h"
#include "net/http_impl.h"
#include "net/http_queue.h"
#include "net/http_spool.h"

/*
 * The real client: libcurl's multi interface, driven by the descriptors and timers of our loop. What we
 * rely on of libcurl is written down in docs/protocol/http-client.md.
 *
 * http_curl.c has the client: descriptors, timer, and what is due after a call of libcurl. http_transfer.c has one request
 * from its begin to its end, http_transfer_setup.c what libcurl is told of it and calls it back for.
 *
 * Two rules shape them. Inside a libcurl call nothing may be added to it or taken out of it: callbacks only
 * take notes, and http_curl_settle() acts on them afterwards. And libcurl sends a request again when a
 * reused connection turns out to be dead: http_transfer_repeats() ends that for requests that change something.
 */
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

/* --- http_curl.c --- */
/* Around every call that may run callbacks. */
void       http_curl_enter(struct http_curl *c);
void       http_curl_leave(struct http_curl *c); /* the last one out settles */
/* Acts on what happened inside libcurl; inside one, does nothing. Wakes operations, and runs none. */
void       http_curl_settle(struct http_curl *c);
/* t, paused, goes on in a later turn of the loop; and not, when it ends before. */
void       http_curl_yield(struct http_transfer *t);
void       http_curl_unyield(struct http_transfer *t);

/* --- http_transfer.c --- */
struct op *http_transfer_new(struct http_client *client, const struct http_request *req, struct http_response *ret);
void       http_transfer_begin(struct http_transfer *t);
void       http_transfer_finish(struct http_transfer *t, CURLcode code); /* libcurl's verdict, or t->why is set */
void       http_transfer_close(struct http_transfer *t);                 /* the same for one that libcurl does not have */
void       http_transfer_unpause(struct http_transfer *t);
void       http_transfer_spooled(void *arg);

/* --- http_transfer_setup.c --- */
/* Makes t->easy and sets every option; t->setup is the first one that libcurl refused. */
void       http_transfer_setup(struct http_transfer *t);

#endif
