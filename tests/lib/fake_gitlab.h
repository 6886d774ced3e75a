/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_GITLAB_H
#define TESTS_LIB_FAKE_GITLAB_H

#include "scripted_http.h"

/* GitLab in memory, as docs/protocol/http-state.md has it: the states of one project, their locks, and the questions of its API. What a
 * client does that is not as documented fails the test. */
#define FAKE_GITLAB_TOKEN "glpat-CANARYgitlab"
#define FAKE_GITLAB_STATE(project) "https://gitlab.example.com/api/v4/projects/" project "/terraform/state/"

struct fake_gitlab_state {
	char         name[256], lock[256]; /* lock: the holder's ID, "": none */
	struct body *body;
	uint64_t     serial;
	unsigned     created, going; /* going: deleted, and gone after so many requests */
};

struct fake_gitlab {
	struct fake_gitlab_state s[32];
	size_t   n;
	unsigned page, now, asked, reads;
	bool     any_serial;  /* the last one written is shown, whatever its serial */
	bool     hides;       /* no such project to this token */
	bool     keeps;       /* no row may be deleted */
};

struct fake_gitlab       *fake_gitlab_behind(struct scripted_http *h);
void                      fake_gitlab_free(struct fake_gitlab *v);
struct fake_gitlab_state *fake_gitlab_at(struct fake_gitlab *v, const char *name); /* made if need be */
void                      fake_gitlab_put(struct fake_gitlab *v, const char *name, struct span body);
size_t                    fake_gitlab_locks(const struct fake_gitlab *v);

#endif
