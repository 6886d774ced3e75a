/* SPDX-License-Identifier: MIT */
/* Runs: what is kept of a lock on a state, and of the versions that were written under it. */
#include <inttypes.h>
#include <stdlib.h>

#include "../../lib/store_rig.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "store/internal.h"

static struct rig r;

static void
begin(const char *name)
{
	struct store_conf c = { .dir = rig_dir(name), .inline_commit = true };

	rig_open(&r, &c);
}

static void
end(void)
{
	rig_check_clean(&r);
	rig_close(&r);
}

static void
locked(const char *id, int64_t seen)
{
	struct batch *b = batch_new(r.store);

	batch_run(b, "live", "x", &(struct run_rec){ .lock = id, .who = "ann@desk", .operation = "OperationTypeApply", .seen = seen });
	rig_apply(&r, b);
}

static void
looked(unsigned flags)
{
	struct batch *b = batch_new(r.store);

	batch_seen(b, "live", "x", &(struct sighting){ .etag = "", .flags = flags, .problem = "" });
	rig_apply(&r, b);
}

static void
written(const char *text, uint64_t serial, const char *run)
{
	struct body       *body = body_copy(span_str(text));
	struct digest      d = rig_digest(span_str(text));
	struct version_rec v = { .digest = d, .serial = serial, .size = strlen(text), .lineage = "L", .writer = "", .reason = "", .run = run,
		.who = "", .operation = "", .origin = "", .seen = 1000 + (int64_t)serial };
	struct batch      *b = batch_new(r.store);

	batch_body(b, body, &d, NULL);
	batch_version(b, "live", "x", &v);
	rig_apply(&r, b);
	body_unref(body);
}

static bool
print(void *arg, const struct run_rec *run)
{
	buf_printf(arg, "%" PRIu64 " %s %s%" PRIu64 ":%" PRIu64 "-%" PRIu64 "\n", run->number, run->lock, run_lasts(run) ? "lasts " : "",
	    run->versions, run->first_serial, run->last_serial);
	return true;
}

/* Each as "NUMBER LOCK [lasts] VERSIONS:FIRST-LAST", newest first. */
static void
check_runs(const char *want)
{
	struct store_txn *t = rig_read(&r);
	struct buf        all;

	buf_init(&all, 0);
	store_runs(t, 1, 0, print, &all);
	CHECK_STR(buf_str(&all), want);
	store_end(t);
	buf_free(&all);
}

static bool
lasts(struct run_rec *ret)
{
	struct store_txn *t = rig_read(&r);
	struct state_rec  s;
	bool              is;

	CHECK(store_state(t, "live", "x", &s));
	is = store_run(t, &s, ret);
	store_end(t);
	return is;
}

static void
a_run_lasts_as_long_as_the_mark(void)
{
	struct run_rec run;

	begin("mark");
	locked("one", 10);
	CHECK(lasts(&run));
	CHECK(run.begun == 10 && run.seen == 10 && run.number == 1);
	locked("one", 20);
	CHECK(lasts(&run));
	CHECK(run.begun == 10 && run.seen == 20);
	looked(STATE_IS_LOCKED);
	CHECK(lasts(&run));
	looked(0);
	CHECK(!lasts(&run));
	check_runs("1 one 0:0-0\n");
	locked("one", 30); /* the same words, but it was gone meanwhile */
	locked("two", 40);
	check_runs("3 two lasts 0:0-0\n2 one 0:0-0\n1 one 0:0-0\n");
	end();
}

static void
versions_are_counted_in_the_run_they_name(void)
{
	struct run_rec run;

	begin("count");
	written("before", 1, "");
	locked("one", 10);
	written("a", 2, "one");
	written("b", 4, "one");
	CHECK(lasts(&run));
	CHECK(run.first_version == 2 && run.last_version == 3 && run.changed == 1004);
	written("b", 4, "one"); /* the bytes that were seen last are no version */
	locked("two", 20);
	written("c", 5, "one"); /* found only when the next one had begun */
	written("d", 6, "two");
	written("e", 7, "nobody");
	check_runs("2 two lasts 1:6-6\n1 one 3:2-5\n");
	end();
}

/* The run and its first version may come in one commit, in any order. */
static void
a_run_and_its_version_in_one_batch(void)
{
	struct body       *body = body_copy(SPAN_LIT("a"));
	struct digest      d = rig_digest(SPAN_LIT("a"));
	struct version_rec v = { .digest = d, .serial = 9, .size = 1, .lineage = "L", .run = "one", .origin = "" };
	struct batch      *b;

	begin("batch");
	b = batch_new(r.store);
	batch_body(b, body, &d, NULL);
	batch_version(b, "live", "x", &v);
	batch_run(b, "live", "x", &(struct run_rec){ .lock = "one", .seen = 10 });
	rig_apply(&r, b);
	check_runs("1 one lasts 1:9-9\n");
	body_unref(body);
	end();
}

static bool
count(void *arg, const struct run_rec *run)
{
	uint64_t *n = arg;

	n[0]++;
	n[1] = run->number;
	return true;
}

static void
the_newest_are_kept(void)
{
	struct batch     *b;
	struct store_txn *t;
	uint64_t          n[2] = { 0, 0 };

	begin("many");
	b = batch_new(r.store);
	for (int i = 0; i < STORE_RUNS_MAX + 3; i++)
		batch_run(b, "live", "x", &(struct run_rec){ .lock = i % 2 == 0 ? "even" : "odd", .seen = i });
	rig_apply(&r, b);
	t = rig_read(&r);
	store_runs(t, 1, 0, count, n);
	CHECK_U64(n[0], STORE_RUNS_MAX);
	CHECK_U64(n[1], 4);
	n[0] = 0;
	store_runs(t, 1, 7, count, n);
	CHECK_U64(n[0], 3);
	store_runs(t, 1, 4, count, n);
	CHECK_U64(n[0], 3);
	store_end(t);
	end();
}

/* As a program left it that knew of no runs: with the mark of a lock, and without the table. */
static void
a_store_without_the_table_gets_it(void)
{
	struct store_conf c = { .dir = rig_dir("older"), .inline_commit = true };
	struct store_txn  w;
	struct err        e = { 0 };
	struct run_rec    run;

	rig_open(&r, &c);
	written("a", 1, "");
	looked(STATE_IS_LOCKED);
	CHECK_OK(txn_begin(r.store, TXN_WRITE, &w, &e), e);
	CHECK(mdb_drop(w.txn, r.store->dbi[DB_RUNS], 1) == 0);
	CHECK(txn_commit(&w) == 0);
	rig_close(&r);
	rig_open(&r, &c);
	CHECK(!lasts(&run));
	written("b", 2, "one");
	locked("one", 10);
	CHECK(lasts(&run));
	looked(0);
	check_runs("1 one 0:0-0\n");
	end();
}

/* An older program took the mark away, and left the run. */
static void
a_run_without_the_mark_does_not_last(void)
{
	struct store_txn w;
	struct state_rec s;
	struct err       e = { 0 };
	struct run_rec   run;
	struct key       k = key_u64(1);

	begin("behind");
	locked("one", 10);
	CHECK_OK(txn_begin(r.store, TXN_WRITE, &w, &e), e);
	CHECK(store_state_by_id(&w, 1, &s));
	s.flags = 0;
	CHECK(rec_put(&w, DB_STATES, &k, &rec_state, &s));
	CHECK(txn_commit(&w) == 0);
	CHECK(!lasts(&run));
	locked("one", 20);
	CHECK(lasts(&run));
	CHECK_U64(run.number, 2);
	check_runs("2 one lasts 0:0-0\n1 one 0:0-0\n");
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "a_run_lasts_as_long_as_the_mark", a_run_lasts_as_long_as_the_mark },
	    { "versions_are_counted_in_the_run_they_name", versions_are_counted_in_the_run_they_name },
	    { "a_run_and_its_version_in_one_batch", a_run_and_its_version_in_one_batch },
	    { "the_newest_are_kept", the_newest_are_kept },
	    { "a_store_without_the_table_gets_it", a_store_without_the_table_gets_it },
	    { "a_run_without_the_mark_does_not_last", a_run_without_the_mark_does_not_last },
	    { NULL, NULL },
	});
}
