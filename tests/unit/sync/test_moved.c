/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* A label that points elsewhere than before: until a person adopts it nothing is read there, written there or settled there. */
enum { SOURCE, TARGET, ARCHIVE, ELSEWHERE, DIRS };

static char             dirs[DIRS][512];
static char             store[512];
static struct agent_rig r;

static const char *
text(int source, int target, int archive)
{
	static char text[4096];

	snprintf(text, sizeof(text), "backend \"local\" \"a\" {\n  dir = \"%s\"\n}\nbackend \"local\" \"b\" {\n  dir = \"%s\"\n}\n"
	    "backend \"local\" \"c\" {\n  dir = \"%s\"\n}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n"
	    "snapshot \"s\" {\n  from = \"a\"\n  to = [\"c\"]\n}\n", dirs[source], dirs[target], dirs[archive]);
	return text;
}

static void
state_write(int dir, struct span body)
{
	char *path = xasprintf("%s/x.tfstate", dirs[dir]);
	FILE *f = fopen(path, "w");

	CHECK(f != NULL && fwrite(body.p, 1, body.n, f) == body.n && fclose(f) == 0);
	free(path);
}

static size_t
entries(int dir)
{
	DIR   *d = opendir(dirs[dir]);
	size_t n = 0;

	CHECK(d != NULL);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2; /* "." and ".." */
}

/* A source with one version, replicated and archived; then the labels point as told. */
static void
begin(int source, int target, int archive)
{
	static const char *const names[] = { "source", "target", "archive", "elsewhere" };
	static unsigned          n;

	for (int i = 0; i < DIRS; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "%s/%s-%u", test_tmpdir(), names[i], n);
		CHECK(mkdir(dirs[i], 0700) == 0);
	}
	snprintf(store, sizeof(store), "%s/store-%u", test_tmpdir(), n++);
	state_write(SOURCE, rig_state(1, "L", 3, "one"));
	agent_rig_open(&r, 1, store, text(SOURCE, TARGET, ARCHIVE));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	CHECK_U64(entries(ARCHIVE), 1);
	agent_rig_close(&r);
	agent_rig_open(&r, 1, store, text(source, target, archive));
}

static void
check_refused(enum err_code rc)
{
	CHECK_U64(rc, ERR_CONFIG);
	CHECK(strstr(r.err.msg, "not where it pointed before") != NULL);
	CHECK(strstr(r.err.hint, "adopt") != NULL);
}

static void
no_snapshot_goes_there(void)
{
	begin(SOURCE, TARGET, ELSEWHERE);
	state_write(SOURCE, rig_state(2, "L", 3, "two"));
	engine_start(r.engine);
	agent_rig_wait(&r, 600000);
	CHECK_U64(entries(ELSEWHERE), 0);
	CHECK_OK(agent_rig_run(&r, engine_adopt(r.engine), 60000), r.err);
	agent_rig_wait(&r, 3600000);
	CHECK_U64(entries(ELSEWHERE), 1);
	agent_rig_close(&r);
}

/* A name that was misspelt, and corrected before anything was read or written there, needs nobody. */
static void
what_never_held_anything_may_move(void)
{
	for (int i = 0; i < DIRS; i++) {
		snprintf(dirs[i], sizeof(dirs[i]), "%s/early-%d", test_tmpdir(), i);
		CHECK(mkdir(dirs[i], 0700) == 0);
	}
	snprintf(store, sizeof(store), "%s/store-early", test_tmpdir());
	agent_rig_open(&r, 1, store, text(ELSEWHERE, ARCHIVE, ARCHIVE));
	CHECK_STR(agent_rig_sync_counts(&r), "0 0 0 0");
	agent_rig_close(&r);
	state_write(SOURCE, rig_state(1, "L", 3, "one"));
	agent_rig_open(&r, 1, store, text(SOURCE, TARGET, ARCHIVE));
	CHECK_STR(agent_rig_sync_counts(&r), "1 0 0 0");
	agent_rig_close(&r);
	for (int source = SOURCE; source <= TARGET; source++) { /* where both are now was noted */
		agent_rig_open(&r, 1, store, source == SOURCE ? text(SOURCE, ELSEWHERE, ARCHIVE) : text(ELSEWHERE, TARGET, ARCHIVE));
		check_refused(agent_rig_run(&r, engine_restore(r.engine, &(struct restore_options){ .backend = "a", .name = "x.tfstate", .version = 1,
		    .to_backend = source == SOURCE ? "b" : "a" }, &(struct restore_result){ 0 }), 60000));
		agent_rig_close(&r);
	}
}

static void
no_restore_goes_there(void)
{
	struct restore_options o = { .backend = "a", .name = "x.tfstate", .version = 1, .to_backend = "b" };
	struct restore_result  res;

	begin(SOURCE, ELSEWHERE, ARCHIVE);
	check_refused(agent_rig_run(&r, engine_restore(r.engine, &o, &res), 60000));
	CHECK_U64(entries(ELSEWHERE), 0);
	agent_rig_close(&r);
}

static void
nothing_there_is_released(void)
{
	begin(ELSEWHERE, TARGET, ARCHIVE);
	state_write(ELSEWHERE, rig_state(9, "another", 3, "one"));
	check_refused(agent_rig_run(&r, engine_release(r.engine, "a", "x.tfstate", 0), 60000));
	agent_rig_close(&r);
}

static void
nothing_there_is_resolved(void)
{
	begin(SOURCE, ELSEWHERE, ARCHIVE);
	state_write(ELSEWHERE, rig_state(9, "another", 3, "one"));
	check_refused(agent_rig_run(&r, engine_resolve(r.engine, "e", "x.tfstate", "b"), 60000));
	agent_rig_close(&r);
}

static bool
one_intent(void *arg, const struct intent_rec *i)
{
	*(int64_t *)arg = i->retry_at;
	return true;
}

/* When the one open intent is looked at next; 0: none is open. */
static int64_t
intent_due(void)
{
	struct store_txn *t;
	int64_t           due = 0;

	CHECK_OK(store_read(r.store, &t, &r.err), r.err);
	store_intents(t, one_intent, &due);
	store_end(t);
	return due;
}

static void
an_interrupted_write_stays_open(void)
{
	struct intent_rec i = { .id = 7, .kind = INTENT_PUSH, .edge = "e", .target = "b", .state = 1, .name = "x.tfstate",
		.lock_id = "", .lock_body = "", .etag = "", .agent = "rig", .created = RIG_WALL, .retry_at = RIG_WALL };
	struct batch     *b;

	begin(SOURCE, ELSEWHERE, ARCHIVE);
	b = batch_new(r.store);
	batch_intent(b, &i);
	CHECK_OK(agent_rig_run(&r, store_apply(r.store, b), 1000), r.err);
	engine_start(r.engine);
	agent_rig_wait(&r, 1000);
	CHECK(intent_due() >= RIG_WALL + 60000); /* and is not asked for over and over */
	agent_rig_wait(&r, 3600000);
	CHECK(intent_due() != 0);
	CHECK_OK(agent_rig_run(&r, engine_adopt(r.engine), 60000), r.err);
	agent_rig_wait(&r, 3600000);
	CHECK_U64(intent_due(), 0);
	agent_rig_close(&r);
}

static void
no_lock(void *arg, const struct lock_seen *l)
{
	(void)arg;
	(void)l;
	CHECK(false);
}

static void
no_lock_there_is_shown_or_broken(void)
{
	struct backend  *b;
	struct lock_info theirs, holder;
	struct lock_seen seen;

	begin(SOURCE, ELSEWHERE, ARCHIVE);
	state_write(ELSEWHERE, rig_state(9, "another", 3, "one"));
	b = plan_backend(engine_plan(r.engine), "b");
	provider_lock_new(b, &(struct state_ref){ "x.tfstate" }, "", &theirs);
	CHECK_OK(agent_rig_run(&r, provider_lock(b, &(struct state_ref){ "x.tfstate" }, &theirs, &holder), 60000), r.err);
	check_refused(agent_rig_run(&r, engine_locks(r.engine, "b", no_lock, NULL), 60000));
	check_refused(agent_rig_run(&r, engine_unlock_look(r.engine, "b", "x.tfstate", theirs.id, &seen), 60000));
	check_refused(agent_rig_run(&r, engine_unlock(r.engine, "b", "x.tfstate", theirs.id, &seen, NULL), 60000));
	CHECK_OK(agent_rig_run(&r, engine_adopt(r.engine), 60000), r.err);
	CHECK_OK(agent_rig_run(&r, engine_unlock(r.engine, "b", "x.tfstate", theirs.id, &seen, NULL), 60000), r.err);
	agent_rig_close(&r);
}

/* As a page of the disk that went bad: the mark that says dir has a format that nobody knows. */
static void
spoil_mark(int dir)
{
	MDB_env    *env;
	MDB_txn    *txn;
	MDB_dbi     marks;
	MDB_cursor *c;
	MDB_val     key, value;
	unsigned    spoilt = 0;

	CHECK(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 32) == 0 && mdb_env_open(env, store, 0, 0600) == 0);
	CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, "marks", 0, &marks) == 0);
	CHECK(mdb_cursor_open(txn, marks, &c) == 0);
	while (mdb_cursor_get(c, &key, &value, MDB_NEXT) == 0) {
		uint8_t *copy = xmemdup(value.mv_data, value.mv_size);
		MDB_val  put = { value.mv_size, copy };

		if (value.mv_size == 1 + strlen(dirs[dir]) && memcmp(copy + 1, dirs[dir], value.mv_size - 1) == 0) {
			copy[0] = 99;
			CHECK(mdb_cursor_put(c, &key, &put, MDB_CURRENT) == 0);
			spoilt++;
		}
		free(copy);
	}
	mdb_cursor_close(c);
	CHECK_U64(spoilt, 1);
	CHECK(mdb_txn_commit(txn) == 0);
	mdb_env_close(env);
}

static void
count_sentence(void *arg, const char *sentence)
{
	*(unsigned *)arg += strstr(sentence, "cannot be read") != NULL;
}

static void
what_cannot_be_read_is_not_here(void)
{
	unsigned n = 0;

	begin(SOURCE, TARGET, ARCHIVE);
	agent_rig_close(&r);
	spoil_mark(TARGET);
	state_write(SOURCE, rig_state(2, "L", 3, "two"));
	for (int again = 0; again < 2; again++) { /* and the first start did not make it right by itself */
		agent_rig_open(&r, 1, store, text(SOURCE, ELSEWHERE, ARCHIVE));
		engine_start(r.engine);
		agent_rig_wait(&r, 600000);
		CHECK_U64(entries(ELSEWHERE), 0);
		if (again == 0)
			agent_rig_close(&r);
	}
	engine_adopt_plan(r.engine, count_sentence, &n);
	CHECK_U64(n, 1);
	CHECK_OK(agent_rig_run(&r, engine_adopt(r.engine), 60000), r.err);
	agent_rig_wait(&r, 600000);
	CHECK(entries(ELSEWHERE) > 0);
	agent_rig_close(&r);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "no_snapshot_goes_there", no_snapshot_goes_there },
		{ "what_never_held_anything_may_move", what_never_held_anything_may_move },
		{ "no_restore_goes_there", no_restore_goes_there },
		{ "nothing_there_is_released", nothing_there_is_released },
		{ "nothing_there_is_resolved", nothing_there_is_resolved },
		{ "an_interrupted_write_stays_open", an_interrupted_write_stays_open },
		{ "no_lock_there_is_shown_or_broken", no_lock_there_is_shown_or_broken },
		{ "what_cannot_be_read_is_not_here", what_cannot_be_read_is_not_here },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
