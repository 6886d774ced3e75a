/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>

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

static bool
lease_record_fill(const json_t *root, struct lease_record *r)
{
	int64_t     format, counter, epoch, transitions, given;
	const char *since = json_string_value(json_object_get(root, "since"));

	if (!lease_number(root, "stateferry_lease", 1, &format) || !lease_text(root, "holder", r->holder, sizeof(r->holder)) ||
	    !lease_text(root, "name", r->name, sizeof(r->name)) || !lease_text(root, "nonce", r->nonce, sizeof(r->nonce)) ||
	    !lease_number(root, "counter", 0, &counter) || !lease_number(root, "epoch", 1, &epoch) ||
	    !lease_number(root, "transitions", 0, &transitions) || !lease_number(root, "ttl_ms", LEASE_TTL_MIN_MS, &r->ttl_ms))
		return false;
	r->counter = (uint64_t)counter;
	r->epoch = (uint64_t)epoch;
	r->transitions = (uint64_t)transitions;
	r->given = lease_number(root, "given", 0, &given) ? (uint64_t)given : 0; /* not in records of the first version */
	if (since == NULL || !time_parse(since, &r->since))
		r->since = 0;
	return true;
}

enum err_code
lease_record_read(struct span json, struct lease_record *ret, struct err *reterr)
{
	json_t *root = json.n > 0 && json.n <= RECORD_MAX ? json_loadb((const char *)json.p, json.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
	bool    ok;

	memset(ret, 0, sizeof(*ret));
	ok = lease_record_fill(root, ret);
	json_decref(root);
	if (ok)
		return ERR_OK;
	err_set(reterr, ERR_CORRUPT, 0, "not the record of a lease");
	return err_hint(reterr, "nothing is written under it; if nobody needs what is there, remove it");
}
