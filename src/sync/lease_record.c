/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/time.h"
#include "sync/lease.h"

/* The record of a lease, as it lies at a coordinator. */
#define LEASE_FORMAT 1

void
lease_record_write(const struct lease_record *r, struct buf *ret)
{
	struct json_writer w;

	json_begin(&w, ret);
	json_obj(&w);
	json_kv_u64(&w, "stateferry_lease", LEASE_FORMAT);
	json_kv_str(&w, "holder", r->holder);
	json_kv_str(&w, "name", r->name);
	json_kv_str(&w, "nonce", r->nonce);
	json_kv_u64(&w, "counter", r->counter);
	json_kv_u64(&w, "epoch", r->epoch);
	json_kv_u64(&w, "transitions", r->transitions);
	json_kv_u64(&w, "given", r->given);
	json_kv_i64(&w, "ttl_ms", r->ttl_ms);
	json_kv_time(&w, "since", r->since);
	json_key(&w, "stores");
	json_obj(&w);
	for (size_t i = 0; i < LEASE_STORES && r->stores[i].agent[0] != '\0'; i++)
		json_kv_u64(&w, r->stores[i].agent, r->stores[i].commits);
	json_obj_end(&w);
	json_obj_end(&w);
}

/* false: not there, or too long to be ours. */
static bool
lease_text(const json_t *root, const char *key, char *ret, size_t max)
{
	const char *s = json_string_value(json_object_get(root, key));

	if (s == NULL || strlen(s) >= max)
		return false;
	snprintf(ret, max, "%s", s);
	return true;
}

static bool
lease_number(const json_t *root, const char *key, int64_t min, int64_t *ret)
{
	const json_t *v = json_object_get(root, key);

	*ret = json_integer_value(v);
	return json_is_integer(v) && *ret >= min;
}

uint64_t
lease_record_commits(const struct lease_record *r, const char *agent_id)
{
	for (size_t i = 0; i < LEASE_STORES; i++)
		if (strcmp(r->stores[i].agent, agent_id) == 0)
			return r->stores[i].commits;
	return 0;
}

/* In records of the first version there is none of this. */
static void
lease_record_later(json_t *root, struct lease_record *r)
{
	const char *agent;
	json_t     *commits;
	int64_t     given;
	size_t      n = 0;

	r->given = lease_number(root, "given", 0, &given) ? (uint64_t)given : 0;
	json_object_foreach(json_object_get(root, "stores"), agent, commits) {
		if (n == LEASE_STORES)
			break;
		if (agent[0] == '\0' || strlen(agent) >= LEASE_HOLDER_MAX || json_integer_value(commits) <= 0)
			continue;
		snprintf(r->stores[n].agent, LEASE_HOLDER_MAX, "%s", agent);
		r->stores[n++].commits = (uint64_t)json_integer_value(commits);
	}
}

static bool
lease_record_fill(const json_t *root, struct lease_record *r)
{
	int64_t     format, counter, epoch, transitions;
	const char *since = json_string_value(json_object_get(root, "since"));

	if (!lease_number(root, "stateferry_lease", 1, &format) || !lease_text(root, "holder", r->holder, sizeof(r->holder)) ||
	    !lease_text(root, "name", r->name, sizeof(r->name)) || !lease_text(root, "nonce", r->nonce, sizeof(r->nonce)) ||
	    !lease_number(root, "counter", 0, &counter) || !lease_number(root, "epoch", 1, &epoch) ||
	    !lease_number(root, "transitions", 0, &transitions) || !lease_number(root, "ttl_ms", LEASE_TTL_MIN_MS, &r->ttl_ms) ||
	    r->ttl_ms > LEASE_TTL_MAX_MS)
		return false;
	r->counter = (uint64_t)counter;
	r->epoch = (uint64_t)epoch;
	r->transitions = (uint64_t)transitions;
	if (since == NULL || !time_parse(since, &r->since))
		r->since = 0;
	return true;
}

enum err_code
lease_record_read(struct span json, struct lease_record *ret, struct err *reterr)
{
	json_t *root = json.n > 0 && json.n <= RECORD_MAX ? json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	int64_t format;
	bool    later, ok;

	memset(ret, 0, sizeof(*ret));
	later = lease_number(root, "stateferry_lease", LEASE_FORMAT + 1, &format);
	ok = !later && lease_record_fill(root, ret);
	if (ok)
		lease_record_later(root, ret);
	json_decref(root);
	if (ok)
		return ERR_OK;
	if (later) {
		err_set(reterr, ERR_CORRUPT, 0, "the record of a lease was written by a later version of stateferry");
		return err_hint(reterr, "nothing is written under it; agents that share a lease need the same version");
	}
	err_set(reterr, ERR_CORRUPT, 0, "not the record of a lease");
	return err_hint(reterr, "nothing is written under it; if nobody needs what is there, remove it");
}
