/* SPDX-License-Identifier: MIT */
#ifndef PROVIDER_LOCK_INFO_H
#define PROVIDER_LOCK_INFO_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/rand.h"

/*
 * The lock body that every backend of terraform shares: one JSON object, keys in this order, no blanks
 * (docs/protocol/locks.md). Ours must be byte-equal to what Go would print, because OpenTofu compares it.
 */
#define LOCK_BODY_MAX 65536

struct lock_info {
	char id[256];
	char operation[64];
	char info[512];
	char who[128];
	char version[32];
	char created[48];     /* RFC 3339 UTC, trailing zeros of the fraction removed */
	char path[1280];
	char generation[128]; /* the lock object's ETag or generation where the remote has one; not part of the body */
	bool late;            /* of ours, from provider_lock(): a request for it got no answer, and may still be carried out */
	bool unnamed;         /* of one that was met: nothing there says whose it is, it may be ours; id is only what it goes by */
};

/* A fresh lock of ours: id drawn from r for agent_id (NULL: an agent without a store), who "stateferry@NAME", operation "stateferry". All
 * text is reduced to printable ASCII without < > & so that every JSON encoder prints it alike. */
void          lock_info_make(struct lock_info *l, struct rand *r, int64_t wall_ms, const char *agent_id, const char *agent_name,
    const char *info, const char *path);
void          lock_info_body(const struct lock_info *l, struct buf *ret);
/* Tolerant as terraform: key case and unknown keys ignored, missing ones empty, long ones cut. ERR_CORRUPT: no JSON object;
 * then id is empty and whatever is known stays readable. */
enum err_code lock_info_parse(struct span body, struct lock_info *ret, struct err *reterr);
/* "Who (Operation) since Created, ID": for messages. Control bytes are replaced. */
void          lock_info_print(const struct lock_info *l, struct buf *ret);
/* "stateferry unlock LABEL:NAME ID", as a shell takes it; and "terraform force-unlock ID", for those that are to be known to both. */
void          lock_info_unlock_by(const char *label, const char *name, const char *id, struct buf *ret);
void          lock_info_unlock_by_both(const char *label, const char *name, const char *id, struct buf *ret);
/* "NAME is locked by ", and that: a refusal with this code. Returns it. */
enum err_code lock_info_refuse(const struct lock_info *l, enum err_code code, int detail, const char *name, struct err *reterr);
/* Ours are told by their ids alone, wherever they turn up: the latter half of one is a digest of the former and of the agent's id. */
void          lock_id_make(struct rand *r, const char *agent_id, char ret[37]);
bool          lock_id_is_of(const char *id, const char *agent_id);
bool          lock_info_is_ours(const struct lock_info *l); /* operation "stateferry": of this fleet, not of this agent */

#endif
