/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_MEM_WORLD_H
#define PROVIDER_MEM_WORLD_H

#include "base/map.h"
#include "provider/mem.h"

/* What a world of the reference provider is made of. */
struct mem_state {
	struct body *body;  /* NULL: locked, but nothing written yet */
	uint64_t     tag;
	char        *lock;  /* body; NULL: not locked */
};

struct mem_version {
	struct body *body;  /* NULL: lost */
	uint64_t     tag;
	int64_t      made;
};

/* Of a state, oldest first. */
struct mem_versions {
	struct mem_version *v;
	size_t              n;
};

struct mem_world {
	struct map   *states;
	struct map   *versions; /* by name, of struct mem_versions: what was ever written */
	int64_t       date;
	enum err_code deny_list, deny_read;
	uint64_t      tags, writes;
	enum err_code down;
	uint64_t      calls, fault_at;
	enum err_code fault;
	uint32_t      retry_after_ms;
	bool          fault_after;
};

struct mem_state *mem_state(struct mem_world *w, const char *name);
struct mem_versions *mem_versions(struct mem_world *w, const char *name);
void mem_store(struct mem_world *w, const char *name, struct body *body);

#endif
