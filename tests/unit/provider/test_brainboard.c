/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../../lib/fake_brainboard.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "provider/brainboard/brainboard.h"
#include "provider/mem.h"

/* What Brainboard's API tells and what lies in storages, put together (docs/protocol/brainboard.md). */
static struct provider_rig    r;
static struct fake_brainboard fake;
static struct mem_world      *world[4];
static struct buf             seen;
static struct snapshot        snap;
static struct lock_info       mine, holder;

static const char state[] = "{\"version\":4,\"serial\":3,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}\n";

#define TOKEN "  token = \"" FAKE_BRAINBOARD_TOKEN "\"\n"
#define BLOCK(more) "backend \"brainboard\" \"b\" {\n" TOKEN more "}\n"

static void
begin(const char *block)
{
	provider_rig_open(&r, false, block);
	fake_brainboard_init(&fake, r.http);
	buf_init(&seen, 0);
	for (size_t i = 0; i < brainboard_of(r.b)->nstorages; i++)
		if (brainboard_of(r.b)->storages[i].b != NULL)
			mem_attach(brainboard_of(r.b)->storages[i].b, world[i] = mem_world_new());
}

static void
end(void)
{
	snapshot_free(&snap);
	buf_free(&seen);
	provider_rig_close(&r);
	for (size_t i = 0; i < ARRAY_LEN(world); i++) {
		mem_world_free(world[i]);
		world[i] = NULL;
	}
}

static const char *
uuid(unsigned n)
{
	return fake_brainboard_uuid('a', n);
}

/* "NUMBER ALIAS" for a state, and what is said of it. */
static void
see(void *arg, const struct state_seen *s)
{
	const char *alias = provider_alias(r.b, s->name);
	char        id[UUID_LEN + 1];

	(void)arg;
	if (uuid_lower(span_str(s->name), id))
		buf_printf(&seen, "%lu", strtoul(s->name + 24, NULL, 16));
	else
		buf_printf(&seen, "(%s)", s->name);
	if (alias != NULL)
		buf_printf(&seen, " %s", alias);
	buf_printf(&seen, "%s%s%s; ", s->locked ? " locked" : "", s->problem != NULL ? " problem" : "", s->uncovered != NULL ? " uncovered" : "");
	if (s->problem != NULL || s->uncovered != NULL)
		CHECK(strstr(s->problem != NULL ? s->problem : s->uncovered, "canary") == NULL);
}

static const char *
list(void)
{
	buf_reset(&seen);
	if (provider_rig_run(&r, provider_list(r.b, see, NULL)) != ERR_OK)
		return r.err.msg;
	return buf_str(&seen);
}

static void
put(size_t at, const char *template, unsigned n)
{
	char *key = brainboard_key_of(template, uuid(n));

	mem_world_put(world[at], key, span_str(state));
	free(key);
}

static enum err_code
get(unsigned n)
{
	snapshot_free(&snap);
	return provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ uuid(n) }, NULL, &snap));
}

static enum err_code
lock(unsigned n)
{
	struct state_ref ref = { uuid(n) };

	provider_lock_new(r.b, &ref, "test", &mine);
	return provider_rig_run(&r, provider_lock(r.b, &ref, &mine, &holder));
}

static enum err_code
unlock(unsigned n)
{
	return provider_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ uuid(n) }, &mine));
}

static enum err_code
write(unsigned n)
{
	struct put_condition under = { PUT_UNDER_LOCK, NULL, &mine };
	char                 etag[ETAG_MAX];

	return provider_rig_put(&r, &(struct state_ref){ uuid(n) }, span_str(state), &under, etag);
}

static void
wait(int64_t ms)
{
	CHECK(provider_rig_run(&r, op_sleep(r.loop, ms)) == ERR_OK);
}

/* ---------------------------------------------------------------- names */

static const char *
key_uuid(const char *key)
{
	static char id[UUID_LEN + 1];

	return brainboard_key_uuid(key, id) ? id : "no";
}

static void
keys(void)
{
#define U "9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4f"
	char id[UUID_LEN + 1], *text;

	CHECK_STR(key_uuid(U), U);
	CHECK_STR(key_uuid("9B2E0C1A-6f0e-4c8e-9d5b-0A8F3C1D2E4F"), U);
	CHECK_STR(key_uuid(U ".tfstate"), U);
	CHECK_STR(key_uuid(U "/terraform.tfstate"), U);
	CHECK_STR(key_uuid(U "/default.tfstate"), U);
	CHECK_STR(key_uuid(U "/state"), U);
	CHECK_STR(key_uuid(U ".tflock"), "no");
	CHECK_STR(key_uuid(U "/default.tflock"), "no");
	CHECK_STR(key_uuid(U "-md5"), "no");
	CHECK_STR(key_uuid(U "/terraform.tfstate-md5"), "no");
	CHECK_STR(key_uuid(U ".lock.info"), "no");
	CHECK_STR(key_uuid(U "/"), "no");
	CHECK_STR(key_uuid(U "/a/b"), "no");
	CHECK_STR(key_uuid("x" U), "no");
	CHECK_STR(key_uuid(U "0"), "no");
	CHECK_STR(key_uuid("9b2e0c1a-6f0e-4c8e-9d5b-0a8f3c1d2e4g"), "no");
	CHECK_STR(key_uuid("9b2e0c1a+6f0e-4c8e-9d5b-0a8f3c1d2e4f"), "no");
	CHECK_STR(key_uuid(""), "no");
	CHECK(brainboard_key_matches("a/{uuid}/t", "a/" U "/t", id) && strcmp(id, U) == 0);
	CHECK(!brainboard_key_matches("a/{uuid}/t", "a/" U "/u", id));
	CHECK(!brainboard_key_matches("a/{uuid}/t", "b/" U "/t", id));
	CHECK(!brainboard_key_matches("{uuid}", U "x", id));
	text = brainboard_key_of("a/{uuid}/t", U);
	CHECK_STR(text, "a/" U "/t");
	free(text);
	text = brainboard_alias("..", "a/b\n", "");
	CHECK_STR(text, "..-/a-b-/-");
	free(text);
#undef U
}

/* ---------------------------------------------------------------- the inventory */

#define ON_MEM BLOCK("  storage \"mem\" {}\n")

static void
inventory(void)
{
	begin(ON_MEM);
	fake.projects = 2;
	fake.environments = 3;
	fake_brainboard_put(&fake, 1, 0, "net");
	fake_brainboard_put(&fake, 2, 2, "db");
	put(0, "{uuid}", 1);
	put(0, "{uuid}/terraform.tfstate", 7);
	CHECK_STR(list(), "1 project-0/env-0/net; 7; 2 project-0/env-2/db uncovered; ");
	CHECK_U64(fake.requests, 4); /* projects with their environments, three times architectures */
	CHECK_STR(list(), "1 project-0/env-0/net; 7; 2 project-0/env-2/db uncovered; ");
	CHECK_U64(fake.requests, 4); /* not before ten minutes are over */
	fake.embedded = false;
	fake.arch[1].there = false;
	fake_brainboard_put(&fake, 2, 2, "data");
	wait(BRAINBOARD_REFRESH_MS);
	CHECK_STR(list(), "1 project-0/env-0/net; 7; 2 project-0/env-2/data uncovered; "); /* what vanished there stays */
	CHECK_U64(fake.requests, 4 + 1 + 2 + 3);
	CHECK_STR(provider_unalias(r.b, "project-0/env-2/data"), uuid(2));
	CHECK(provider_unalias(r.b, "project-0/env-2/db") == NULL);
	end();
}

static void
spellings(void)
{
	begin(ON_MEM);
	fake.raw = false;
	fake_brainboard_put(&fake, 1, 0, "net");
	CHECK_STR(list(), "1 project-0/env-0/net uncovered; ");
	CHECK_U64(fake.raw_seen, 1);
	CHECK_U64(fake.bearer_seen, 2);
	wait(BRAINBOARD_REFRESH_MS);
	list();
	CHECK_U64(fake.raw_seen, 1); /* remembered */
	CHECK_U64(fake.bearer_seen, 4);
	fake.bearer = false;
	wait(BRAINBOARD_REFRESH_MS);
	CHECK_STR(list(), "() problem; 1 project-0/env-0/net uncovered; ");
	CHECK_U64(fake.raw_seen, 2);
	CHECK_U64(fake.bearer_seen, 5);
	CHECK_STR(brainboard_of(r.b)->trouble.msg, "Brainboard refuses the token at https://api.us1.brainboard.co (401 PERMISSION_DENIED)");
	CHECK(strstr(brainboard_of(r.b)->trouble.hint, "region") != NULL);
	end();
}

static void
api_trouble(void)
{
	begin(ON_MEM);
	put(0, "{uuid}", 1);
	fake.refuse = 500;
	CHECK_STR(list(), "() problem; 1; "); /* states go on without */
	CHECK(brainboard_of(r.b)->trouble.code == ERR_BUSY || brainboard_of(r.b)->trouble.code == ERR_NETWORK);
	fake.refuse = 418;
	fake.older_errors = true;
	wait(BRAINBOARD_REFRESH_MS);
	list();
	CHECK_STR(brainboard_of(r.b)->trouble.msg, "Brainboard at https://api.us1.brainboard.co answers 418 INTERNAL_ERROR: no more");
	fake.refuse = 429;
	fake.retry_after = 3600;
	wait(BRAINBOARD_REFRESH_MS);
	list();
	CHECK_U64(brainboard_of(r.b)->trouble.code, ERR_BUSY);
	fake.requests = 0;
	wait(3599 * 1000);
	CHECK_STR(list(), "() problem; 1; ");
	CHECK_U64(fake.requests, 0); /* it asked to be left alone */
	fake.refuse = 0;
	fake.garbage = "<html>";
	wait(1000);
	list();
	CHECK_STR(brainboard_of(r.b)->trouble.msg, "Brainboard at https://api.us1.brainboard.co/projects: the answer is no JSON");
	fake.garbage = "[{\"uuid\":\"x\"}]";
	wait(BRAINBOARD_REFRESH_MS);
	list();
	CHECK_STR(brainboard_of(r.b)->trouble.msg, "Brainboard at https://api.us1.brainboard.co/projects: item 1 of the answer has no UUID");
	fake.garbage = NULL;
	wait(BRAINBOARD_REFRESH_MS);
	CHECK_STR(list(), "1; ");
	end();
}

static void
selecting(void)
{
	begin(BLOCK("  select {\n    environment = \"env-1\"\n    name = \"n*\"\n    status = \"deployed\"\n  }\n  storage \"mem\" {}\n"));
	fake.environments = 2;
	fake_brainboard_put(&fake, 1, 1, "net");
	fake_brainboard_put(&fake, 2, 0, "net");
	fake_brainboard_put(&fake, 3, 1, "db");
	fake_brainboard_put(&fake, 4, 1, "new");
	strcpy(fake.arch[4].status, "WIP");
	for (unsigned n = 1; n <= 5; n++)
		put(0, "{uuid}", n);
	fake.refuse = 500;
	CHECK(strstr(list(), "Brainboard") != NULL); /* nobody knows what is selected: not "nothing" */
	fake.refuse = 0;
	CHECK_STR(list(), "1 project-0/env-1/net; ");
	strcpy(fake.arch[4].status, "Deployed");
	fake.arch[1].there = false;
	wait(BRAINBOARD_REFRESH_MS);
	CHECK_STR(list(), "1 project-0/env-1/net; 4 project-0/env-1/new; ");
	fake.refuse = 500;
	wait(BRAINBOARD_REFRESH_MS);
	CHECK_STR(list(), "() problem; 1 project-0/env-1/net; 4 project-0/env-1/new; ");
	end();
}

/* ---------------------------------------------------------------- where states are */

static void
discovery(void)
{
	char key[100];

	begin("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n}\n");
	put(0, "{uuid}", 1);
	put(0, "{uuid}/terraform.tfstate", 2);
	put(0, "{uuid}.tfstate", 3);
	put(0, "{uuid}/default.tfstate", 4);
	put(0, "{uuid}.tflock", 5);
	put(0, "{uuid}-md5", 6);
	put(0, "{uuid}/a/b", 7);
	mem_world_put(world[0], "prod/terraform.tfstate", span_str(state));
	CHECK_STR(list(), "1; 2; 3; 4; ");
	CHECK_U64(fake.requests, 0);
	for (unsigned n = 1; n <= 4; n++)
		CHECK_U64(get(n), ERR_OK);
	CHECK_U64(get(5), ERR_NOT_FOUND);
	snprintf(key, sizeof(key), "%s/terraform.tfstate", uuid(2));
	CHECK_OK(lock(2), r.err);
	CHECK(mem_world_locked(world[0], key) != NULL);
	CHECK_OK(write(2), r.err);
	CHECK_OK(unlock(2), r.err);
	CHECK(mem_world_locked(world[0], key) == NULL);
	CHECK_U64(lock(5), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "nothing says under which name") != NULL);
	CHECK_U64(write(5), ERR_UNSUPPORTED);
	end();
}

/* Without a listing before it, as a command does. */
static void
unasked(void)
{
	begin("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n}\n");
	put(0, "{uuid}/terraform.tfstate", 2);
	CHECK_U64(get(2), ERR_OK);
	CHECK_U64(get(3), ERR_NOT_FOUND);
	put(0, "{uuid}/terraform.tfstate", 3);
	wait(r.b->common.poll_ms);
	CHECK_U64(get(3), ERR_OK);
	mem_world_down(world[0], ERR_NETWORK);
	CHECK_U64(get(4), ERR_NOT_FOUND); /* as it was just now */
	wait(r.b->common.poll_ms);
	CHECK_U64(get(4), ERR_NETWORK);
	CHECK(strncmp(r.err.msg, "b: ", 3) == 0 && strncmp(r.err.msg, "b: b: ", 6) != 0);
	CHECK_U64(provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ "x" }, NULL, &snap)), ERR_UNSUPPORTED);
	end();
}

static void
ambiguity(void)
{
	begin("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n}\n");
	put(0, "{uuid}", 1);
	put(0, "{uuid}/terraform.tfstate", 1);
	CHECK_STR(list(), "1; 1 problem; ");
	end();
}

static void
pinned(void)
{
	char key[100];

	begin(BLOCK("  key = \"states/{uuid}/t\"\n  storage \"mem\" {}\n"
	    "  architecture \"A0000000-0000-4000-8000-000000000002\" {\n    key = \"special\"\n  }\n"));
	fake_brainboard_put(&fake, 1, 0, "net");
	put(0, "{uuid}", 1);
	put(0, "states/{uuid}/t", 3);
	put(0, "states/{uuid}/t", 2); /* not the one it was given */
	mem_world_put(world[0], "special", span_str(state));
	CHECK_STR(list(), "3; 2; 1 project-0/env-0/net uncovered; ");
	CHECK_U64(get(1), ERR_NOT_FOUND);
	CHECK_OK(lock(1), r.err);
	CHECK_OK(write(1), r.err);
	CHECK_OK(unlock(1), r.err);
	snprintf(key, sizeof(key), "states/%s/t", uuid(1));
	CHECK(mem_world_get(world[0], key, &(struct span){ NULL, 0 }));
	CHECK_OK(lock(2), r.err);
	CHECK(mem_world_locked(world[0], "special") != NULL);
	CHECK_OK(unlock(2), r.err);
	end();
}

/* ---------------------------------------------------------------- names that are nobody's */

static enum err_code
expect(const char *name)
{
	return provider_rig_run(&r, provider_expect(r.b, &(struct state_ref){ name }));
}

/* What is refused, is refused before the storage hears of it, by the lock and by who asks beforehand, in the same words. */
static void
refused(unsigned n, const char *why)
{
	uint64_t before = mem_world_calls(world[0]);
	char     said[ERR_MSG_MAX];

	mem_world_down(world[0], ERR_NETWORK); /* whatever reached it would end so */
	CHECK_U64(lock(n), ERR_UNSUPPORTED);
	if (strstr(r.err.msg, why) == NULL)
		test_fail(__FILE__, __LINE__, "expected \"%s\", got: %s", why, r.err.msg);
	snprintf(said, sizeof(said), "%s", r.err.msg);
	CHECK(r.err.hint[0] != '\0');
	CHECK_U64(expect(uuid(n)), ERR_UNSUPPORTED);
	CHECK_STR(r.err.msg, said);
	CHECK_U64(write(n), ERR_UNSUPPORTED);
	CHECK_STR(r.err.msg, said);
	mem_world_down(world[0], ERR_OK);
	CHECK_U64(mem_world_calls(world[0]), before);
}

static void
written(unsigned n)
{
	CHECK_OK(expect(uuid(n)), r.err);
	CHECK_OK(lock(n), r.err);
	CHECK_OK(write(n), r.err);
	CHECK_OK(unlock(n), r.err);
}

static void
unknown(void)
{
	begin(BLOCK("  key = \"{uuid}\"\n  storage \"mem\" {}\n"
	    "  architecture \"a0000000-0000-4000-8000-000000000008\" {\n    key = \"eight\"\n  }\n"));
	fake_brainboard_put(&fake, 1, 0, "net");
	fake_brainboard_put(&fake, 2, 0, "gone");
	written(1);
	CHECK_U64(fake.requests, 2); /* without a listing before */
	refused(9, "a0000000-0000-4000-8000-000000000009 is no architecture that Brainboard shows");
	CHECK_U64(fake.requests, 2); /* it was asked just now */
	CHECK_U64(get(9), ERR_NOT_FOUND);
	written(8);
	fake_brainboard_put(&fake, 9, 0, "new");
	fake.arch[2].there = false;
	wait(BRAINBOARD_ASK_MS);
	written(9);
	CHECK_U64(fake.requests, 4);
	written(2); /* what vanished there was no mistake */
	fake.refuse = 401;
	wait(BRAINBOARD_ASK_MS);
	refused(10, "is not known, and the inventory cannot be asked: Brainboard refuses the token");
	written(1);
	end();
}

static void
unknown_of_some(void)
{
	begin(BLOCK("  key = \"{uuid}\"\n  storage \"mem\" {}\n  architectures = [\"A0000000-0000-4000-8000-000000000001\"]\n"));
	written(1);
	refused(2, "is not one of the architectures");
	CHECK_U64(fake.requests, 0);
	end();
	begin(BLOCK("  key = \"{uuid}\"\n  storage \"mem\" {}\n  select {\n    name = \"n*\"\n  }\n"));
	fake_brainboard_put(&fake, 1, 0, "net");
	fake_brainboard_put(&fake, 2, 0, "db");
	written(1);
	refused(2, "Brainboard shows and select takes");
	end();
	begin("backend \"brainboard\" \"b\" {\n  key = \"{uuid}\"\n  storage \"mem\" {}\n}\n"); /* without token nobody can be asked */
	written(1);
	end();
}

/* What a lock would refuse although the architecture is known. */
static void
expected(void)
{
	begin(BLOCK("  storage \"mem\" {}\n  architecture \"a0000000-0000-4000-8000-000000000003\" {\n    storage \"managed\" {}\n  }\n"
	    "  architecture \"a0000000-0000-4000-8000-000000000004\" {\n    key = \"k\"\n    storage \"mem\" {\n      lock = false\n    }\n  }\n"));
	fake_brainboard_put(&fake, 1, 0, "net");
	CHECK_U64(expect(uuid(1)), ERR_UNSUPPORTED);
	CHECK(strncmp(r.err.msg, "b: ", 3) == 0 && strstr(r.err.msg, "nothing says under which name") != NULL);
	CHECK_U64(expect(uuid(3)), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "managed storage") != NULL);
	CHECK_U64(expect(uuid(4)), ERR_CONFLICT);
	CHECK(strstr(r.err.msg, "has no lock") != NULL);
	CHECK_U64(expect("x"), ERR_UNSUPPORTED);
	put(0, "{uuid}", 1);
	put(0, "{uuid}.tfstate", 1);
	wait(r.b->common.poll_ms);
	CHECK_U64(expect(uuid(1)), ERR_CONFLICT);
	CHECK_U64(mem_world_locks(world[0]), 0);
	end();
}

static void
forms_of_names(void)
{
	struct buf name;
	char       text[] = "A0000000-0000-4000-8000-00000000000F";

	begin(ON_MEM);
	provider_fold(r.b, text);
	CHECK_STR(text, "a0000000-0000-4000-8000-00000000000f");
	buf_init(&name, 0);
	buf_puts(&name, "A0000000-0000-4000-8000-00000000000F");
	provider_complete(r.b, r.b, &name);
	CHECK_STR(buf_str(&name), "a0000000-0000-4000-8000-00000000000f");
	buf_free(&name);
	end();
}

static void
asking(void)
{
	begin(ON_MEM);
	fake_brainboard_put(&fake, 1, 0, "net");
	CHECK_OK(provider_rig_run(&r, provider_ask(r.b, "project-0/env-0/net")), r.err);
	CHECK_STR(provider_unalias(r.b, "project-0/env-0/net"), uuid(1));
	CHECK(provider_ask(r.b, "project-0/env-0/net") == NULL && provider_ask(r.b, uuid(1)) == NULL);
	fake_brainboard_put(&fake, 2, 0, "db"); /* a person who has just made it need not wait */
	CHECK_OK(provider_rig_run(&r, provider_ask(r.b, "project-0/env-0/db")), r.err);
	CHECK_STR(provider_unalias(r.b, "project-0/env-0/db"), uuid(2));
	fake.refuse = 401;
	CHECK_U64(provider_rig_run(&r, provider_ask(r.b, "project-0/env-0/dc")), ERR_AUTH);
	CHECK(strncmp(r.err.msg, "b: Brainboard refuses", 21) == 0);
	end();
	begin("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n}\n");
	CHECK(provider_ask(r.b, "project-0/env-0/net") == NULL);
	CHECK_U64(provider_holds_name(r.b, "project-0/env-0/net", &r.err), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.hint, "with token") != NULL);
	end();
}

/* ---------------------------------------------------------------- storages of their own */

#define OWN_STORAGE \
	BLOCK("  storage \"mem\" {}\n  key = \"{uuid}\"\n" \
	    "  architecture \"a0000000-0000-4000-8000-000000000002\" {\n    storage \"mem\" {}\n  }\n" \
	    "  architecture \"a0000000-0000-4000-8000-000000000003\" {\n    storage \"managed\" {}\n  }\n")

static void
own_storage(void)
{
	begin(OWN_STORAGE);
	fake_brainboard_put(&fake, 3, 0, "managed");
	for (unsigned n = 1; n <= 3; n++)
		put(0, "{uuid}", n);
	put(1, "{uuid}", 1); /* not its place */
	put(1, "{uuid}", 2);
	CHECK_STR(list(), "1; 2; 3 project-0/env-0/managed uncovered; ");
	CHECK_OK(lock(2), r.err);
	CHECK(mem_world_locked(world[1], uuid(2)) != NULL);
	CHECK(mem_world_locked(world[0], uuid(2)) == NULL);
	CHECK_OK(unlock(2), r.err);
	CHECK_U64(get(3), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "managed storage") != NULL);
	CHECK_U64(lock(3), ERR_UNSUPPORTED);
	mem_world_down(world[1], ERR_AUTH); /* one storage is no reason to stop for the others */
	CHECK_STR(list(), "1; 2; 3 project-0/env-0/managed uncovered; ");
	CHECK_U64(get(1), ERR_OK);
	CHECK_U64(get(2), ERR_AUTH);
	mem_world_down(world[0], ERR_NETWORK); /* that of all is */
	list();
	CHECK_U64(r.err.code, ERR_NETWORK);
	end();
}

static void
unlisted_trouble(void)
{
	begin(BLOCK("  storage \"mem\" {}\n  architecture \"a0000000-0000-4000-8000-000000000002\" {\n    storage \"mem\" {}\n  }\n"));
	put(1, "{uuid}", 2);
	mem_world_down(world[1], ERR_AUTH);
	CHECK_STR(list(), "2; ");
	CHECK_U64(get(2), ERR_AUTH); /* never "there is none" */
	end();
}

static void
locks(void)
{
	begin("backend \"brainboard\" \"b\" {\n  key = \"{uuid}\"\n  storage \"mem\" {\n    lock = false\n  }\n}\n");
	CHECK_U64(provider_writable(r.b, &r.err), ERR_CONFLICT); /* its runner takes no lock either */
	end();
	begin("backend \"brainboard\" \"b\" {\n  key = \"{uuid}\"\n  exclusive = true\n  storage \"mem\" {\n    lock = false\n  }\n}\n");
	CHECK_OK(provider_writable(r.b, &r.err), r.err);
	CHECK((provider_caps(r.b) & (PROVIDER_LOCK | PROVIDER_IF_MATCH)) == PROVIDER_IF_MATCH);
	end();
	begin("backend \"brainboard\" \"b\" {\n  key = \"{uuid}\"\n  storage \"mem\" {\n    lock = false\n  }\n"
	    "  architecture \"a0000000-0000-4000-8000-000000000002\" {\n    storage \"mem\" {}\n  }\n}\n");
	CHECK_OK(provider_writable(r.b, &r.err), r.err);
	CHECK_U64(lock(1), ERR_CONFLICT);
	CHECK(strstr(r.err.msg, "its storage has no lock") != NULL && strstr(r.err.hint, "exclusive") != NULL);
	CHECK_OK(lock(2), r.err);
	CHECK_OK(unlock(2), r.err);
	end();
}

/* Requests that the storage sends are those of the backend. */
static void
counted(void)
{
	begin(OWN_STORAGE);
	put(0, "{uuid}", 1);
	list();
	CHECK(r.b->requests >= 4); /* two of the API, two storages */
	CHECK_U64(r.b->stats[REQUEST_LIST].results[REQUEST_OK], 1);
	end();
}

/* ---------------------------------------------------------------- places */

static void
places(void)
{
	struct buf out;

	begin(BLOCK("  storage \"mem\" {}\n"));
	put(0, "{uuid}/terraform.tfstate", 1);
	buf_init(&out, 0);
	CHECK(brainboard_behind(r.b, uuid(1), &out) == NULL);
	list();
	CHECK(brainboard_behind(r.b, uuid(1), &out) == brainboard_of(r.b)->storages[0].b);
	CHECK(strstr(buf_str(&out), "/terraform.tfstate") != NULL);
	CHECK_U64(provider_holds_name(r.b, "A0000000-0000-4000-8000-000000000001", &r.err), ERR_UNSUPPORTED);
	CHECK_OK(provider_holds_name(r.b, uuid(1), &r.err), r.err);
	buf_free(&out);
	end();
}

static void
refuses(const char *block, const char *why)
{
	const char *said = provider_rig_refuses(block);

	if (said == NULL || strstr(said, why) == NULL)
		test_fail(__FILE__, __LINE__, "expected \"%s\", got: %s", why, said != NULL ? said : "nothing");
}

static void
configuration(void)
{
	refuses("backend \"brainboard\" \"b\" {}\n", "expected a block storage");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"brainboard\" {\n    storage \"mem\" {}\n  }\n}\n", "keeps its states elsewhere");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"x3\" {}\n}\n", "no kind of backend \"x3\"");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"mem\" {\n    timeout = \"1s\"\n  }\n}\n", "timeout");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"managed\" {\n    bucket = \"x\"\n  }\n}\n", "bucket");
	refuses("backend \"brainboard\" \"b\" {\n  region = \"eu1\"\n  storage \"mem\" {}\n}\n", "apac1");
	refuses("backend \"brainboard\" \"b\" {\n  region = \"us1\"\n  api_base = \"https://x.example\"\n  storage \"mem\" {}\n}\n", "either");
	refuses("backend \"brainboard\" \"b\" {\n  api_base = \"http://x.example\"\n  storage \"mem\" {}\n}\n", "expected https");
	refuses("backend \"brainboard\" \"b\" {\n  key = \"x\"\n  storage \"mem\" {}\n}\n", "one {uuid}");
	refuses("backend \"brainboard\" \"b\" {\n  select {\n    name = \"x\"\n  }\n  storage \"mem\" {}\n}\n", "token");
	refuses("backend \"brainboard\" \"b\" {\n  architectures = [\"x\"]\n  storage \"mem\" {}\n}\n", "no UUID");
	refuses("backend \"brainboard\" \"b\" {\n  prefix = \"x\"\n  storage \"mem\" {}\n}\n", "no prefix");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n  storage \"mem\" {}\n}\n", "second storage");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"http\" {\n    address = \"https://x.example/y\"\n  }\n}\n", "room for one state");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n  architecture \"x\" {\n    key = \"y\"\n  }\n}\n", "its UUID");
	refuses("backend \"brainboard\" \"b\" {\n  storage \"mem\" {}\n  architecture \"a0000000-0000-4000-8000-000000000002\" {}\n}\n", "expected a storage");
}

static void
regions(void)
{
	begin(BLOCK("  region = \"apac1\"\n  storage \"mem\" {}\n"));
	CHECK_STR(brainboard_of(r.b)->api, "https://api.apac1.brainboard.co");
	end();
	begin(BLOCK("  storage \"mem\" {}\n"));
	CHECK_STR(brainboard_of(r.b)->api, "https://api.us1.brainboard.co");
	end();
	begin(BLOCK("  api_base = \"https://bb.example/api/\"\n  storage \"mem\" {}\n"));
	CHECK_STR(brainboard_of(r.b)->api, "https://bb.example/api");
	end();
}

static void
managed(void)
{
	begin(BLOCK("  storage \"managed\" {}\n"));
	fake_brainboard_put(&fake, 1, 0, "net");
	CHECK_STR(list(), "1 project-0/env-0/net uncovered; ");
	CHECK_U64(provider_writable(r.b, &r.err), ERR_UNSUPPORTED);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "keys", keys }, { "inventory", inventory }, { "spellings", spellings },
	    { "api trouble", api_trouble }, { "select", selecting }, { "discovery", discovery }, { "without a listing", unasked },
	    { "ambiguity", ambiguity }, { "pinned names", pinned }, { "names that are nobody's", unknown },
	    { "names that are not taken", unknown_of_some }, { "expected", expected }, { "forms of names", forms_of_names }, { "asking", asking }, { "storages of their own", own_storage },
	    { "a storage that cannot be listed", unlisted_trouble }, { "locks", locks }, { "counted", counted }, { "places", places },
	    { "configuration", configuration }, { "regions", regions }, { "managed", managed }, { NULL, NULL } });
}
