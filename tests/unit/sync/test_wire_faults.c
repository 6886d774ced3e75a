/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "../../lib/agent_rig.h"
#include "../../lib/fake_s3.h"
#include "../../lib/state_server.h"
#include "../../lib/test.h"
#include "base/encode.h"

/*
 * A whole agent and one server on the other end of the wire, with each request in turn lost, cut, delayed, or applied without an
 * answer. Whatever happens: the replica never goes back, later passes bring it up to date, no lock remains, and what was
 * under way for minutes does no harm when it arrives at last.
 */
#define LATE_MS  60000
#define NAME     "x.tfstate"

#define S3_SIDE \
	"  bucket = \"acme\"\n  region = \"us-east-1\"\n  endpoints = { s3 = \"http://" FAKE_S3_HOST "\" }\n  use_path_style = true\n" \
	"  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET "\"\n"
#define TABLE "  dynamodb_table = \"" FAKE_DYNAMO_TABLE "\"\n  dynamodb_endpoint = \"http://" FAKE_DYNAMO_HOST "\"\n"
#define HTTP_SIDE \
	"  address = \"http://h.example/{name}\"\n  lock_address = \"http://h.example/{name}\"\n" \
	"  unlock_address = \"http://h.example/{name}\"\n  states = [\"" NAME "\"]\n"
#define EDGE "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n}\n"

static const struct side {
	const char *what, *text;
	bool        s3, source, table;
} sides[] = {
	{ "S3 target with a lock file", "backend \"mem\" \"a\" {}\nbackend \"s3\" \"b\" {\n  use_lockfile = true\n" S3_SIDE "}\n" EDGE, true,
	    false, false },
	{ "S3 target with preconditions only",
	    "backend \"mem\" \"a\" {}\nbackend \"s3\" \"b\" {\n  use_lockfile = false\n" S3_SIDE "}\n" EDGE, true, false, false },
	{ "S3 source", "backend \"s3\" \"a\" {\n" S3_SIDE "}\nbackend \"mem\" \"b\" {}\n" EDGE, true, true, false },
	{ "HTTP target", "backend \"mem\" \"a\" {}\nbackend \"http\" \"b\" {\n" HTTP_SIDE "}\n" EDGE, false, false, false },
	{ "HTTP source", "backend \"http\" \"a\" {\n" HTTP_SIDE "}\nbackend \"mem\" \"b\" {}\n" EDGE, false, true, false },
	{ "S3 target with a lock table", "backend \"mem\" \"a\" {}\nbackend \"s3\" \"b\" {\n" S3_SIDE TABLE "}\n" EDGE, true, false, true },
	{ "S3 target with both locks", "backend \"mem\" \"a\" {}\nbackend \"s3\" \"b\" {\n  use_lockfile = true\n" S3_SIDE TABLE "}\n" EDGE,
	    true, false, true },
	{ "S3 source with a table", "backend \"s3\" \"a\" {\n" S3_SIDE TABLE "}\nbackend \"mem\" \"b\" {}\n" EDGE, true, true, true },
};

static const struct side    *side;
static struct loop          *loop;
static struct scripted_http *net;
static struct fake_s3       *s3;
static struct state_server  *server;
static struct mem_world     *world;
static struct agent_rig      r;

static void
begin(uint64_t seed)
{
	loop = loop_new_virtual(seed, RIG_WALL);
	log_setup(getenv("RIG_LOG") != NULL ? LOG_DEBUG : LOG_ERROR, false, loop_clock(loop));
	net = scripted_http_new(loop);
	s3 = side->s3 ? fake_s3_behind(net, loop) : NULL;
	server = side->s3 ? NULL : state_server_new(net);
	scripted_late(net, LATE_MS);
	r.http = scripted_http_client(net);
	agent_rig_join(&r, loop, NULL, side->text);
	world = agent_rig_world(&r, side->source ? "b" : "a", mem_world_new());
}

static void
end(void)
{
	agent_rig_close(&r);
	mem_world_free(world);
	if (s3 != NULL)
		fake_s3_free(s3);
	scripted_http_free(net);
	if (server != NULL)
		state_server_free(server);
	loop_free(loop);
}

/* Terraform applies at the source. */
static void
apply(uint64_t serial)
{
	char        tweak[8];
	struct span body;

	snprintf(tweak, sizeof(tweak), "%" PRIu64, serial);
	body = rig_state(serial, "L", 3, tweak);
	if (!side->source)
		mem_world_put(world, NAME, body);
	else if (side->s3)
		fake_s3_put(s3, NAME, (const char *)body.p);
	else
		state_server_put(server, "/" NAME, body);
}

static uint64_t
replica(void)
{
	struct state_info i;
	struct span       body = { NULL, 0 };
	const char       *text;

	if (side->source) {
		mem_world_get(world, NAME, &body);
	} else if (side->s3) {
		text = fake_s3_text(s3, NAME);
		body = text != NULL ? span_str(text) : body;
	} else {
		body = state_server_get(server, "/" NAME);
	}
	if (body.p == NULL)
		return 0;
	state_scan_all(body, &i);
	return i.serial;
}

static uint64_t
locks(void)
{
	if (!side->s3)
		return mem_world_locks(world) + state_server_locks(server);
	return mem_world_locks(world) + (fake_s3_text(s3, NAME ".tflock") != NULL) +
	    (fake_dynamo_get(s3->dynamo, "acme/" NAME, "Info") != NULL);
}

/* Does the table say what terraform, reading now, would find? */
static bool
sealed(void)
{
	const char *text = side->s3 ? fake_s3_text(s3, NAME) : NULL, *row;
	uint8_t     md5[MD5_LEN];
	char        hex[2 * MD5_LEN + 1];

	if (!side->table || text == NULL)
		return true;
	md5_of(text, strlen(text), md5);
	hex_encode(md5, sizeof(md5), hex);
	row = fake_dynamo_get(s3->dynamo, "acme/" NAME "-md5", "Digest");
	return side->source ? row == NULL || strcmp(row, hex) == 0 : row != NULL && strcmp(row, hex) == 0;
}

static void
sync_once(void)
{
	struct pass_result p;

	agent_rig_sync(&r, &p);
	pass_result_free(&p);
}

/* Passes until the replica is there and no lock is; what was under way arrives meanwhile. */
static void
settle(uint64_t serial, const char *what)
{
	for (int i = 0; i < 8 && (replica() != serial || locks() > 0 || !sealed()); i++) {
		agent_rig_wait(&r, 2 * LATE_MS);
		sync_once();
		if (replica() + 1 < serial)
			test_fail(__FILE__, __LINE__, "%s: back to serial %" PRIu64 "\n%s", what, replica(), scripted_http_trace(net));
	}
	if (replica() != serial)
		test_fail(__FILE__, __LINE__, "%s: serial %" PRIu64 " instead of %" PRIu64 "\n%s", what, replica(), serial,
		    scripted_http_trace(net));
	if (locks() > 0)
		test_fail(__FILE__, __LINE__, "%s: a lock remains\n%s", what, scripted_http_trace(net));
	if (!sealed())
		test_fail(__FILE__, __LINE__, "%s: the digest is another one\n%s", what, scripted_http_trace(net));
}

/* false: the n-th request was never made. */
static bool
one_run(unsigned n, enum scripted_fault fault)
{
	char               what[120];
	unsigned           before;
	struct pass_result p;

	snprintf(what, sizeof(what), "%s: request %u, %s", side->what, n, scripted_fault_name(fault));
	begin(n);
	apply(1);
	sync_once();
	CHECK_U64(replica(), 1);
	apply(2);
	before = scripted_http_count(net);
	scripted_fail(net, before + n, fault);
	sync_once();
	if (replica() < 1)
		test_fail(__FILE__, __LINE__, "%s: the replica is gone", what);
	n = scripted_http_count(net) - before >= n ? n : 0;
	apply(3); /* at once: what is under way is older */
	sync_once();
	settle(3, what);
	agent_rig_wait(&r, 2 * LATE_MS);
	settle(3, what);
	agent_rig_sync(&r, &p);
	if (p.edges[0].unchanged != 1 || p.nproblems != 0)
		test_fail(__FILE__, __LINE__, "%s: does not settle: %s\n%s", what, p.nproblems > 0 ? p.problems[0].message : "?",
		    scripted_http_trace(net));
	pass_result_free(&p);
	end();
	return n != 0;
}

static void
each_request(const struct side *s)
{
	unsigned runs = 0;

	side = s;
	for (enum scripted_fault f = SCRIPTED_OK + 1; f < SCRIPTED_FAULTS; f++)
		for (unsigned n = 1; one_run(n, f); n++)
			runs++;
	printf("# %s: %u runs\n", s->what, runs);
	CHECK(runs > 5);
}

static void
s3_locked(void)
{
	each_request(&sides[0]);
}

static void
s3_conditional(void)
{
	each_request(&sides[1]);
}

static void
s3_source(void)
{
	each_request(&sides[2]);
}

static void
http_target(void)
{
	each_request(&sides[3]);
}

static void
http_source(void)
{
	each_request(&sides[4]);
}

static void
s3_table(void)
{
	each_request(&sides[5]);
}

static void
s3_both(void)
{
	each_request(&sides[6]);
}

static void
s3_table_source(void)
{
	each_request(&sides[7]);
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "S3 target with a lock file", s3_locked }, { "S3 target with preconditions only", s3_conditional },
		{ "S3 source", s3_source }, { "HTTP target", http_target }, { "HTTP source", http_source },
		{ "S3 target with a lock table", s3_table }, { "S3 target with both locks", s3_both },
		{ "S3 source with a table", s3_table_source }, { NULL, NULL },
	};

	return test_main(argc, argv, tests);
}
