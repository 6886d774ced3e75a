/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_GOLDEN_H
#define TESTS_LIB_GOLDEN_H

#include <jansson.h>

#include "scripted_http.h"

/*
 * A recording of another client's traffic (tests/golden), which answers our requests: a JSON document with "exchanges", each of a request
 * (method, target, with "scheme" and "host" or a Host header; headers as pairs or as "Name: value"; body) and its response. Ours come in
 * the same order; what the other client sends in between is skipped, and what is not there fails the test.
 */
struct golden {
	json_t                  *root;
	char                     name[80];
	struct scripted_request *requests;  /* as recorded */
	size_t                   n, next;   /* how many, and the first that may come */
	unsigned                 replayed;
	bool                   (*same)(const struct scripted_request *ours, const struct scripted_request *theirs); /* the same call? */
	void                   (*compare)(const struct scripted_request *ours, const struct scripted_request *theirs);
};

/* tests/golden/FOLDER/NAME.json */
void golden_open(struct golden *g, const char *folder, const char *name);
void golden_close(struct golden *g);
/* A scripted_handler; arg is the recording. */
void golden_handle(void *arg, const struct scripted_request *rq, struct scripted_answer *ret);
/* The recorded answer to exchange i. */
void golden_answer(const struct golden *g, size_t i, struct scripted_answer *ret);
/* The first request from g->next on for which fn is true; NULL: none. */
const struct scripted_request *golden_find(const struct golden *g, bool (*fn)(const struct scripted_request *theirs));
/* Each header of theirs that matters is one of ours, with the same value. */
void golden_headers(const struct scripted_request *ours, const struct scripted_request *theirs,
    bool (*matters)(const struct scripted_request *rq, const struct http_header *h));

/* A whole document; json_decref() it. */
json_t     *golden_load(const char *folder, const char *name);
/* A member that is a text; "": there is none. */
const char *golden_text(const json_t *o, const char *key);

#endif
