/* SPDX-License-Identifier: MIT */
/* Many batches at once: what shares a commit, what is refused, and what a refusal leaves alone. */
#include <stdlib.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "base/rand.h"

#define MANY 64
#define LONG_COMMIT (32 * 1000 * 1000) /* bytes that cannot be packed, under way while the others come: below those that take several commits */

static struct rig r;

/* ---------------------------------------------------------------- several operations at once */

struct crowd {
	struct err err[MANY];
	size_t     running, n;
	struct op *ops[MANY];
};

static void
on_done(struct op *op, void *arg)
{
	struct crowd *c = arg;

	for (size_t i = 0; i < c->n; i++)
		if (c->ops[i] == op)
			c->err[i] = op->err;
	c->running--;
	op_free(op);
}

static bool
none_runs(void *arg)
{
	return ((struct crowd *)arg)->running == 0;
}

static void
crowd_add(struct crowd *c, struct batch *b)
{
	struct op *op = store_apply(r.store, b);

	c->ops[c->n++] = op;
	c->running++;
	op_start(op, on_done, c);
}

static void
crowd_wait(struct crowd *c)
{
	CHECK(loop_run_until(r.loop, none_runs, c, 60000));
}

/* With the store thread, without it, and on the virtual loop, where operations that are started together may begin
 * in any order: ordered leaves that out. */
static void
in_every_way(const char *name, bool ordered, void (*fn)(void))
{
	for (int way = 0; way < (ordered ? 2 : 3); way++) {
		char             *dir = xasprintf("%s/%s-%d", test_tmpdir(), name, way);
		struct store_conf c = { .dir = dir, .inline_commit = way == 1 };

		if (way == 2)
			rig_open_virtual(&r, &c, 3);
		else
			rig_open(&r, &c);
		fn();
		rig_check_clean(&r);
		rig_close(&r);
		free(dir);
	}
}

static struct digest
digest_of(const char *text)
{
	return rig_digest(span_str(text));
}

static struct batch *
batch_with(const char *name, const char *from, const char *to)
{
	struct batch      *b = batch_new(r.store);
	struct body       *body = body_copy(span_str(to));
	struct digest      d = digest_of(to), f = digest_of(from == NULL ? "" : from);
	struct version_rec v = { .digest = d, .size = strlen(to), .verdict = VERDICT_ADVANCE, .kind = STATE_V4 };

	batch_body(b, body, &d, from == NULL ? NULL : &f);
	batch_version(b, "live", name, &v);
	batch_head(b, "live", name, from == NULL ? NULL : &f, &d);
	body_unref(body);
	return b;
}

static struct batch *
batch_that_takes_long(void)
{
	struct batch *b;
	struct rand   noise;
	char         *text = xmalloc(LONG_COMMIT + 1);

	rand_seeded(&noise, 1);
	rand_bytes(&noise, text, LONG_COMMIT);
	for (size_t i = 0; i < LONG_COMMIT; i++)
		text[i] |= (char)1; /* no end of a string */
	text[LONG_COMMIT] = '\0';
	b = batch_with("long", NULL, text);
	free(text);
	return b;
}

static bool
head_is(const char *name, const char *text)
{
	struct store_txn *t = rig_read(&r);
	struct digest     d = digest_of(text);
	struct state_rec  s;
	bool              is = store_state(t, "live", name, &s) && s.head != 0 && digest_eq(&s.head_digest, &d);

	store_end(t);
	return is;
}

/* ---------------------------------------------------------------- tests */

static void
share_a_commit_fn(void)
{
	struct store_stats before, after;
	struct crowd       c = { .n = 0 };

	store_stats(r.store, &before);
	crowd_add(&c, batch_that_takes_long());
	for (int i = 1; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		crowd_add(&c, batch_with(name, NULL, name));
	}
	crowd_wait(&c);
	for (int i = 0; i < MANY; i++)
		CHECK_OK(c.err[i].code, c.err[i]);
	store_stats(r.store, &after);
	CHECK_U64(after.batches - before.batches, MANY);
	CHECK(after.commits - before.commits <= MANY / 4);
	CHECK_U64(after.states, MANY);
	CHECK_STR(store_trouble(r.store), "");
}

static void
share_a_commit(void)
{
	in_every_way("share", false, share_a_commit_fn);
}

static bool
count_event(void *arg, const struct event_rec *e)
{
	(void)e;
	++*(int *)arg;
	return true;
}

/* All that a batch may put, and a precondition that does not hold, wherever it stands. */
static struct batch *
refused_batch(void)
{
	struct batch *b = batch_with("bad", NULL, "bad");

	batch_event(b, &(struct event_rec){ .kind = "held", .text = "never" });
	batch_state(b, "live", "never");
	batch_for(b, "live", "never");
	batch_replica(b, &(struct replica_rec){ .edge = "e", .target = "t", .name = "n" });
	batch_queue(b, &(struct queue_rec){ .edge = "e", .target = "t", .due = 1 });
	batch_meta(b, "never", SPAN_LIT("x"));
	batch_intent(b, &(struct intent_rec){ .id = 99, .kind = INTENT_PUSH });
	batch_head(b, "live", "s1", &(struct digest){ { 1 } }, &(struct digest){ { 2 } });
	return b;
}

static void
no_trace(void)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  s;
	struct intent_rec i;
	struct digest     d = digest_of("bad");
	struct span       v;
	int               events = 0;

	store_events(t, 0, count_event, &events);
	CHECK(events == 0);
	CHECK(!store_state(t, "live", "bad", &s) && !store_state(t, "live", "never", &s));
	CHECK(!store_has_body(t, &d) && !store_meta(t, "never", &v) && !store_intent(t, 99, &i));
	CHECK_U64(store_queue_length(t), 0);
	CHECK_U64(store_replica_owner(t, "t", "n"), 0);
	store_end(t);
}

static void
refused_alone_fn(void)
{
	struct crowd c = { .n = 0 };

	for (int i = 0; i < 9; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		crowd_add(&c, i % 3 == 1 ? refused_batch() : batch_with(name, NULL, name));
	}
	crowd_wait(&c);
	for (int i = 0; i < 9; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		CHECK_U64(c.err[i].code, i % 3 == 1 ? ERR_CONFLICT : ERR_OK);
		CHECK(head_is(name, name) == (i % 3 != 1));
	}
	no_trace();
	CHECK_STR(store_trouble(r.store), "");
}

static void
refused_alone(void)
{
	in_every_way("refused", false, refused_alone_fn);
}

/* Bytes that are not their digest's come to light in the middle of the puts. */
static struct batch *
lying_batch(void)
{
	struct batch      *b = batch_with("bad", NULL, "bad");
	struct body       *body = body_copy(SPAN_LIT("other bytes"));
	struct digest      d = digest_of("lie");
	struct version_rec v = { .digest = d, .size = 3 };

	batch_body(b, body, &d, NULL);
	batch_version(b, "live", "worse", &v);
	body_unref(body);
	return b;
}

static void
failed_in_the_middle_fn(void)
{
	struct crowd c = { .n = 0 };

	crowd_add(&c, batch_with("a", NULL, "1"));
	crowd_add(&c, lying_batch());
	crowd_add(&c, batch_with("a", "1", "2"));
	crowd_add(&c, lying_batch());
	crowd_add(&c, refused_batch());
	crowd_add(&c, batch_with("a", "2", "3"));
	crowd_wait(&c);
	CHECK_OK(c.err[0].code, c.err[0]);
	CHECK_U64(c.err[1].code, ERR_CORRUPT);
	CHECK_OK(c.err[2].code, c.err[2]);
	CHECK_U64(c.err[3].code, ERR_CORRUPT);
	CHECK_U64(c.err[4].code, ERR_CONFLICT);
	CHECK_OK(c.err[5].code, c.err[5]);
	CHECK(head_is("a", "3"));
	no_trace();
}

static void
failed_in_the_middle(void)
{
	in_every_way("middle", true, failed_in_the_middle_fn);
}

/* In one commit, later batches see what earlier ones did. */
static void
later_sees_earlier_fn(void)
{
	struct crowd c = { .n = 0 };

	crowd_add(&c, batch_with("x", NULL, "1"));
	crowd_add(&c, batch_with("x", "1", "2"));
	crowd_add(&c, batch_with("x", "1", "3"));
	crowd_add(&c, batch_with("x", NULL, "4"));
	crowd_add(&c, batch_with("x", "2", "5"));
	crowd_wait(&c);
	CHECK_OK(c.err[0].code, c.err[0]);
	CHECK_OK(c.err[1].code, c.err[1]);
	CHECK_U64(c.err[2].code, ERR_CONFLICT);
	CHECK_U64(c.err[3].code, ERR_CONFLICT);
	CHECK_OK(c.err[4].code, c.err[4]);
	CHECK(head_is("x", "5"));
	CHECK(!rig_holds(&r, span_str("3")) && !rig_holds(&r, span_str("4")));
}

static void
later_sees_earlier(void)
{
	in_every_way("order", true, later_sees_earlier_fn);
}

static enum err_code
apply_code(struct batch *b)
{
	struct err e = { 0 };

	return rig_try_apply(&r, b, &e);
}

static void
preconditions_fn(void)
{
	struct batch *b;
	struct body  *body;
	struct digest d = digest_of("2"), one = digest_of("1"), none = digest_of("none");

	rig_apply(&r, batch_with("x", NULL, "1"));

	b = batch_new(r.store); /* two moves in one batch, each from the one before; the versions come last */
	batch_head(b, "live", "x", &one, &d);
	batch_head(b, "live", "x", &d, &one);
	body = body_copy(span_str("2"));
	batch_body(b, body, &d, NULL);
	body_unref(body);
	batch_version(b, "live", "x", &(struct version_rec){ .digest = d, .size = 1 });
	rig_apply(&r, b);
	CHECK(head_is("x", "1"));

	b = batch_new(r.store);
	batch_head(b, "live", "x", &one, &none);
	CHECK_U64(apply_code(b), ERR_NOT_FOUND);
	b = batch_new(r.store);
	batch_version(b, "live", "x", &(struct version_rec){ .digest = none });
	CHECK_U64(apply_code(b), ERR_NOT_FOUND);
	b = batch_new(r.store);
	batch_version(b, "live", "x", &(struct version_rec){ .digest = d, .size = 1, .number = 2 });
	CHECK_U64(apply_code(b), ERR_CONFLICT);
	b = batch_new(r.store);
	batch_version(b, "live", "x", &(struct version_rec){ .digest = d, .size = 1, .number = 7 });
	CHECK_U64(apply_code(b), ERR_OK);
	b = batch_new(r.store);
	batch_drop(b, "live", "x", 1);
	CHECK_U64(apply_code(b), ERR_CONFLICT);
	b = batch_new(r.store);
	batch_drop(b, "live", "x", 3);
	CHECK_U64(apply_code(b), ERR_NOT_FOUND);
	b = batch_new(r.store);
	batch_for(b, "live", "nobody");
	batch_enqueue(b, &(struct queue_rec){ .edge = "e", .target = "t" });
	CHECK_U64(apply_code(b), ERR_NOT_FOUND);
	b = batch_new(r.store);
	batch_state(b, "live", "a/../b");
	CHECK_U64(apply_code(b), ERR_UNSUPPORTED);
	b = batch_new(r.store);
	CHECK_U64(apply_code(b), ERR_OK); /* nothing at all */
}

static void
preconditions(void)
{
	in_every_way("pre", false, preconditions_fn);
}

static void
cancelled_is_committed_fn(void)
{
	struct crowd c = { .n = 0 };

	crowd_add(&c, batch_with("x", NULL, "1"));
	loop_turn(r.loop, false);
	op_cancel(c.ops[0]);
	crowd_wait(&c);
	CHECK_U64(c.err[0].code, head_is("x", "1") ? ERR_OK : ERR_CANCELLED);
}

static void
cancelled_is_committed(void)
{
	in_every_way("cancel", false, cancelled_is_committed_fn);
}

/* Reads in between see whole commits: both of a pair of states, or none. */
static bool
pair_is_whole(void)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  a, b;
	bool              has = store_state(t, "live", "a", &a), whole;

	whole = has == store_state(t, "live", "b", &b) && (!has || a.versions == b.versions);
	store_end(t);
	return whole;
}

static void
reads_see_whole_commits(void)
{
	struct store_conf c = { .dir = rig_dir("whole") };
	char              from[16] = "", to[16];

	rig_open(&r, &c);
	for (int i = 0; i < 50; i++) {
		struct crowd  crowd = { .n = 0 };
		struct batch *b;
		struct digest d, f = digest_of(from);
		struct body  *body;

		snprintf(to, sizeof(to), "v%d", i);
		b = batch_with("a", i == 0 ? NULL : from, to);
		d = digest_of(to);
		body = body_copy(span_str(to));
		batch_body(b, body, &d, NULL);
		batch_version(b, "live", "b", &(struct version_rec){ .digest = d, .size = strlen(to),
		    .verdict = VERDICT_ADVANCE });
		batch_head(b, "live", "b", i == 0 ? NULL : &f, &d);
		body_unref(body);
		crowd_add(&crowd, b);
		while (crowd.running > 0) {
			CHECK(pair_is_whole());
			loop_turn(r.loop, false);
		}
		CHECK_OK(crowd.err[0].code, crowd.err[0]);
		memcpy(from, to, sizeof(from));
	}
	rig_check_clean(&r);
	rig_close(&r);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "share_a_commit", share_a_commit },
	    { "refused_alone", refused_alone },
	    { "failed_in_the_middle", failed_in_the_middle },
	    { "later_sees_earlier", later_sees_earlier },
	    { "preconditions", preconditions },
	    { "cancelled_is_committed", cancelled_is_committed },
	    { "reads_see_whole_commits", reads_see_whole_commits },
	    { NULL, NULL } });
}
