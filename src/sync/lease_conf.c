/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "lease_conf.h"
#include "provider/records.h"
#include "sync/lease.h"

/* The block `lease { }` of an edge: where its leases are kept, and how long they last. */
static const char *const coordinators[] = { "target", "dynamodb", "etcd", NULL };
static const struct records_class *const coordinator_records_classes[] = { NULL, &records_dynamodb, &records_etcd };

struct lease_conf_block {
	int     coordinator;
	int64_t ttl_ms, max_failures;
};

const struct conf_field lease_fields[] = {
	{ "coordinator", CONF_ENUM, offsetof(struct lease_conf_block, coordinator), "target",
	    "where leases are kept: target, or what the block of that name says", NULL, coordinators, false, NULL },
	{ "ttl", CONF_MS, offsetof(struct lease_conf_block, ttl_ms), "60s", "a holder that is gone is followed within twice that", NULL,
	    NULL, false, NULL },
	{ "max_failures", CONF_INT, offsetof(struct lease_conf_block, max_failures), "5",
	    "failures of the target in a row after which it is left to others for a while; 0: never", NULL, NULL, false, NULL },
	{ .name = NULL },
};

bool
edge_lease_same(const struct edge_lease *a, const struct edge_lease *b)
{
	return a->on == b->on && a->ttl_ms == b->ttl_ms && a->max_failures == b->max_failures && (a->records == NULL) == (b->records == NULL) &&
	    (a->records == NULL || (a->records->class == b->records->class && strcmp(a->records->where, b->records->where) == 0));
}

/* Who keeps leases has to enforce preconditions: without them two would hold one. */
static enum err_code
lease_conf_targets(const struct edge *e, struct conf_pos pos, struct err *reterr)
{
	for (size_t i = 0; i < e->nlanes; i++) {
		const struct backend *to = e->lanes[i].to;

		if ((provider_caps(to) & PROVIDER_CAS) != 0)
			continue;
		conf_error(reterr, pos, "\"%s\" cannot carry a lease: %s has no precondition of a write", to->label, to->provider->name);
		return err_hint(reterr, "coordinator = \"dynamodb\" or \"etcd\", with a block of that name in the lease block, keeps it elsewhere");
	}
	return ERR_OK;
}

/* The one nested block is that of the coordinator. */
static enum err_code
lease_conf_records(struct conf *c, const struct provider_env *env, struct conf_block *b, const char *coordinator,
    const struct records_class *class, struct records **ret, struct err *reterr)
{
	struct conf_block *own = NULL;

	for (size_t i = 0; i < b->nblocks; i++) {
		struct conf_block *inner = &b->blocks[i];

		if (strcmp(inner->type, coordinator) != 0)
			return conf_error(reterr, inner->pos, "a block `%s` stands beside coordinator = \"%s\"", inner->type, coordinator);
		if (own != NULL)
			return conf_error(reterr, inner->pos, "a second block `%s` in a lease", inner->type);
		own = inner;
	}
	if (class == NULL)
		return ERR_OK;
	if (own == NULL)
		return conf_error(reterr, conf_where(b, "coordinator"),
		    "coordinator = \"%s\" needs a block `%s { ... }` inside the lease block", coordinator, coordinator);
	if (own->nlabels != 0)
		return conf_error(reterr, own->pos, "%s takes no label", coordinator);
	return class->open(env, c, own, ret, reterr);
}

enum err_code
lease_conf_read(struct conf *conf, const struct provider_env *env, struct edge *e, struct conf_block *b, struct err *reterr)
{
	static const struct conf_field *const tables[] = { lease_fields, NULL };
	static const char *const              blocks[] = { "dynamodb", "etcd", NULL };
	struct lease_conf_block               c = { .coordinator = 0 };

	if (e->lease.on)
		return conf_error(reterr, b->pos, "a second lease block in \"%s\"", e->name);
	if (conf_filled(conf, b, lease_fields, &c, tables, blocks, reterr) != ERR_OK)
		return reterr->code;
	if (c.ttl_ms < LEASE_TTL_MIN_MS)
		return conf_error(reterr, conf_where(b, "ttl"), "ttl is at least 2s");
	if (c.ttl_ms > LEASE_TTL_MAX_MS)
		return conf_error(reterr, conf_where(b, "ttl"), "ttl is at most 24h");
	if (c.max_failures < 0 || c.max_failures > LEASE_FAILURES_MAX)
		return conf_error(reterr, conf_where(b, "max_failures"), "max_failures is a number from 0 to %d", LEASE_FAILURES_MAX);
	e->lease = (struct edge_lease){ true, c.ttl_ms, c.max_failures, NULL };
	if (lease_conf_records(conf, env, b, coordinators[c.coordinator], coordinator_records_classes[c.coordinator], &e->lease.records,
	        reterr) != ERR_OK)
		return reterr->code;
	return c.coordinator == 0 ? lease_conf_targets(e, b->pos, reterr) : ERR_OK;
}
