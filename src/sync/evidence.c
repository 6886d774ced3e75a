/* SPDX-License-Identifier: MIT */
#include "core.h"

/* What a target held is kept before it goes: as a version that never is a head. */
void
evidence_make(struct version_rec *ret, const struct engine *e, const struct snapshot *there, const char *lineage, uint64_t serial,
    const char *edge, const struct backend *at, char origin[ERR_MSG_MAX])
{
	const struct state_info *now = &there->info;

	snprintf(origin, ERR_MSG_MAX, VERSION_FROM_TARGET " %s %s", edge, at->label);
	*ret = (struct version_rec){ .digest = there->digest, .serial = now->serial, .size = now->size, .instances = now->instances,
		.resources = now->resources, .lineage = now->lineage, .writer = now->writer, .kind = now->kind, .reason = "",
		.seen = loop_wall(e->loop), .run = "", .who = "", .operation = "", .origin = origin, .added = -1, .changed = -1, .removed = -1 };
	ret->verdict = !state_is_good(now) ? VERDICT_DAMAGED : lineage == NULL || strcmp(now->lineage, lineage) != 0 ? VERDICT_UNRELATED :
	    now->serial < serial ? VERDICT_OLDER : VERDICT_FORK;
}
