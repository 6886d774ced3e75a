/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_TOKEN_H
#define SRC_PROVIDER_TOKEN_H

#include "loop/op.h"

/*
 * What a backend signs in with for a while: a bearer token, temporary keys. A value is fetched by an operation of its own, once for
 * all that wait for it. Shortly before its end (TOKEN_MARGIN_MS) the next one is fetched while the present one is still used;
 * only in its last seconds (TOKEN_EDGE_MS), or once the server refused it, requests wait. A renewal that fails while the
 * present value is good is said once, and tried again after TOKEN_PAUSE_MS; without a good one, whoever asks within
 * TOKEN_AGAIN_MS gets the same error, and nobody is asked.
 */
#define TOKEN_MARGIN_MS ((int64_t)5 * 60 * 1000) /* at most half of its life, */
#define TOKEN_SPREAD_MS ((int64_t)60 * 1000)     /* and up to this much earlier: not all agents at once */
#define TOKEN_EDGE_MS   ((int64_t)10 * 1000)     /* at most a quarter of its life */
#define TOKEN_PAUSE_MS  ((int64_t)30 * 1000)
#define TOKEN_AGAIN_MS  ((int64_t)1000)

struct token_class {
	const char *what;                          /* "the access token", for the log */
	size_t      size;                          /* of a value */
	struct op *(*fetch)(void *arg, void *ret); /* ret: zeroed, lives longer than the op, counts when that ends OK */
	int64_t    (*ends)(const void *value);     /* wall ms; 0: never */
	void       (*wipe)(void *value);           /* what it holds */
	void       (*release)(void *arg);          /* after token_free(), when no fetch needs arg any more; may be NULL */
};

struct token;

/* who: of whom the log speaks; lives as long as arg. */
struct token *token_new(struct loop *l, const struct token_class *class, void *arg, const char *who);
void          token_free(struct token *t);     /* nobody may wait. NULL: no-op */
/* A value that is known already; takes what it holds and zeroes it. */
void          token_set(struct token *t, void *value, int64_t wall_ms);
/* Ends OK when there is a value that is good at that time. */
struct op    *token_ready(struct token *t, int64_t wall_ms);
/* After that, until the next turn of the loop. NULL: none. */
void         *token_value(struct token *t);
unsigned      token_generation(const struct token *t);
/* The server refused the value of that generation: the next token_ready() waits for another one. */
void          token_reject(struct token *t, unsigned generation);

#endif
