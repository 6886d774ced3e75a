/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_HARNESS_H
#define TESTS_LIB_FAKE_HARNESS_H

#include "base/map.h"
#include "scripted_http.h"

/* Harness IaCM in memory, as docs/protocol/harness.md has it: one project's workspaces, their states and locks. What a client does that
 * is not as documented is counted in wrong. */
#define FAKE_HARNESS_BASE    "https://app.harness.io/gateway/iacm/api/orgs/acme/projects/net"
#define FAKE_HARNESS_ACCOUNT "dRz8JkPq-VEu_7w0Kc3b0A"
#define FAKE_HARNESS_KEY     "pat.dRz8.CANARYharness"
#define FAKE_HARNESS_INCIDENT "inc77"

struct fake_workspace {
	char        name[129], status[32], lock[256]; /* lock: the holder's id, "": none */
	struct body *body;
	bool        prunes;    /* gives back other bytes than it took */
	bool        odd_sum;   /* its state_checksum is something else */
	int64_t     updated;
};

struct fake_harness {
	struct fake_workspace w[16];
	size_t   n;
	unsigned page;         /* workspaces of one, whatever limit says */
	unsigned wrong, docs, lists, reads;
	int64_t  now;
	bool     hides_docs;   /* 403 to who asks about a workspace */
	void   (*between)(struct fake_harness *v); /* called once, after the first page */
	struct scripted_http *http;
};

struct fake_harness   *fake_harness_behind(struct scripted_http *s);
void                   fake_harness_free(struct fake_harness *v);
struct fake_workspace *fake_harness_add(struct fake_harness *v, const char *name);
struct fake_workspace *fake_harness_find(struct fake_harness *v, const char *name);
void                   fake_harness_put(struct fake_harness *v, const char *name, struct span body); /* another party writes */
size_t                 fake_harness_locks(const struct fake_harness *v);

#endif
