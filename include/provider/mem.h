/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_MEM_H
#define PROVIDER_MEM_H

#include "provider/provider.h"

/*
 * The reference provider: states in memory, with change tags, preconditions, locks by id and a latency in loop time. For
 * tests: several backends, of several agents, may share one world.
 */
struct mem_world;

struct mem_world *mem_world_new(void);
void              mem_world_free(struct mem_world *w);
/* b, opened with provider "mem", uses w instead of a world of its own. w outlives it. */
void              mem_attach(struct backend *b, struct mem_world *w);

/* What another party does, at once. body NULL in mem_world_put: removes. */
void              mem_world_put(struct mem_world *w, const char *name, struct span body);
bool              mem_world_get(struct mem_world *w, const char *name, struct span *ret);   /* until the next change */
void              mem_world_lock(struct mem_world *w, const char *name, const char *body);  /* NULL: unlocks */
const char       *mem_world_locked(struct mem_world *w, const char *name);                  /* body, NULL: not locked */
size_t            mem_world_locks(struct mem_world *w);                                     /* how many are held */
/* What is written from now on is said to be made then; 0 (at first): nobody knows. */
void              mem_world_date(struct mem_world *w, int64_t wall_ms);
/* The n-th version of a state, from 1: its bytes are gone, though it is listed. */
void              mem_world_lose(struct mem_world *w, const char *name, size_t n);
/* The oldest versions go, as by a rule of the remote's. */
void              mem_world_expire(struct mem_world *w, const char *name, size_t keep);
/* Older versions cannot be listed, or not be read, until it is taken back (ERR_OK). */
void              mem_world_deny(struct mem_world *w, enum err_code list, enum err_code read);
uint64_t          mem_world_writes(struct mem_world *w);
void              mem_world_each(struct mem_world *w, void (*fn)(void *arg, const char *name, struct span body), void *arg);
/* Every call ends with this error until it is taken back (ERR_OK). */
void              mem_world_down(struct mem_world *w, enum err_code code);
/* The n-th call from now (1: the next) ends with code, once: before it has its effect, or after. With ERR_UNCERTAIN a reading
 * call gets ERR_NETWORK instead, as a real client would say. ERR_OK before: a write is answered as done, and is not. */
void              mem_world_fault(struct mem_world *w, uint64_t n, enum err_code code, bool after);
void              mem_world_retry_after(struct mem_world *w, uint32_t ms); /* what such an ERR_BUSY asks for; 0: nothing */
uint64_t          mem_world_calls(struct mem_world *w);

#endif
