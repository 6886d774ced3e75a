/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/test.h"

/* What the journal says of states that are gone and of states that are new: one of the same lineage was renamed. */
static struct agent_rig  r;
static struct mem_world *source, *target;

static void
begin(void)
{
	agent_rig_open(&r, 7, NULL, "backend \"mem\" \"a\" {\n}\nbackend \"mem\" \"b\" {\n}\nreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n");
	source = agent_rig_world(&r, "a", mem_world_new());
	target = agent_rig_world(&r, "b", mem_world_new());
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(source);
	mem_world_free(target);
}

static bool
note(void *arg, const struct event_rec *e)
{
	if (strcmp(e->kind, "gone") == 0 || strcmp(e->kind, "renamed") == 0)
		buf_printf(arg, "%s %s: %.24s; ", e->kind, e->name, e->text);
	return true;
}

/* One pass, after which these are all such events, the newest first; and whether that name is marked gone. */
static void
expect(const char *name, bool gone, const char *events)
{
	struct store_txn *t;
	struct state_rec  s;
	struct buf        text;

	agent_rig_sync_counts(&r);
	buf_init(&text, 0);
	CHECK(store_read(r.store, &t, NULL) == ERR_OK);
	store_events(t, 0, note, &text);
	CHECK_STR(buf_str(&text), events);
	CHECK(store_state(t, "a", name, &s) && ((s.flags & STATE_GONE) != 0) == gone);
	store_end(t);
	buf_free(&text);
}

static void
put(const char *name, uint64_t serial, const char *lineage)
{
	mem_world_put(source, name, rig_state(serial, lineage, 1, ""));
}

static void
take(const char *name)
{
	mem_world_put(source, name, span_of(NULL, 0));
}

/* Also when it was written meanwhile; and back. */
static void
tells_a_new_name(void)
{
	struct span s;

	begin();
	put("old", 3, "l");
	put("other", 1, "o");
	expect("old", false, "");
	take("old");
	put("new", 4, "l");
	expect("old", true, "renamed new: was old before, by its l; gone old: it is called new now, by; ");
	CHECK(mem_world_get(target, "new", &s) && mem_world_get(target, "old", &s));
	take("new");
	put("old", 5, "l");
	expect("old", false, "renamed old: was new before, by its l; gone new: it is called old now, by; "
	    "renamed new: was old before, by its l; gone old: it is called new now, by; ");
	end();
}

static void
tells_no_more_than_it_knows(void)
{
	static const struct {
		const char *lines[2], *news[2]; /* of "old" and "second", both gone; of "new" and "two" */
	} rows[] = { { { "l", "m" }, { "n", NULL } }, { { "l", "l" }, { "l", NULL } }, { { "l", "m" }, { "l", "l" } }, { { "l", "m" }, { NULL, NULL } } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin();
		put("keep", 1, "k");
		put("old", 1, rows[i].lines[0]);
		put("second", 1, rows[i].lines[1]);
		expect("old", false, "");
		take("old");
		take("second");
		put("keep", 2, "k");
		if (rows[i].news[0] != NULL)
			put("new", 1, rows[i].news[0]);
		if (rows[i].news[1] != NULL)
			put("two", 1, rows[i].news[1]);
		expect("old", true, "gone second: no longer listed; its ve; gone old: no longer listed; its ve; ");
		end();
	}
}

/* What was not read tells nothing; and a copy beside it is no rename. */
static void
tells_nothing_of_what_is_there(void)
{
	begin();
	put("old", 1, "l");
	expect("old", false, "");
	put("copy", 1, "l");
	expect("old", false, "");
	take("old");
	expect("old", true, "gone old: no longer listed; its ve; ");
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "tells a new name", tells_a_new_name },
	    { "tells no more than it knows", tells_no_more_than_it_knows },
	    { "tells nothing of what is there", tells_nothing_of_what_is_there }, { NULL, NULL } });
}
