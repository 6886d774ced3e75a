/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_BASE_STATE_RIG_H
#define TESTS_UNIT_BASE_STATE_RIG_H

#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/state_scan.h"
#include "../../lib/test.h"

/* What a scan tells, collected. */
struct objects {
	struct state_object *o;      /* address and deposed are copies */
	size_t               n, cap;
};
void objects_add(void *arg, const struct state_object *o); /* arg: struct objects */
void objects_free(struct objects *all);

/* Pieces of size bytes; 0: all in one. Each in memory of its own, so that sanitizers see every step outside. all may be NULL. */
void              scan_pieces(const char *body, size_t n, size_t size, struct objects *all, struct state_info *ret);
/* Text as written in a test, with ' for ". Valid until the next call but one. */
const char       *scan_json(const char *text);
struct state_info scan_text(const char *text);
/* A file below tests/golden/state/; its bytes live until the end of the program. */
const char       *golden_state(const char *name, size_t *ret_n);

void check_kind(const char *text, enum state_kind kind, const char *why);
/* The addresses of all objects as they come, a line each, deposed keys behind a blank, tainted behind a "!". */
void check_told(const char *text, const char *expected);

#define V4(resources) "{'version':4,'serial':1,'lineage':'l','resources':[" resources "]}"
#define RESOURCE(more) "{'mode':'managed','type':'t','name':'n'" more "}"

#endif
