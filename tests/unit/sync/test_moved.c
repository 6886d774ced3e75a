/* SPDX-License-Identifier: MIT */
#include <dirent.h>
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

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "no_snapshot_goes_there", no_snapshot_goes_there },
		{ "no_restore_goes_there", no_restore_goes_there },
		{ "nothing_there_is_released", nothing_there_is_released },
		{ "nothing_there_is_resolved", nothing_there_is_resolved },
		{ "an_interrupted_write_stays_open", an_interrupted_write_stays_open },
		{ NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
