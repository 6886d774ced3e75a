/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_SEND_H
#define SRC_PROVIDER_SEND_H

#include "base/digest.h"
#include "provider/provider.h"

/*
 * One request to a store of objects, until it has an answer that its caller can judge. The same for all such stores: credentials come
 * first; an attempt may take the backend's timeout and what its size needs at 1 MB/s, and a body that stays away for the timeout ends
 * it; what failed is sent again after a pause, within the timeout from the first attempt, if that can do no harm: reads, and changes
 * that were refused for certain. What differs is a table of functions.
 */
#define SEND_HEADERS     48 /* of a request: Azure Blob carries the metadata of a blob here */
#define SEND_OWN_HEADERS 8  /* that an attempt adds: a signature, a token */
#define SEND_CODE_MAX    64 /* bytes of what an answer says, both */
#define SEND_MESSAGE_MAX 256

struct send_request {
	const char        *method;
	char              *object;    /* its name or key, owned; NULL: what is asked about is the bucket */
	char              *path;      /* escaped, owned; NULL: the driver derives it from object */
	char              *query;     /* escaped, owned; NULL: none */
	struct http_header headers[SEND_HEADERS]; /* names static, values owned and wiped */
	size_t             nheaders;
	struct body       *body;      /* owned */
	struct digest      digest;    /* of the body's bytes, where the driver signs them */
	bool               changing;  /* a lost answer leaves its outcome unknown */
	uint64_t           max_body;  /* of the answer, in bytes */
	const char        *max_body_name; /* of the setting behind it, static; NULL: none */
	bool               keep, spool;   /* see http_client.h */
	enum err_code    (*on_body)(void *arg, const void *p, size_t n, struct err *reterr);
	void             (*restart)(void *arg); /* before each attempt: what on_body saw is void */
	void              *arg;       /* of both; outlives the op */
};

struct send_answer {
	struct http_response http;
	char                 code[SEND_CODE_MAX]; /* of a refusal, as the driver reads it; "": it names none */
	char                 message[SEND_MESSAGE_MAX];
};

/* Both for the memory of the op that sends: the contents are freed, the structs usable again. */
void send_request_free(struct send_request *r);
void send_answer_free(struct send_answer *a);
void send_header(struct send_request *r, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Appends to the query, escaped. */
void send_query(struct send_request *r, const char *name, const char *value);
/* "CODE" of a refusal, with a space in front; "": it names none. For messages: "(403%s%s)". */
#define SEND_CODE(a) (a)->code[0] != '\0' ? " " : "", (a)->code

/* What an answer means. */
enum send_verdict {
	SEND_DONE,  /* it is for the caller */
	SEND_AGAIN, /* refused before anything was done, and the driver has learned why: at once. The driver ends this, each once */
	SEND_RENEW, /* refused for the credentials: once more with others; the caller's if there are none */
	SEND_LATER, /* refused for the load: nothing was done. ERR_BUSY when the time is over */
	SEND_DOWN,  /* failed there. The same for a read; a change may have been carried out: ERR_UNCERTAIN */
	SEND_ASK,   /* does not say why: first x->side, which the driver has filled, then told(). Once */
};

struct send;

struct send_driver {
	int64_t           pause_ms;  /* before the first repetition, see rand_backoff_ms() */
	bool              elsewhere; /* the next attempt goes to another server: changes too, where nothing of the last one was sent */
	/* An op that ends OK when there are credentials. It, or the function, NULL: there are. */
	struct op        *(*ready)(struct send *x);
	/* Puts r on the wire by send_attempt(): x's own request, or its side request. */
	struct op        *(*attempt)(struct send *x, const struct send_request *r, struct send_answer *ret);
	/* Reads x->ret, which has a status: its code and message too. */
	enum send_verdict (*judge)(struct send *x);
	/* The same of x->ret with what x->told, the answer to the side request, adds to it. NULL: judge() never asks. */
	enum send_verdict (*told)(struct send *x);
	/* The credentials of the last attempt are not to be used again; false: there are no others. NULL: never SEND_RENEW. */
	bool              (*renew)(struct send *x);
};

/* First member of a driver's own struct, which send_free() frees as a whole. */
struct send {
	struct op                 op;
	const struct send_driver *driver;
	struct backend           *b;     /* whose requests are counted; NULL: nobody's, then these two are set: */
	const struct provider_env *env;
	int64_t                   timeout_ms;
	struct send_request      *r;     /* the caller's */
	struct send_answer       *ret;
	struct send_request       side;
	struct send_answer        told;
	char                     *where; /* "bucket NAME", owned: messages begin with it */
	int64_t                   most;  /* attempts */
	unsigned                  generation; /* of the credentials of the last attempt: the driver's */
	/* --- the sender's own --- */
	struct timer              stall; /* no piece of a body for too long */
	bool                      stalled, renewed, asked;
	int64_t                   tries, begun;
};

/*
 * x: zeroed memory, where the driver has set its table, b, where and most; it belongs to the op that is returned. r and ret outlive
 * the op, which leaves r as it is. Ends OK with any answer that was judged SEND_DONE; else as http_client.h says, or with ERR_BUSY,
 * ERR_UNCERTAIN.
 */
struct op *send_init(struct send *x, const struct op_class *class, struct send_request *r, struct send_answer *ret);
/* One attempt. h: url, and where they matter tls, proxy, no_proxy, expect_continue; its headers, at most SEND_OWN_HEADERS, are the
 * driver's own, whose values are wiped and freed here. The rest is r's. */
struct op *send_attempt(struct send *x, const struct send_request *r, struct http_request *h, struct send_answer *ret);

/* Of the op class that a driver makes for its requests: { "name", SEND_OP_CLASS }. */
enum op_turn send_step(struct op *op);
void         send_free(struct op *op);
#define SEND_STATES 4
extern const char *const send_states[SEND_STATES];
#define SEND_OP_CLASS send_step, NULL, send_free, send_states, SEND_STATES

#endif
