/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_GCS_H
#define TESTS_LIB_FAKE_GCS_H

#include "base/map.h"
#include "loop/loop.h"
#include "scripted_http.h"

/*
 * A bucket of Cloud Storage in memory, behind the scripted HTTP client: pages as they are asked for, 204 for a deletion, generations
 * that go up and down, preconditions, checksums, keys of the customer. Any other request fails the test.
 */
#define FAKE_GCS_BASE   "http://gcs.test/"
#define FAKE_GCS_BUCKET "acme-states"
#define FAKE_GCS_TOKEN  "ya29.fake"

struct fake_gcs {
	struct map *objects;          /* by name */
	uint64_t    generation;
	unsigned    page;             /* names of a page; 0: as many as asked for */
	struct loop *clock;           /* a name takes one change per second of it; NULL: any number */
	struct map *changed;          /* when each was changed last */
	unsigned    throttled;        /* answers 429 */
	bool        ignores_conditions, ignores_conditions_of_deletes;
	char        last_query[2048]; /* of the last upload */
	/* The upload in pieces that was begun last. */
	struct buf  pieces;
	uint64_t    takes;            /* of one piece; 0: all */
	bool        session_is_over;
	unsigned    questions;        /* how much has arrived */
	char        session_name[1100], session_if[32], session_sum[16], session_key[64], session_done[24];
};

struct fake_gcs *fake_gcs_behind(struct scripted_http *http);
void             fake_gcs_free(struct fake_gcs *f);
void             fake_gcs_put(struct fake_gcs *f, const char *name, struct span body);
/* false: not there. */
bool             fake_gcs_get(struct fake_gcs *f, const char *name, struct span *ret);
/* SHA-256 in base64 of the customer's key that it was written under; "": none. It is there. */
const char      *fake_gcs_key(struct fake_gcs *f, const char *name);

#endif
