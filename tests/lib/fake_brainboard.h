/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_BRAINBOARD_H
#define TESTS_LIB_FAKE_BRAINBOARD_H

#include "scripted_http.h"

/*
 * The three lists of Brainboard's public API: bare arrays; a key of the region, raw or with "Bearer "; both shapes of errors. Any
 * other request fails the test.
 */
#define FAKE_BRAINBOARD_HOST  "api.us1.brainboard.co"
#define FAKE_BRAINBOARD_TOKEN "bb-canary-token"
#define FAKE_BRAINBOARD_MAX   512

struct fake_architecture {
	bool     there;
	unsigned environment;  /* 0 to environments - 1 */
	char     name[40], status[16];
};

struct fake_brainboard {
	struct fake_architecture arch[FAKE_BRAINBOARD_MAX];
	unsigned projects, environments; /* environment e belongs to project e % projects */
	bool     embedded;     /* projects tell their environments */
	bool     raw, bearer;  /* spellings that are accepted */
	bool     older_errors;
	int      refuse;       /* every request gets this status; 0: none */
	unsigned retry_after;  /* seconds, with it */
	const char *garbage;   /* instead of each answer; NULL: none */
	unsigned requests, raw_seen, bearer_seen;
};

void fake_brainboard_init(struct fake_brainboard *f, struct scripted_http *http);
/* Adds or changes one, and gives its UUID (static, rotating over 8 buffers). */
const char *fake_brainboard_put(struct fake_brainboard *f, unsigned n, unsigned environment, const char *name);
const char *fake_brainboard_uuid(char kind, unsigned n); /* 'p', 'e', 'a' */
#endif
