/* SPDX-License-Identifier: MIT */
#include "conformance.h"

#include <stdlib.h>

#include "../../lib/test.h"

#define LARGE ((size_t)3 << 20)

static const struct conformance *cf;
static struct provider_rig       rig;

#define FAILS(call, want) \
	do { \
		enum err_code rc_ = (call); \
		if (rc_ != (want)) \
			test_fail(__FILE__, __LINE__, "%s: %s, not %s: %s", #call, err_kind(rc_), err_kind(want), rig.err.msg); \
	} while (0)

static char *
cf_text(unsigned serial, size_t pad)
{
	char *blanks = xcalloc(1, pad + 1);
	char *text;

	memset(blanks, ' ', pad);
	text = xasprintf("{\"version\":4,\"serial\":%u,\"lineage\":\"l\",%s\"outputs\":{},\"resources\":[]}\n", serial, blanks);
	free(blanks);
	return text;
}

static enum err_code
cf_get(const char *name, const char *unless, struct snapshot *ret)
{
	snapshot_free(ret);
	return provider_rig_run(&rig, provider_get(rig.b, &(struct state_ref){ name }, unless, ret));
}

static struct op *
cf_put_op(const char *name, const char *text, struct put_condition when, char etag[ETAG_MAX])
{
	struct body    *bytes = body_copy(span_str(text));
	struct snapshot s;
	struct op      *op;

	snapshot_of(&s, bytes, NULL);
	op = provider_put(rig.b, &(struct state_ref){ name }, &s, &when, etag);
	snapshot_free(&s);
	body_unref(bytes);
	return op;
}

/* By the way a push goes, where a server insists on it. */
static enum err_code
cf_put(const char *name, const char *text, enum put_if when, const char *etag)
{
	struct put_condition c = { when, etag, NULL };
	struct lock_info     l, holder;
	char                 new_etag[ETAG_MAX];
	enum err_code        rc;

	if (!cf->guarded)
		return provider_rig_run(&rig, cf_put_op(name, text, c, new_etag));
	provider_lock_new(rig.b, &(struct state_ref){ name }, "put", &l);
	FAILS(provider_rig_run(&rig, provider_lock(rig.b, &(struct state_ref){ name }, &l, &holder)), ERR_OK);
	c.lock = &l;
	rc = provider_rig_run(&rig, cf_put_op(name, text, c, new_etag));
	FAILS(provider_rig_run(&rig, provider_unlock(rig.b, &(struct state_ref){ name }, &l)), ERR_OK);
	return rc;
}

/* The bytes of name are text, and digest and scan are theirs. */
static void
cf_holds(const char *name, const char *text)
{
	struct snapshot s = { 0 };
	struct digest   d;
	size_t          n = strlen(text), got = 0;
	char           *bytes = xmalloc(n + 1);

	FAILS(cf_get(name, NULL, &s), ERR_OK);
	sha256_of(text, n, &d);
	CHECK(digest_eq(&s.digest, &d));
	CHECK_U64(body_size(s.body), n);
	for (size_t at = 0; at < n; at += got)
		CHECK(body_read(s.body, at, bytes + at, n - at, &got, NULL) == ERR_OK && got > 0);
	CHECK(memcmp(bytes, text, n) == 0);
	CHECK(state_is_good(&s.info));
	free(bytes);
	snapshot_free(&s);
}

static void
cf_bytes(void)
{
	struct snapshot s = { 0 };
	char           *one = cf_text(1, 0), *two = cf_text(2, 9), *big = cf_text(3, LARGE), *four = cf_text(4, 0);

	FAILS(cf_get(cf->first, NULL, &s), ERR_NOT_FOUND);
	FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	cf_holds(cf->first, one);
	FAILS(cf_get(cf->second, NULL, &s), ERR_NOT_FOUND);
	FAILS(cf_put(cf->second, two, PUT_UNDER_LOCK, NULL), ERR_OK);
	cf_holds(cf->first, one);
	FAILS(cf_put(cf->first, big, PUT_UNDER_LOCK, NULL), ERR_OK);
	cf_holds(cf->first, big);
	FAILS(cf_put(cf->first, cf->guarded ? four : one, PUT_UNDER_LOCK, NULL), ERR_OK); /* shorter again: nothing of the tail stays */
	cf_holds(cf->first, cf->guarded ? four : one);
	cf_holds(cf->second, two);
	for (size_t i = 0; cf->odd != NULL && cf->odd[i] != NULL; i++) {
		FAILS(cf_get(cf->odd[i], NULL, &s), ERR_NOT_FOUND);
		FAILS(cf_put(cf->odd[i], two, PUT_UNDER_LOCK, NULL), ERR_OK);
		cf_holds(cf->odd[i], two);
	}
	free(one);
	free(two);
	free(big);
	free(four);
}

static void
cf_conditions(void)
{
	struct snapshot s = { 0 };
	char           *one = cf_text(1, 0), *two = cf_text(2, 0), *three = cf_text(3, 0), old[ETAG_MAX];

	if ((provider_caps(rig.b) & PROVIDER_IF_MATCH) == 0) {
		FAILS(cf_put(cf->first, one, PUT_ABSENT, NULL), ERR_UNSUPPORTED);
		FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	} else {
		FAILS(cf_put(cf->first, one, PUT_ABSENT, NULL), ERR_OK);
		FAILS(cf_put(cf->first, two, PUT_ABSENT, NULL), ERR_CONFLICT);
		cf_holds(cf->first, one);
	}
	FAILS(cf_get(cf->first, NULL, &s), ERR_OK);
	memcpy(old, s.etag, sizeof(old));
	if (old[0] != '\0')
		FAILS(cf_get(cf->first, old, &s), ERR_UNCHANGED);
	cf->other(&rig, cf->first, span_str(two));
	FAILS(cf_get(cf->first, old[0] != '\0' ? old : NULL, &s), ERR_OK);
	CHECK(old[0] == '\0' || strcmp(s.etag, old) != 0);
	cf_holds(cf->first, two);
	if ((provider_caps(rig.b) & PROVIDER_IF_MATCH) != 0) {
		FAILS(cf_put(cf->first, three, PUT_MATCH, old), ERR_CONFLICT);
		cf_holds(cf->first, two);
		FAILS(cf_put(cf->first, three, PUT_MATCH, s.etag), ERR_OK);
		cf_holds(cf->first, three);
	}
	snapshot_free(&s);
	free(one);
	free(two);
	free(three);
}

static enum err_code
cf_lock(struct lock_info *l, struct lock_info *holder)
{
	return provider_rig_run(&rig, provider_lock(rig.b, &(struct state_ref){ cf->first }, l, holder));
}

static enum err_code
cf_unlock(const struct lock_info *l)
{
	return provider_rig_run(&rig, provider_unlock(rig.b, &(struct state_ref){ cf->first }, l));
}

static void
cf_locks(void)
{
	struct lock_info a, b, holder;
	char            *one = cf_text(1, 0), *two = cf_text(2, 0), etag[ETAG_MAX];

	CHECK((provider_caps(rig.b) & PROVIDER_LOCK) != 0);
	provider_lock_new(rig.b, &(struct state_ref){ cf->first }, "a", &a);
	provider_lock_new(rig.b, &(struct state_ref){ cf->first }, "b", &b);
	FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	FAILS(cf_lock(&a, &holder), ERR_OK);
	FAILS(cf_lock(&a, &holder), ERR_OK); /* ours already */
	FAILS(cf_lock(&b, &holder), ERR_LOCKED);
	CHECK(cf->mute_locks ? holder.unnamed : strcmp(holder.id, a.id) == 0);
	FAILS(cf_unlock(&b), ERR_OK);              /* b is not there, and a stays */
	FAILS(cf_lock(&b, &holder), ERR_LOCKED);
	FAILS(provider_rig_run(&rig, cf_put_op(cf->first, two, (struct put_condition){ PUT_UNDER_LOCK, NULL, &a }, etag)), ERR_OK);
	cf_holds(cf->first, two);
	FAILS(cf_unlock(&a), ERR_OK);
	FAILS(cf_unlock(&a), ERR_OK);              /* twice */
	FAILS(cf_lock(&b, &holder), ERR_OK);
	FAILS(cf_unlock(&b), ERR_OK);
	free(one);
	free(two);
}

struct cf_seen {
	unsigned n, first, second;
	char     tag[ETAG_MAX];
};

static void
cf_saw(void *arg, const struct state_seen *s)
{
	struct cf_seen *seen = arg;

	CHECK(s->problem == NULL);
	seen->n++;
	seen->second += strcmp(s->name, cf->second) == 0;
	if (strcmp(s->name, cf->first) != 0)
		return;
	seen->first++;
	snprintf(seen->tag, sizeof(seen->tag), "%s", s->etag);
}

static struct cf_seen
cf_list(void)
{
	struct cf_seen seen = { 0 };

	FAILS(provider_rig_run(&rig, provider_list(rig.b, cf_saw, &seen)), ERR_OK);
	return seen;
}

static void
cf_lists(void)
{
	bool            tags = (provider_caps(rig.b) & PROVIDER_LIST) != 0;
	char           *one = cf_text(1, 0), *two = cf_text(2, 0);
	struct snapshot s = { 0 };
	struct cf_seen  before, after;

	if (tags)
		CHECK_U64(cf_list().n, 0);
	FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	FAILS(cf_put(cf->second, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	before = cf_list();
	CHECK(before.n == 2 && before.first == 1 && before.second == 1);
	cf->other(&rig, cf->first, span_str(two));
	after = cf_list();
	CHECK_U64(after.n, 2);
	CHECK((strcmp(before.tag, after.tag) != 0) == tags);
	if (tags) { /* what the list shows is what a read shows */
		FAILS(cf_get(cf->first, NULL, &s), ERR_OK);
		CHECK_STR(s.etag, after.tag);
	}
	snapshot_free(&s);
	free(one);
	free(two);
}

static void
cf_deletes(void)
{
	struct snapshot s = { 0 };
	char           *one = cf_text(1, 0);

	FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	FAILS(provider_rig_run(&rig, provider_del(rig.b, &(struct state_ref){ cf->first }, NULL)), ERR_OK);
	FAILS(cf_get(cf->first, NULL, &s), ERR_NOT_FOUND);
	free(one);
}

/* Cancelled at each turn: "cancelled" means that nothing happened, and what did not happen may be tried again. */
static void
cf_cancels(void)
{
	struct snapshot s = { 0 };
	char           *one = cf_text(1, 0), *two = cf_text(2, 0), etag[ETAG_MAX];
	enum err_code   rc = ERR_CANCELLED;
	bool            seen = false;
	struct lock_info l, holder;

	FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	if (cf->guarded) {
		provider_lock_new(rig.b, &(struct state_ref){ cf->first }, "cancels", &l);
		FAILS(cf_lock(&l, &holder), ERR_OK);
	}
	for (unsigned turn = 1; turn < 40; turn++) {
		rc = provider_rig_run_cancelled(&rig,
		    cf_put_op(cf->first, two, (struct put_condition){ PUT_UNDER_LOCK, NULL, cf->guarded ? &l : NULL }, etag), turn);
		seen |= rc == ERR_CANCELLED;
		CHECK(rc == ERR_OK || rc == ERR_CANCELLED || rc == ERR_UNCERTAIN);
		if (rc != ERR_UNCERTAIN)
			cf_holds(cf->first, rc == ERR_OK ? two : one);
		cf->other(&rig, cf->first, span_str(one));
		rc = provider_rig_run_cancelled(&rig, provider_get(rig.b, &(struct state_ref){ cf->first }, NULL, &s), turn);
		CHECK(rc == ERR_OK || rc == ERR_CANCELLED);
		snapshot_free(&s);
	}
	CHECK(seen || cf->real);
	if (cf->guarded)
		FAILS(cf_unlock(&l), ERR_OK);
	free(one);
	free(two);
}

struct cf_probed {
	unsigned n;
	char     failed[200];
};

static void
cf_probed(void *arg, const struct probe_check *c)
{
	struct cf_probed *x = arg;

	x->n++;
	if (!c->ok)
		snprintf(x->failed + strlen(x->failed), sizeof(x->failed) - strlen(x->failed), " %s", c->name);
}

static void
cf_count(void *arg, const struct state_seen *s)
{
	(void)s;
	++*(unsigned *)arg;
}

/* With the lock of the state itself, where there is no other. */
static struct op *
cf_probe(struct cf_probed *x)
{
	static struct probe_locks locks;
	struct buf                name;
	struct op                *op;
	bool                      state;

	buf_init(&name, 0);
	state = provider_probe_state(rig.b, &name);
	memset(&locks, 0, sizeof(locks));
	for (size_t i = 0; state && i < ARRAY_LEN(locks.lock); i++)
		provider_lock_new(rig.b, &(struct state_ref){ buf_str(&name) }, "probe", &locks.lock[i]);
	locks.name = buf_str(&name);
	op = provider_probe_locking(rig.b, state ? &locks : NULL, cf_probed, x);
	buf_free(&name);
	return op;
}

/* As the capabilities say; and nothing is left behind, also when it is cancelled at any turn. */
static void
cf_probes(void)
{
	char            *one = cf_text(1, 0);
	struct cf_probed x = { 0 };
	unsigned         states = 0;

	FAILS(cf_put(cf->first, one, PUT_UNDER_LOCK, NULL), ERR_OK);
	FAILS(provider_rig_run(&rig, provider_reach(rig.b, cf_probed, &x)), ERR_OK);
	CHECK_U64(x.n, 4U + ((provider_caps(rig.b) & PROVIDER_LOCK) != 0 && provider_shows_locks(rig.b)) + rig.b->heard);
	CHECK_STR(x.failed, "");
	for (unsigned turn = 1; turn < 200; turn += turn < 60 ? 1 : 7) {
		enum err_code rc = provider_rig_run_cancelled(&rig, cf_probe(&x), turn);

		if (rc != ERR_OK && rc != ERR_CANCELLED && rc != ERR_UNCERTAIN)
			test_fail(__FILE__, __LINE__, "cancelled at turn %u: %s", turn, rig.err.msg);
	}
	x = (struct cf_probed){ 0 };
	FAILS(provider_rig_run(&rig, cf_probe(&x)), ERR_OK);
	CHECK(x.n > 0);
	if ((provider_caps(rig.b) & PROVIDER_LOCK) != 0) /* tried, if there is one that can be */
		CHECK((strstr(x.failed, " lock") == NULL) == !rig.b->provider->no_scratch);
	if ((provider_caps(rig.b) & PROVIDER_IF_MATCH) != 0)
		CHECK(strstr(x.failed, " if_match") == NULL);
	else
		CHECK(strstr(x.failed, " if_match") != NULL);
	cf_holds(cf->first, one);
	FAILS(provider_rig_run(&rig, provider_list(rig.b, cf_count, &states)), ERR_OK);
	CHECK(states == 1 || (provider_caps(rig.b) & PROVIDER_LIST) == 0);
	free(one);
}

void
conformance_run(const struct conformance *c)
{
	void (*const parts[])(void) = { cf_bytes, cf_conditions, cf_locks, cf_lists, cf_cancels, cf_probes, c->no_delete ? NULL : cf_deletes };

	cf = c;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (parts[i] == NULL)
			continue;
		provider_rig_open(&rig, c->real, c->block());
		if (c->begin != NULL)
			c->begin(&rig);
		parts[i]();
		if (c->end != NULL)
			c->end(&rig);
		provider_rig_close(&rig);
	}
}
