/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_SCRIPTED_HTTP_H
#define TESTS_LIB_SCRIPTED_HTTP_H

#include "net/http_client.h"
#include "net/url.h"

/*
 * An HTTP client without a network: whole requests are answered by the test, in
 * the time of the loop, virtual or real. Cancel, deadlines, limits and error codes are those of
 * the curl client: both share src/net/http_impl.h.
 *
 * A request leaves (from then on sent is true), arrives (the test's handler runs: it is applied),
 * and is answered. These are three turns at least, so that a cancel can fall between them; a request that has
 * left arrives even if nobody waits for it any longer.
 *
 *	s = scripted_http_new(loop);
 *	scripted_expect(s, "GET", "/b/state", 200, "ETag: \"a\"", "{}");
 *	scripted_expect(s, "PUT", "/b/state", 200, NULL, NULL)->fault = SCRIPTED_LOST_ANSWER;
 *	... run operations with scripted_http_client(s) ...
 *	scripted_http_check(s);          all of them came
 *
 * or a handler, behind which a whole server can live. A request that nobody expects fails the test.
 */
enum scripted_fault {
	SCRIPTED_OK,
	SCRIPTED_LOST_BEFORE,     /* refused: not a byte left */
	SCRIPTED_LOST_REQUEST,    /* breaks while the request is sent: never arrives */
	SCRIPTED_LOST_ANSWER,     /* arrives and is applied, then the connection breaks */
	SCRIPTED_TIMEOUT,         /* never arrives, and nothing comes until the deadline */
	SCRIPTED_TIMEOUT_APPLIED, /* the same, but it arrives */
	SCRIPTED_LATE,            /* the connection breaks, and the request arrives late_ms after that */
	SCRIPTED_CUT,             /* applied; the answer breaks off in the middle of its body, or before it */
	SCRIPTED_BUSY,            /* not applied: 503 with Retry-After: 1 */
	SCRIPTED_TWICE,           /* arrives twice; the second answer comes back */
	SCRIPTED_FAULTS
};
const char *scripted_fault_name(enum scripted_fault f);

struct scripted_request {
	unsigned    number;                /* from 1, in the order of leaving the client */
	const char *method, *url;
	struct url  at;                    /* url, parsed */
	const struct http_header *headers;
	size_t      nheaders;
	struct span body;
	const struct http_tls *tls;        /* as the backend set it; NULL: system roots */
	bool        no_proxy;
};
/* Name in any case; NULL: absent. */
const char *scripted_header(const struct scripted_request *rq, const char *name);
/* Decoded value of a query parameter, owned by the caller; NULL: absent. */
char       *scripted_query(const struct scripted_request *rq, const char *name);

struct scripted_answer {
	int                 status;        /* 0: as if it never arrived (no answer until the deadline) */
	struct http_header  headers[HTTP_HEADERS_MAX];
	size_t              nheaders;
	struct body        *body;          /* owned */
	int64_t             delay_ms;      /* between arriving and answering */
	enum scripted_fault fault;         /* of an expectation; a handler's is ignored: see scripted_decide() */
};
/* Content-Length is added by itself unless it is set. */
void scripted_add_header(struct scripted_answer *a, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void scripted_set_body(struct scripted_answer *a, struct span body);

typedef void scripted_handler(void *arg, const struct scripted_request *rq, struct scripted_answer *ret);

struct scripted_http;

struct scripted_http *scripted_http_new(struct loop *l);
void                  scripted_http_free(struct scripted_http *s); /* the client too; no request may be left */
struct http_client   *scripted_http_client(struct scripted_http *s);

/* The next request must be this one. url: the whole if it begins with "http", else a part of it. headers: "Name: value"
 * lines. The answer may be changed until it is used. */
struct scripted_answer *scripted_expect(struct scripted_http *s, const char *method, const char *url, int status,
                                        const char *headers, const char *body);
/* Answers what no expectation is left for. */
void scripted_handle(struct scripted_http *s, scripted_handler *fn, void *arg);
/* The test fails if an expectation was not used. */
void scripted_http_check(const struct scripted_http *s);

/* --- faults, whoever answers --- */
/* The n-th request, counted from 1 over the life of s. */
void scripted_fail(struct scripted_http *s, unsigned number, enum scripted_fault f);
/* Each request, with that probability, fails by one of the faults in mask (bits 1 << SCRIPTED_...; 0: all). */
void scripted_chaos(struct scripted_http *s, unsigned per_mille, unsigned mask, uint64_t seed);
/* Asked for each request first; SCRIPTED_OK leaves it to the rules above. */
void scripted_decide(struct scripted_http *s, enum scripted_fault (*fn)(void *arg, const struct scripted_request *rq),
    void *arg);
/* Each way takes min to max ms (0, 0: one turn). */
void scripted_latency(struct scripted_http *s, int64_t min_ms, int64_t max_ms, uint64_t seed);
void scripted_late(struct scripted_http *s, int64_t late_ms); /* SCRIPTED_LATE; 60 s if not set */
/* Bodies above n are handed out as files, as a spooled one is (BODY_SPOOL_ABOVE if not set). */
void scripted_spool_above(struct scripted_http *s, uint64_t n);

/* --- looking --- */
unsigned    scripted_http_count(const struct scripted_http *s);   /* requests that began */
unsigned    scripted_http_arrived(const struct scripted_http *s); /* that were applied */
/* One line each: "12 ms #3 PUT https://h/k 120 -> 200 0", "... -> lost_answer". Valid until the next request. */
const char *scripted_http_trace(const struct scripted_http *s);

#endif
