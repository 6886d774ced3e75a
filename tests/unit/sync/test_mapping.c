/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/run_op.h"
#include "../../lib/test.h"
#include "base/mem.h"
#include "base/name.h"
#include "base/rand.h"
#include "sync/plan.h"

/* Names across stores: what one backend calls W the other calls W, and no two states get one name. */

/* $ is the label. Backends of one state and its workspaces, as each provider spells them, then those of free names. */
#define WORKSPACES 4
static const char *const kinds[] = {
	"backend \"s3\" \"$\" {\n  bucket = \"bucket-$\"\n  region = \"r\"\n  key = \"net/app.tfstate\"\n}\n",
	"backend \"gcs\" \"$\" {\n  bucket = \"bucket-$\"\n  prefix = \"net\"\n  access_token = \"t\"\n}\n",
	"backend \"local\" \"$\" {\n  path = \"/nowhere-$/app.tfstate\"\n}\n",
	"backend \"azurerm\" \"$\" {\n  storage_account_name = \"acme\"\n  container_name = \"box-$\"\n  key = \"net/app.tfstate\"\n  access_key = \"YQ==\"\n}\n",
	"backend \"s3\" \"$\" {\n  bucket = \"bucket-$\"\n  region = \"r\"\n  prefix = \"deep/\"\n}\n",
	"backend \"local\" \"$\" {\n  dir = \"/nowhere-$\"\n}\n",
};
static const char container[] =
    "backend \"azurerm\" \"$\" {\n  storage_account_name = \"acme\"\n  container_name = \"box-$\"\n  access_key = \"YQ==\"\n}\n";

static const char free_gcs[] = "backend \"gcs\" \"$\" {\n  bucket = \"bucket-$\"\n  access_token = \"t\"\n}\n";
static const char http[] = "backend \"http\" \"$\" {\n  address = \"http://127.0.0.1:1/$/{name}\"\n  states = [\"x\"]\n}\n";

static const char flat_s3[] = "backend \"s3\" \"$\" {\n  bucket = \"bucket-$\"\n  region = \"r\"\n  key = \"app\"\n}\n";
static const char flat_azurerm[] =
    "backend \"azurerm\" \"$\" {\n  storage_account_name = \"acme\"\n  container_name = \"box-$\"\n  key = \"app.tfstate\"\n  access_key = \"YQ==\"\n}\n";

static const char flat_bucket[] = "backend \"s3\" \"$\" {\n  bucket = \"bucket-$\"\n  region = \"r\"\n}\n";

#define BUCKET kinds[WORKSPACES]
#define FOLDER kinds[WORKSPACES + 1]

static struct agent_rig r;

static char *
labelled(const char *block, const char *label)
{
	struct buf b;

	buf_init(&b, 0);
	for (; *block != '\0'; block++)
		if (*block == '$')
			buf_puts(&b, label);
		else
			buf_putc(&b, *block);
	return buf_take(&b);
}

static struct plan *
between(const char *from, const char *to, const char *edge)
{
	char        *a = labelled(from, "a"), *b = labelled(to, "b");
	char        *text = xasprintf("%s%sreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n%s}\n", a, b, edge);
	struct plan *p = agent_rig_plan(&r, text);

	free(a), free(b), free(text);
	return p;
}

static void
odd_name(struct rand *rnd, bool slashes, struct buf *ret)
{
	static const char *const pieces[] = { "a", "B", "7", "-", "_", "+", " ", "=", "&", "%", "%2F", "#", "?", "é", "\xf0\x9f\x9a\x80", "~", "'", "\"",
		"{name}", "env:", "default", ".tfstate", "..a", ":", "@1", "/", "*" };

	buf_reset(ret);
	for (uint64_t n = 1 + rand_below(rnd, 6); n > 0; n--) {
		const char *piece = pieces[rand_below(rnd, ARRAY_LEN(pieces))];

		if (slashes ? strcmp(piece, "/") != 0 || !span_ends(buf_span(ret), "/") : strchr(piece, '/') == NULL)
			buf_puts(ret, piece);
	}
	buf_puts(ret, "x");
}

static void
map(const struct plan *p, const char *name, struct buf *ret)
{
	struct err e;

	buf_reset(ret);
	if (lane_map(p, &p->edges[0].lanes[0], name, ret, &e) != MAP_YES)
		test_fail(__FILE__, __LINE__, "%s: %s", name, e.msg);
}

/* From each to each and back: workspace W to its W, whichever way it is spelt; two workspaces never meet. */
static void
workspaces(void)
{
	struct rand rnd;
	struct buf  w, name[2], there[2], back;
	struct err  e;

	rand_seeded(&rnd, 3);
	buf_init(&w, 0), buf_init(&back, 0);
	for (size_t i = 0; i < 2; i++)
		buf_init(&name[i], 0), buf_init(&there[i], 0);
	for (size_t a = 0; a < WORKSPACES; a++)
		for (size_t b = 0; b < WORKSPACES; b++) {
			struct plan *out = between(kinds[a], kinds[b], "  key = \"{workspace}\"\n"), *home = between(kinds[b], kinds[a],
			    "  key = \"{workspace}\"\n");

			for (unsigned round = 0; round < 200; round++) {
				char *spelt[2];

				for (size_t i = 0; i < 2; i++) {
					struct plan *p = between(kinds[a], kinds[a], "  key = \"{workspace}\"\n");

					odd_name(&rnd, false, &w);
					if (round == 0 && i == 0)
						buf_reset(&w), buf_puts(&w, "default");
					buf_reset(&name[i]);
					if (!provider_fixed(p->backends[0], buf_str(&w), &name[i]))
						buf_printf(&name[i], "%s.tfstate", buf_str(&w));
					spelt[i] = xstrdup(buf_str(&w));
					plan_free(p);
					CHECK_OK(name_check(buf_span(&name[i]), &e), e);
					map(out, buf_str(&name[i]), &there[i]);
					map(home, buf_str(&there[i]), &back);
					CHECK_STR(buf_str(&back), buf_str(&name[i]));
				}
				if (strcmp(spelt[0], spelt[1]) != 0)
					CHECK(strcmp(buf_str(&there[0]), buf_str(&there[1])) != 0);
				free(spelt[0]), free(spelt[1]);
			}
			plan_free(out);
			plan_free(home);
		}
	buf_free(&w), buf_free(&back);
	for (size_t i = 0; i < 2; i++)
		buf_free(&name[i]), buf_free(&there[i]);
}

/* A workspace of azurerm ends otherwise; elsewhere its name is completed, and comes back as it was. */
static void
names_of_azurerm(void)
{
	static const char *const names[][2] = { { "net/app.tfstate", "net/app.tfstate" }, { "net/app.tfstateenv:dev", "net/app.tfstateenv:dev.tfstate" },
		{ "a.tfstateenv:b.tfstateenv:c", "a.tfstateenv:b.tfstateenv:c.tfstate" } };
	struct buf there, back;

	buf_init(&there, 0), buf_init(&back, 0);
	for (size_t k = WORKSPACES; k < ARRAY_LEN(kinds); k++) {
		struct plan *out = between(container, kinds[k], ""), *home = between(kinds[k], container, "");

		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			map(out, names[i][0], &there);
			CHECK_STR(buf_str(&there), names[i][1]);
			map(home, buf_str(&there), &back);
			CHECK_STR(buf_str(&back), names[i][0]);
		}
		plan_free(out);
		plan_free(home);
	}
	buf_free(&there), buf_free(&back);
}

/* Where a location with one key was replicated to free names, and the edge is turned round, every workspace is what it was. */
static void
turned_round(void)
{
	const char *const        keyed[] = { kinds[0], kinds[2], kinds[3], flat_s3, flat_azurerm };
	const char *const        unkeyed[] = { BUCKET, FOLDER, container, free_gcs, http, kinds[1] };
	struct rand              rnd;
	struct buf               w, name, there, back;

	rand_seeded(&rnd, 5);
	buf_init(&w, 0), buf_init(&name, 0), buf_init(&there, 0), buf_init(&back, 0);
	for (size_t k = 0; k < ARRAY_LEN(keyed); k++)
		for (size_t u = 0; u < ARRAY_LEN(unkeyed); u++) {
			struct plan *out = between(keyed[k], unkeyed[u], ""), *home = between(unkeyed[u], keyed[k], "");

			for (unsigned round = 0; round < 200; round++) {
				odd_name(&rnd, false, &w);
				if (round == 0)
					buf_reset(&w), buf_puts(&w, "default");
				buf_reset(&name);
				CHECK(provider_fixed(out->backends[0], buf_str(&w), &name));
				map(out, buf_str(&name), &there);
				map(home, buf_str(&there), &back);
				CHECK_STR(buf_str(&back), buf_str(&name));
			}
			plan_free(out);
			plan_free(home);
		}
	buf_free(&w), buf_free(&name), buf_free(&there), buf_free(&back);
}

/* The recipe of the advice: terraform's own names at gcs, and they come back, too. */
static void
recipe(void)
{
	static const char *const names[][2] = { { "net/app.tfstate", "default.tfstate" }, { "net/app.tfstateenv:dev", "dev.tfstate" },
		{ "net/app.tfstateenv:app", "app.tfstate" } };
	struct plan *out = between(kinds[3], free_gcs, "  key = \"{workspace}.tfstate\"\n"), *home = between(free_gcs, kinds[3],
	    "  key = \"{workspace}\"\n");
	struct buf   there, back;

	buf_init(&there, 0), buf_init(&back, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		map(out, names[i][0], &there);
		CHECK_STR(buf_str(&there), names[i][1]);
		map(home, buf_str(&there), &back);
		CHECK_STR(buf_str(&back), names[i][0]);
	}
	plan_free(out), plan_free(home);
	buf_free(&there), buf_free(&back);
}

/* Another name than the target's own is that of a workspace there, and a state may say which. */
static void
own_names(void)
{
	static const char override[] = "  state \"net/c.tfstate\" {\n    key = \"net/app.tfstateenv:z\"\n  }\n";
	static const char *const names[][2] = { { "net/app.tfstate", "net/app.tfstate" }, { "net/b.tfstate", "net/app.tfstateenv:b" },
		{ "net/c.tfstate", "net/app.tfstateenv:z" }, { "default.tfstate", "net/app.tfstate" } };
	struct plan *p = between(free_gcs, kinds[3], override);
	struct buf   there;

	buf_init(&there, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		map(p, names[i][0], &there);
		CHECK_STR(buf_str(&there), names[i][1]);
	}
	plan_free(p);
	buf_free(&there);
}

static void
hear(void *arg, const struct err *advice)
{
	*(struct err *)arg = *advice;
}

static struct err
advice_on(const char *from, const char *to, const char *edge)
{
	struct plan *p = between(from, to, edge);
	struct err   e = { .code = ERR_OK };

	plan_advise(p, hear, &e);
	plan_free(p);
	return e;
}

static void
advice(void)
{
	struct err e = advice_on(kinds[3], free_gcs, "");

	CHECK_STR(e.msg, "e: terraform would find \"net/app.tfstate\" of \"a\" at \"b\" as its workspace \"app\", not as default");
	CHECK_STR(e.hint, "to use the copies there as they are: prefix = \"net/app\" in \"b\", and key = \"{workspace}.tfstate\" in \"e\"");
	e = advice_on(free_gcs, kinds[3], "");
	CHECK_STR(e.msg, "e: \"b\" has one state, \"net/app.tfstate\", and its workspaces; any other name of \"a\" is written there as the "
	    "workspace that it tells");
	CHECK(advice_on(kinds[3], free_gcs, "  key = \"{workspace}.tfstate\"\n").code == ERR_OK);
	CHECK(advice_on(free_gcs, kinds[3], "  key = \"{workspace}\"\n").code == ERR_OK);
	CHECK(advice_on(free_gcs, kinds[3], "  include = [\"net/app.tfstate*\"]\n").code == ERR_OK);
	e = advice_on(kinds[0], container, "");
	CHECK_STR(e.msg, "e: terraform would look for workspace W of \"net/app.tfstate\" at \"b\" as \"net/app.tfstateenv:W\", not as "
	    "\"env:/W/net/app.tfstate\"");
	CHECK_STR(e.hint, "to use the copies there as they are: key = \"net/app.tfstate\" in \"b\"");
	CHECK_STR(advice_on(kinds[3], BUCKET, "").hint, "to use the copies there as they are: key = \"deep/net/app.tfstate\" in \"b\", instead of its "
	    "prefix");
	CHECK(advice_on(kinds[0], flat_bucket, "").code == ERR_OK);
	CHECK(advice_on(kinds[3], container, "").code == ERR_OK);
	CHECK(advice_on(kinds[0], kinds[3], "").code == ERR_OK);
	CHECK(advice_on(kinds[0], FOLDER, "").code == ERR_OK);
	CHECK(advice_on(BUCKET, free_gcs, "").code == ERR_OK);
}

/* Names that the source lists keep apart, and come back as they were when the edge is turned round. */
static void
names(void)
{
	static const char *const edges[] = { "", "  key = \"{path}\"\n", "  key = \"{name}\"\n" };
	struct rand rnd;
	struct buf  n[2], there[2], back;

	rand_seeded(&rnd, 4);
	buf_init(&back, 0);
	for (size_t i = 0; i < 2; i++)
		buf_init(&n[i], 0), buf_init(&there[i], 0);
	for (size_t a = WORKSPACES; a < ARRAY_LEN(kinds); a++)
		for (size_t b = WORKSPACES; b < ARRAY_LEN(kinds); b++)
			for (size_t k = 0; k < ARRAY_LEN(edges); k++) {
				struct plan *out = between(kinds[a], kinds[b], edges[k]), *home = between(kinds[b], kinds[a], edges[k]);

				for (unsigned round = 0; round < 500; round++) {
					for (size_t i = 0; i < 2; i++) {
						odd_name(&rnd, true, &n[i]);
						buf_puts(&n[i], ".tfstate");
						if (n[i].data[0] == '/')
							n[i].data[0] = 'q';
						map(out, buf_str(&n[i]), &there[i]);
						map(home, buf_str(&there[i]), &back);
						CHECK_STR(buf_str(&back), buf_str(&n[i]));
					}
					if (strcmp(buf_str(&n[0]), buf_str(&n[1])) != 0)
						CHECK(strcmp(buf_str(&there[0]), buf_str(&there[1])) != 0);
				}
				plan_free(out);
				plan_free(home);
			}
	buf_free(&back);
	for (size_t i = 0; i < 2; i++)
		buf_free(&n[i]), buf_free(&there[i]);
}

/* n times the text, then the rest. */
static char *
times(const char *text, size_t n, const char *rest)
{
	struct buf b;

	buf_init(&b, 0);
	for (; n > 0; n--)
		buf_puts(&b, text);
	buf_puts(&b, rest);
	return buf_take(&b);
}

/* What each kind of target does with names that are hard to hold: it takes them as they are, or one clause says why it cannot, with
 * what to do, before anything is sent. why NULL: it holds them. */
static void
hard_names(void)
{
	static const char    slashes[] = "a name with \"//\": no folder of local is without a name";
	static const char    backslash[] = "a name with a backslash, which some take for \"/\": not safe in Azure Blob Storage";
	static const char    dot[] = "a name with a segment that ends with a dot, which some cut off: not safe in Azure Blob Storage";
	static const char    never[] = "env:/W/errored.tfstate is never the name of a state";
	static const struct {
		const char *text;            /* repeated */
		size_t      n;
		const char *rest;
		const char *s3, *gcs, *azurerm, *local, *http;
	} t[] = {
		{ "", 0, "a?b#c%d.tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "", 0, "a b/\xc3\xbc\xe7\x8a\xb6&=+;:@'\"{}$~*().tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "", 0, "a//b.tfstate", NULL, NULL, NULL, slashes, NULL },
		{ "", 0, "a/x.tfstate//b.tfstate", NULL, NULL, NULL, slashes, NULL },
		{ "", 0, "a\\b.tfstate", NULL, NULL, backslash, NULL, NULL },
		{ "", 0, "a./b.tfstate", NULL, NULL, dot, NULL, NULL },
		{ "", 0, "..a/b..tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "", 0, "a/", NULL, NULL, NULL, NULL, NULL },
		{ "", 0, "a/../b.tfstate", "..", "..", "..", "..", ".." },
		{ "", 0, "./b.tfstate", "\".\"", "\".\"", "\".\"", "\".\"", "\".\"" },
		{ "", 0, "/b.tfstate", "begins with", "begins with", "begins with", "begins with", "begins with" },
		{ "", 0, "a\xff.tfstate", "not UTF-8", "not UTF-8", "not UTF-8", "not UTF-8", "not UTF-8" },
		{ "", 0, "a\nb.tfstate", "control", "control", "control", "control", "control" },
		{ "", 0, "a\xc2\x85.tfstate", "control", "control", "control", "control", "control" },
		{ "", 0, "env:/W/errored.tfstate", never, never, never, never, never },
		{ "n", 244 - 8, ".tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "n", 245 - 8, ".tfstate", NULL, NULL, NULL, "245 bytes between two slashes; local holds at most 244", NULL },
		{ "\xc3\xbc", 118, ".tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "\xc3\xbc", 119, ".tfstate", NULL, NULL, NULL, "246 bytes between", NULL },
		{ "a/", 253, "b.tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "a/", 254, "b.tfstate", NULL, NULL, "255 segments with its prefix; azurerm holds at most 254", NULL, NULL },
		{ "12345678/", 112, "b.tfstate", NULL, NULL, NULL, NULL, NULL },
		{ "12345678/", 112, "bcdef.tfstate", "a name of 1021 bytes with its prefix; s3 holds at most 1017", NULL, NULL, NULL, NULL },
		{ "12345678/", 113, "x.tfstate", "longer than 1024", "longer than 1024", "longer than 1024", "longer than 1024", "longer than 1024" },
	};
	const char *const targets[] = { flat_bucket, free_gcs, container, FOLDER, http };

	for (size_t k = 0; k < ARRAY_LEN(targets); k++) {
		struct plan *p = between(http, targets[k], "");

		for (size_t i = 0; i < ARRAY_LEN(t); i++) {
			const char  *whys[] = { t[i].s3, t[i].gcs, t[i].azurerm, t[i].local, t[i].http };
			char        *name = times(t[i].text, t[i].n, t[i].rest);
			struct buf   there;
			struct err   e = { .code = ERR_OK };
			enum mapping m;

			buf_init(&there, 0);
			m = lane_map(p, &p->edges[0].lanes[0], name, &there, &e);
			if (m != (whys[k] == NULL ? MAP_YES : MAP_ERROR) || (whys[k] != NULL && strstr(e.msg, whys[k]) == NULL))
				test_fail(__FILE__, __LINE__, "target %zu, %.40s...: \"%s\", not \"%s\"", k, name, m == MAP_ERROR ? e.msg : "held",
				    whys[k] != NULL ? whys[k] : "held");
			CHECK(m == MAP_YES || strstr(e.hint, "key of its own") != NULL);
			CHECK(m == MAP_YES || (e.code == ERR_UNSUPPORTED && strchr(e.msg, '\n') == NULL));
			free(name);
			buf_free(&there);
		}
		plan_free(p);
	}
}

/* Written or locked past the mapping, as by "restore --to", such a name is refused all the same, and nothing is sent. */
static void
nothing_is_sent(void)
{
	const char *const bad[][2] = { { container, "a\\b.tfstate" }, { FOLDER, "a//b.tfstate" } };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct plan         *p = between(BUCKET, bad[i][0], "");
		struct state_ref     ref = { bad[i][1] };
		struct snapshot      s = { .body = body_copy(span_str("{}")) };
		struct put_condition when = { .when = PUT_ABSENT };
		struct lock_info     l, holder;
		char                 etag[ETAG_MAX];
		struct err           e;

		provider_lock_new(p->backends[1], &ref, "", &l);
		e = run_op(r.loop, provider_lock(p->backends[1], &ref, &l, &holder), 1000);
		CHECK(e.code == ERR_UNSUPPORTED && strstr(e.msg, "b: a name with") != NULL);
		e = run_op(r.loop, provider_put(p->backends[1], &ref, &s, &when, etag), 1000);
		CHECK(e.code == ERR_UNSUPPORTED && strstr(e.msg, "b: a name with") != NULL);
		CHECK(p->backends[1]->requests == 0);
		snapshot_free(&s);
		plan_free(p);
	}
}

static const char *
wrong(const char *from, const char *edge)
{
	char       *a = labelled(from, "a"), *b = labelled(FOLDER, "b");
	char       *text = xasprintf("%s%sreplicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n%s}\n", a, b, edge);
	const char *said = agent_rig_plan_error(text);

	free(a), free(b), free(text);
	return said;
}

static void
one_name_for_all(void)
{
	const char *said = wrong(FOLDER, "  key = \"all\"\n");

	CHECK(said != NULL && strstr(said, "key = \"all\" gives every state of \"a\" the same name") != NULL);
	CHECK(wrong(BUCKET, "  key = \"{backend}/x\"\n") != NULL);
	CHECK(wrong(FOLDER, "  key = \"{workspace}\"\n") != NULL); /* a folder of states has no workspaces */
	CHECK(wrong(FOLDER, "  key = \"all\"\n  include = [\"prod/*\"]\n") != NULL);
	CHECK(wrong(FOLDER, "  key = \"all\"\n  include = [\"prod/x.tfstate\"]\n") == NULL);
	CHECK(wrong(BUCKET, "  key = \"{workspace}\"\n") == NULL);
	CHECK(wrong(FOLDER, "  key = \"x/{path}\"\n") == NULL);
	CHECK(wrong(kinds[0], "  key = \"all\"\n") == NULL); /* whether there are workspaces, the listing shows */
	CHECK(wrong(kinds[1], "  key = \"{workspace}\"\n") == NULL);
	CHECK(wrong("backend \"http\" \"$\" {\n  address = \"http://127.0.0.1:1/$\"\n}\n", "  key = \"all\"\n") == NULL);
}

static void
one_name_for_two(void)
{
	const char *said = wrong(FOLDER, "  state \"x.tfstate\" {\n    key = \"k\"\n  }\n  state \"y.tfstate\" {\n    key = \"k.tfstate\"\n  }\n");

	CHECK(said != NULL && strstr(said, "the states \"y.tfstate\" and \"x.tfstate\" would both be written to b:k.tfstate") != NULL);
	CHECK(wrong(FOLDER, "  state \"x.tfstate\" {\n    key = \"k\"\n  }\n  state \"y.tfstate\" {\n    key = \"l\"\n  }\n") == NULL);
	said = wrong(FOLDER, "  include = [\"x.tfstate\"]\n  state \"x.tfstate\" {\n    key = \"k\"\n  }\n}\nreplicate \"f\" {\n  from = \"a\"\n"
	    "  to = [\"b\"]\n  exclude = [\"x.tfstate\"]\n  state \"z.tfstate\" {\n    key = \"k\"\n  }\n");
	CHECK(said != NULL && strstr(said, "\"x.tfstate\" and \"z.tfstate\" would both") != NULL);
}

int
main(int argc, char **argv)
{
	int failed;

	agent_rig_open(&r, 1, NULL, "backend \"mem\" \"m\" {}\n");
	failed = test_main(argc, argv, (struct test[]){
	    { "workspaces are carried over, and back", workspaces },
	    { "an edge turned round gives the names back", turned_round },
	    { "workspaces at gcs by the recipe", recipe },
	    { "a target's own names", own_names },
	    { "advice on names", advice },
	    { "names keep apart, and come back", names },
	    { "workspaces of azurerm come back under their names", names_of_azurerm },
	    { "names that a target cannot hold", hard_names },
	    { "nothing is sent for a name that cannot be held", nothing_is_sent },
	    { "a template that gives all states one name", one_name_for_all },
	    { "two states with the same key", one_name_for_two },
	    { NULL, NULL } });
	agent_rig_close(&r);
	return failed;
}
