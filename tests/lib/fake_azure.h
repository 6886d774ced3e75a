/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAKE_AZURE_H
#define TESTS_LIB_FAKE_AZURE_H

#include "base/map.h"
#include "scripted_http.h"

/*
 * A container of Azure Blob Storage in memory, behind the scripted HTTP client: signatures, infinite leases, conditions, metadata,
 * snapshots, pages. Any other request fails the test.
 */
#define FAKE_AZURE_ACCOUNT   "acmestates"
#define FAKE_AZURE_CONTAINER "tfstate"
#define FAKE_AZURE_KEY       "dGVzdCBrZXkgb2Ygc3RhdGVmZXJyeSwgbm90IGEgc2VjcmV0IQ=="

struct fake_azure {
	struct map *blobs;          /* by name */
	uint64_t    etag;
	unsigned    page, snapshots; /* names of a page, 0: as many as asked for; how many were made */
	bool        missing;        /* the container is */
	bool        without_md5;    /* as blobs made of blocks are */
	bool        lets_all_in;    /* leases exclude nobody */
	bool        asks_once;      /* a lease is refused to whom has it already, too */
	bool        signs_by_sas;
};

struct fake_azure *fake_azure_behind(struct scripted_http *http);
void               fake_azure_free(struct fake_azure *f);
/* As another party, whatever lease there is. */
void               fake_azure_put(struct fake_azure *f, const char *name, struct span body);
bool               fake_azure_get(struct fake_azure *f, const char *name, struct span *ret);   /* false: not there */
const char        *fake_azure_meta(struct fake_azure *f, const char *name, const char *key);   /* "": none */
void               fake_azure_set_meta(struct fake_azure *f, const char *name, const char *key, const char *value);
const char        *fake_azure_lease(struct fake_azure *f, const char *name);                   /* its ID, "": none */
void               fake_azure_set_lease(struct fake_azure *f, const char *name, const char *id);
size_t             fake_azure_leases(struct fake_azure *f);

#endif
