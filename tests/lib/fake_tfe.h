/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_TFE_H
#define TESTS_LIB_FAKE_TFE_H

#include "base/map.h"
#include "scripted_http.h"

/*
 * The workspaces of one organization in memory, behind the scripted HTTP client: pages, locks that belong to a token, versions that are
 * announced and then uploaded to a host of blobs, where nobody may show the token. Any other request fails the test.
 */
#define FAKE_TFE_BASE  "https://tfe.test/api/v2/"
#define FAKE_TFE_TOKEN "canary.atlasv1.fake"
#define FAKE_TFE_BLOBS "https://blobs.test/"
#define FAKE_TFE_VERSIONS 512

struct tfe_version {
	char         id[24], md5[33], lineage[64];
	uint64_t     serial;
	const char  *status;          /* static */
	const char  *run;             /* static; NULL: none of the server's own wrote it */
	struct body *body;            /* NULL: not uploaded */
	bool         linked;          /* its upload was begun: the link is used up */
};

struct tfe_workspace {
	char                id[24], name[100], reason[300];
	bool                locked, foreign; /* foreign: by somebody else */
	struct tfe_version versions[FAKE_TFE_VERSIONS];
	size_t              n;
	unsigned            order;    /* of its last change */
};

struct fake_tfe {
	struct map *workspaces;       /* by name */
	unsigned    ids, order;
	size_t      page;             /* entries of a page; 0: as many as asked for */
	/* How this server is. */
	bool        one_step;         /* knows no upload */
	bool        silent;           /* tells neither the reason of a lock, nor its holder, nor which version is current */
	bool        lax;              /* checks neither lock nor lineage, and refuses serials by 500, as the open source server does */
	unsigned    pending;          /* so many looks see an uploaded version as pending */
	bool        no_force;         /* the token may not unlock by force */
	bool        no_totals;
	const char *denied;           /* a permission that the token lacks */
	const char *touched;          /* this workspace changes after that listing was answered */
	unsigned    touch_at, listings;
	char       *tags, *search, *project; /* of the last listing: what was asked for; owned */
	char        created[2000];    /* body of the last workspace that was made */
	unsigned    announced;        /* how many versions */
	unsigned    forced;           /* locks broken */
};

struct fake_tfe       *fake_tfe_behind(struct scripted_http *http);
void                   fake_tfe_free(struct fake_tfe *f);
/* It is made when it is not there. */
struct tfe_workspace *fake_tfe_workspace(struct fake_tfe *f, const char *name);
void                   fake_tfe_drop(struct fake_tfe *f, const char *name);
/* Another party writes, whatever stands against it. */
struct tfe_version   *fake_tfe_put(struct fake_tfe *f, const char *name, struct span body);
/* The bytes of the current version; false: there is none. */
bool                   fake_tfe_get(struct fake_tfe *f, const char *name, struct span *ret);
unsigned               fake_tfe_locks(struct fake_tfe *f);

#endif
