/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../lib/fake_gcs.h"
#include "../../lib/provider_rig.h"
#include "../../lib/test.h"
#include "base/log.h"

/* What the suite of all providers does not ask of Cloud Storage. */

#define STATE "{\"version\":4,\"serial\":1,\"lineage\":\"l\",\"outputs\":{},\"resources\":[]}"

static struct provider_rig r;
static struct fake_gcs    *fake;

static const char *
block(const char *more)
{
	static char text[1000];

	snprintf(text, sizeof(text), "backend \"gcs\" \"b\" {\n  bucket = \"" FAKE_GCS_BUCKET "\"\n  access_token = \"" FAKE_GCS_TOKEN
	    "\"\n  storage_custom_endpoint = \"" FAKE_GCS_BASE "storage/v1/\"\n%s}\n", more);
	return text;
}

static void
begin(const char *more)
{
	provider_rig_open(&r, false, block(more));
	fake = fake_gcs_behind(r.http);
}

static void
end(void)
{
	fake_gcs_free(fake);
	provider_rig_close(&r);
}

static enum err_code
put(const char *name, const char *text, enum put_if when, const char *etag, char ret[ETAG_MAX])
{
	return provider_rig_put(&r, &(struct state_ref){ name }, span_str(text), &(struct put_condition){ .when = when, .etag = etag }, ret);
}

static enum err_code
get(const char *name, struct snapshot *ret)
{
	memset(ret, 0, sizeof(*ret));
	return provider_rig_run(&r, provider_get(r.b, &(struct state_ref){ name }, NULL, ret));
}

/* --- configuration --- */

static void
refuses(void)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "backend \"gcs\" \"b\" {\n  bucket = \"Acme!\"\n  access_token = \"t\"\n}\n", "bucket" },
		{ "backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n  credentials = \"x\"\n}\n", "neither JSON nor a file" },
		{ "backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n  credentials = \"/no/such.json\"\n}\n", "there is no file /no/such.json" },
		{ "backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n  access_token = \"t\"\n  encryption_key = \"short\"\n}\n", "32 bytes" },
		{ "backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n  access_token = \"t\"\n  storage_custom_endpoint = \"http://h/\"\n}\n",
		    "/storage/v1/" },
		{ "backend \"gcs\" \"b\" {\n  bucket = \"acme\"\n  access_token = \"t\"\n  kms_encryption_key = \"k\"\n"
		  "  encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n}\n", "not both" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *says = provider_rig_refuses(rows[i].text);

		if (says == NULL || strstr(says, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s", i, says != NULL ? says : "taken");
		if (says != NULL)
			CHECK(strstr(says, "MDEyMzQ1") == NULL);
	}
}

/* As Go's path.Join cleans them. */
static void
cleans_prefixes(void)
{
	static const char *const rows[][2] = { { "", "gs://acme-states at" }, { "/a/b", "gs://acme-states/a/b at" },
		{ "a//b/", "gs://acme-states/a/b at" }, { "./a/../b", "gs://acme-states/b at" },
		{ "a/../../../x", "gs://acme-states/../../x at" } };
	char                     more[100];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(more, sizeof(more), "  prefix = \"%s\"\n", rows[i][0]);
		begin(more);
		if (strncmp(r.b->where, rows[i][1], strlen(rows[i][1])) != 0)
			test_fail(__FILE__, __LINE__, "%s: %s", rows[i][0], r.b->where);
		end();
	}
}

/* --- encryption --- */

/* The headers that terraform sends for the same key; a lock is never under it. */
static void
a_customers_key_goes_with_states_alone(void)
{
	struct snapshot  s;
	char             etag[ETAG_MAX];
	struct lock_info l, holder;

	begin("  encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n");
	CHECK_U64(put("x.tfstate", STATE, PUT_ABSENT, NULL, etag), ERR_OK);
	CHECK_U64(get("x.tfstate", &s), ERR_OK);
	CHECK_STR(s.etag, etag);
	snapshot_free(&s);
	CHECK_STR(fake_gcs_key(fake, "x.tfstate"), "PrG9Q5lH63YpmOVmzMLgmceREYsvQFecxPfaK1Bht/k=");
	provider_lock_new(r.b, &(struct state_ref){ "x.tfstate" }, "", &l);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &(struct state_ref){ "x.tfstate" }, &l, &holder)), ERR_OK);
	CHECK_STR(fake_gcs_key(fake, "x.tflock"), "");
	end();
}

/* As terraform takes it; the line end of the file is not part of it. */
static void
a_customers_key_may_lie_in_a_file(void)
{
	char path[256], more[400], etag[ETAG_MAX];
	int  fd;

	snprintf(path, sizeof(path), "%s/key", test_tmpdir());
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(write(fd, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n", 45) == 45);
	close(fd);
	snprintf(more, sizeof(more), "  encryption_key = \"%s\"\n", path);
	begin(more);
	CHECK_U64(put("x.tfstate", STATE, PUT_ABSENT, NULL, etag), ERR_OK);
	CHECK_STR(fake_gcs_key(fake, "x.tfstate"), "PrG9Q5lH63YpmOVmzMLgmceREYsvQFecxPfaK1Bht/k=");
	end();
	fd = open(path, O_WRONLY | O_TRUNC);
	CHECK(write(fd, "short\n", 6) == 6);
	close(fd);
	CHECK(strstr(provider_rig_refuses(block(more)), "32 bytes") != NULL);
	snprintf(more, sizeof(more), "  encryption_key = \"%s\"\n", test_tmpdir());
	CHECK(strstr(provider_rig_refuses(block(more)), "cannot be read") != NULL);
}

static void
a_kms_key_is_named_for_states_alone(void)
{
	char             etag[ETAG_MAX];
	struct lock_info l, holder;

	begin("  kms_encryption_key = \"projects/p/k\"\n");
	CHECK_U64(put("x.tfstate", STATE, PUT_ABSENT, NULL, etag), ERR_OK);
	CHECK(strstr(fake->last_query, "kmsKeyName=projects%2Fp%2Fk") != NULL);
	provider_lock_new(r.b, &(struct state_ref){ "x.tfstate" }, "", &l);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &(struct state_ref){ "x.tfstate" }, &l, &holder)), ERR_OK);
	CHECK(strstr(fake->last_query, "kmsKeyName") == NULL);
	end();
}

/* --- large states, in pieces --- */

#define LARGE ((size_t)9 << 20) /* a session, and three pieces */

static char *
large(void)
{
	char  *text = xmalloc(LARGE + 1);
	size_t n = (size_t)snprintf(text, LARGE, "{\"version\":4,\"serial\":1,\"lineage\":\"l\",\"outputs\":{},\"resources\":[],\"x\":\"");

	for (; n < LARGE - 2; n++)
		text[n] = (char)('a' + n * n % 23);
	memcpy(text + n, "\"}", 3);
	return text;
}

static bool
is_there(const char *text)
{
	struct span got;

	return fake_gcs_get(fake, "x.tfstate", &got) && span_is(got, text);
}

/* Whoever knows the address of the session may write there. */
static void
tells_no_session(void *arg, const char *line)
{
	(*(size_t *)arg)++;
	CHECK(strstr(line, "upload_id") == NULL);
}

static void
goes_in_pieces(void)
{
	char  *text = large(), etag[ETAG_MAX], other[ETAG_MAX];
	size_t lines = 0;

	begin("  encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n");
	log_setup(LOG_DEBUG, false, NULL);
	log_sink(tells_no_session, &lines);
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_OK);
	CHECK(is_there(text));
	CHECK_U64(scripted_http_count(r.http), 4);
	CHECK_STR(fake_gcs_key(fake, "x.tfstate"), "PrG9Q5lH63YpmOVmzMLgmceREYsvQFecxPfaK1Bht/k=");
	CHECK(strstr(scripted_http_trace(r.http), "elsewhere.test") == NULL);
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, other), ERR_CONFLICT);
	CHECK_U64(put("x.tfstate", text, PUT_MATCH, etag, etag), ERR_OK);
	CHECK(strstr(r.err.msg, "upload_id") == NULL && lines > 0);
	log_sink(NULL, NULL);
	end();
	free(text);
}

/* A name takes one change per second, its lock's as well: what is refused for that is sent again, and nothing fails. */
static void
waits_for_a_name_to_take_another_change(void)
{
	char            *text = large(), etag[ETAG_MAX] = "";
	struct lock_info l, holder;

	begin("");
	fake->clock = r.loop;
	for (int i = 0; i < 3; i++) {
		provider_lock_new(r.b, &(struct state_ref){ "x.tfstate" }, "", &l);
		CHECK_OK(provider_rig_run(&r, provider_lock(r.b, &(struct state_ref){ "x.tfstate" }, &l, &holder)), r.err);
		CHECK_OK(put("x.tfstate", i == 1 ? text : "{}", i == 0 ? PUT_ABSENT : PUT_MATCH, etag, etag), r.err);
		CHECK_OK(put("x.tfstate", "{ }", PUT_MATCH, etag, etag), r.err);
		CHECK_OK(provider_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ "x.tfstate" }, &l)), r.err);
	}
	CHECK(fake->throttled >= 5 && fake->throttled <= 20);
	CHECK(is_there("{ }"));
	end();
	free(text);
}

/* At Google's own address, where it is known what happens. */
static void
begin_google(void)
{
	provider_rig_open(&r, false, "backend \"gcs\" \"b\" {\n  bucket = \"" FAKE_GCS_BUCKET "\"\n  access_token = \"" FAKE_GCS_TOKEN "\"\n}\n");
	fake = fake_gcs_behind(r.http);
}

/* Whatever gets lost, at Google it goes on from there, and the last answer is asked for again: a session, three pieces, one question, and
 * a piece that did not arrive. */
static void
goes_on_after_a_lost_piece(void)
{
	static const enum scripted_fault faults[] = { SCRIPTED_LOST_BEFORE, SCRIPTED_LOST_REQUEST, SCRIPTED_LOST_ANSWER, SCRIPTED_BUSY };
	char                            *text = large(), etag[ETAG_MAX];

	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		for (unsigned n = 1; n <= 4; n++) {
			begin_google();
			scripted_fail(r.http, n, faults[i]);
			if (put("x.tfstate", text, PUT_ABSENT, NULL, etag) != ERR_OK)
				test_fail(__FILE__, __LINE__, "%s of request %u: %s", scripted_fault_name(faults[i]), n, r.err.msg);
			CHECK(is_there(text));
			CHECK(scripted_http_count(r.http) <= 6);
			end();
		}
	begin_google();
	fake->takes = ((uint64_t)256 << 10) + 17; /* a server that keeps less of each */
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_OK);
	CHECK(is_there(text));
	end();
	free(text);
}

/* Some take the question how much has arrived for the end of it, and keep what they have. */
static void
begins_anew_at_other_servers(void)
{
	char *text = large(), etag[ETAG_MAX];

	for (unsigned n = 1; n <= 4; n++) {
		begin("");
		scripted_fail(r.http, n, SCRIPTED_LOST_ANSWER);
		CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), n < 4 ? ERR_OK : ERR_UNCERTAIN);
		CHECK(is_there(text));
		CHECK(strstr(scripted_http_trace(r.http), "uploadType=resumable") != NULL);
		CHECK_U64(fake->questions, 0);
		end();
	}
	free(text);
}

/* A server that never takes the second piece: what it takes of each beginning is no progress. */
static void
an_upload_does_not_begin_for_ever(void)
{
	char *text = large(), etag[ETAG_MAX];

	begin("");
	for (int i = 0; i < 5; i++) {
		scripted_expect(r.http, "POST", "uploadType=resumable", 200, "Location: http://gcs.test/upload/s?upload_id=7", NULL);
		scripted_expect(r.http, "PUT", "upload_id=7", 308, "Range: bytes=0-4194303", NULL);
		scripted_expect(r.http, "PUT", "upload_id=7", 500, NULL, NULL);
	}
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_BUSY);
	CHECK_U64(scripted_http_count(r.http), 15);
	scripted_http_check(r.http);
	end();
	free(text);
}

static void
an_upload_that_ends_says_how(void)
{
	char *text = large(), etag[ETAG_MAX];

	begin("");
	fake->session_is_over = true;
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_BUSY);
	end();
	begin_google(); /* the session is over when its last piece is in doubt */
	scripted_fail(r.http, 4, SCRIPTED_LOST_ANSWER);
	scripted_expect(r.http, "POST", "uploadType=resumable", 200, "Location: http://gcs.test/upload/s?upload_id=7", NULL);
	scripted_expect(r.http, "PUT", "upload_id=7", 308, "Range: bytes=0-4194303", NULL);
	scripted_expect(r.http, "PUT", "upload_id=7", 308, "Range: bytes=0-8388607", NULL);
	scripted_expect(r.http, "PUT", "upload_id=7", 200, NULL, NULL);
	scripted_expect(r.http, "PUT", "upload_id=7", 404, NULL, NULL);
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_UNCERTAIN);
	scripted_http_check(r.http);
	end();
	begin_google(); /* another try of it is refused: the first may still arrive */
	scripted_fail(r.http, 4, SCRIPTED_LOST_ANSWER);
	scripted_expect(r.http, "POST", "uploadType=resumable", 200, "Location: http://gcs.test/upload/s?upload_id=7", NULL);
	scripted_expect(r.http, "PUT", "upload_id=7", 308, "Range: bytes=0-4194303", NULL);
	for (int i = 0; i < 3; i++) /* the second piece; the last one, lost; what there is */
		scripted_expect(r.http, "PUT", "upload_id=7", 308, "Range: bytes=0-8388607", NULL);
	scripted_expect(r.http, "PUT", "upload_id=7", 403, NULL, NULL);
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_UNCERTAIN);
	scripted_http_check(r.http);
	end();
	begin("");
	scripted_expect(r.http, "POST", "uploadType=resumable", 200, NULL, "<html>");
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_UNSUPPORTED);
	scripted_expect(r.http, "POST", "uploadType=resumable", 200, "Location: http://gcs.test/upload/s?upload_id=7", NULL);
	for (int i = 0; i < 5; i++) /* no progress */
		scripted_expect(r.http, "PUT", "upload_id=7", 308, NULL, NULL);
	CHECK_U64(put("x.tfstate", text, PUT_ABSENT, NULL, etag), ERR_BUSY);
	scripted_http_check(r.http);
	end();
	free(text);
}

/* "Cancelled" means that nothing is there, nor will be. late: the first try of the last piece arrives after all. */
static void
is_stopped_at_any_turn(bool late)
{
	struct put_condition c = { .when = PUT_ABSENT };
	char                *text = large(), etag[ETAG_MAX];
	struct body         *body = body_copy(span_str(text));
	struct snapshot      s = { 0 };
	bool                 whole = false;

	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	for (unsigned turn = 1; !whole; turn++) {
		enum err_code rc;

		begin_google();
		if (late)
			scripted_fail(r.http, 4, SCRIPTED_LATE);
		rc = provider_rig_run_cancelled(&r, provider_put(r.b, &(struct state_ref){ "x.tfstate" }, &s, &c, etag), turn);
		while (loop_turn(r.loop, false))
			continue;
		if (rc == ERR_CANCELLED ? is_there(text) : rc == ERR_OK ? !is_there(text) : rc != ERR_UNCERTAIN)
			test_fail(__FILE__, __LINE__, "turn %u: %d %s", turn, rc, r.err.msg);
		whole = rc == ERR_OK;
		end();
	}
	snapshot_free(&s);
	body_unref(body);
	free(text);
}

static void
an_upload_is_stopped_at_any_turn(void)
{
	is_stopped_at_any_turn(false);
	is_stopped_at_any_turn(true);
}

/* --- locks --- */

/* Terraform's retry meets its own lock there and fails; ours reads it. */
static void
a_lock_whose_answer_is_lost_is_ours(void)
{
	struct lock_info l, holder;

	begin("");
	provider_lock_new(r.b, &(struct state_ref){ "x.tfstate" }, "", &l);
	scripted_fail(r.http, 1, SCRIPTED_LOST_ANSWER);
	CHECK_U64(provider_rig_run(&r, provider_lock(r.b, &(struct state_ref){ "x.tfstate" }, &l, &holder)), ERR_OK);
	CHECK(l.generation[0] != '\0');
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ "x.tfstate" }, &l)), ERR_OK);
	CHECK(!fake_gcs_get(fake, "x.tflock", &(struct span){ NULL, 0 }));
	end();
}

/* Under the ID that "terraform force-unlock" takes. */
static void
a_foreign_lock_goes_by_its_generation(void)
{
	struct lock_info l = { .id = "1" }, holder;

	begin("");
	fake_gcs_put(fake, "x.tflock", span_str("{\"ID\":\"9c1f4f0e-52ab-7d10-a3c4-5b1d2c3e4f50\",\"Operation\":\"OperationTypeApply\",\"Info\":\"\","
	    "\"Who\":\"ann@desk\",\"Version\":\"1.11.4\",\"Created\":\"2026-11-22T00:44:48.9Z\",\"Path\":\"\"}"));
	CHECK_U64(provider_rig_run(&r, provider_lock_peek(r.b, &(struct state_ref){ "x.tfstate" }, &holder)), ERR_OK);
	CHECK_STR(holder.id, holder.generation);
	CHECK_STR(holder.who, "ann@desk");
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ "x.tfstate" }, &l)), ERR_OK);
	CHECK(fake_gcs_get(fake, "x.tflock", &(struct span){ NULL, 0 })); /* another id: it stays */
	CHECK_U64(provider_rig_run(&r, provider_unlock(r.b, &(struct state_ref){ "x.tfstate" }, &holder)), ERR_OK);
	CHECK(!fake_gcs_get(fake, "x.tflock", &(struct span){ NULL, 0 }));
	end();
}

/* --- the probe --- */

static char seen[2000]; /* "+NAME DETAIL" lines, "!" for a lock that is none */

static void
saw(void *arg, const struct probe_check *c)
{
	size_t n = strlen(seen);

	(void)arg;
	snprintf(seen + n, sizeof(seen) - n, "%c%s %s\n", c->ok ? '+' : c->useless ? '!' : '-', c->name, c->detail);
}

static void
probed(const char *says)
{
	if (strstr(seen, says) == NULL)
		test_fail(__FILE__, __LINE__, "not %s in\n%s", says, seen);
}

static enum err_code
probe(void)
{
	seen[0] = '\0';
	return provider_rig_run(&r, provider_probe(r.b, saw, NULL));
}

static void
a_server_shows_what_it_enforces(void)
{
	begin("  prefix = \"net\"\n");
	CHECK((provider_caps(r.b) & (PROVIDER_UNPROVEN | PROVIDER_LOCK_UNPROVEN)) == (PROVIDER_UNPROVEN | PROVIDER_LOCK_UNPROVEN));
	fake_gcs_put(fake, "net/.stateferry/probe/none.00000000/a", SPAN_LIT("left by somebody else"));
	CHECK_U64(probe(), ERR_OK);
	for (size_t i = 0; i < PROBE_CONDITIONS; i++) {
		char line[40];

		snprintf(line, sizeof(line), "+%s ", probe_conditions[i]);
		probed(line);
	}
	probed("+reach ");
	probed("+auth credentials from access_token");
	probed("+list_after_write ");
	probed("+checksum a wrong one is refused (400 invalid)");
	probed("+lock held by one, refused to another, released\n");
	CHECK_U64(map_count(fake->objects), 1);
	end();
}

/* Found before anything is written: its lock excludes nobody. */
static void
a_server_without_conditions_is_found(void)
{
	begin("");
	fake->ignores_conditions = true;
	CHECK_U64(probe(), ERR_OK);
	probed("-create_only a second creation was accepted");
	probed("-if_match ");
	probed("-racing_writes ");
	probed("!lock a second lock was granted");
	CHECK_U64(map_count(fake->objects), 0);
	end();
	begin("");
	fake->ignores_conditions_of_deletes = true;
	CHECK_U64(probe(), ERR_OK);
	probed("+lock held by one, refused to another, released; DELETE ignores ifGenerationMatch here");
	CHECK_U64(map_count(fake->objects), 0);
	end();
}

static void
a_probe_ends_where_nothing_answers(void)
{
	begin("");
	scripted_expect(r.http, "GET", "/o?", 401, NULL, "{\"error\":{\"message\":\"m\",\"errors\":[{\"reason\":\"authError\"}]}}");
	CHECK_U64(probe(), ERR_AUTH);
	probed("+reach ");
	probed("-auth ");
	CHECK_U64(scripted_http_count(r.http), 1);
	end();
	begin(""); /* who may not list may write all the same */
	scripted_expect(r.http, "GET", "/o?", 403, NULL, "{\"error\":{\"message\":\"m\",\"errors\":[{\"reason\":\"forbidden\"}]}}");
	CHECK_U64(probe(), ERR_OK);
	probed("-list ");
	probed("+create_only ");
	end();
}

/* --- how much is asked --- */

static uint64_t
cost(struct op *op, enum err_code want)
{
	uint64_t before = r.b->requests;

	CHECK_U64(provider_rig_run(&r, op), want);
	return r.b->requests - before;
}

static void
count_state(void *arg, const struct state_seen *s)
{
	(void)s;
	++*(unsigned *)arg;
}

/* A pass without changes is its pages; a state is one request for each step, but a release, which compares before it deletes. */
static void
asks_no_more_than_it_needs(void)
{
	struct state_ref     ref = { "x.tfstate" };
	struct lock_info     l, holder;
	struct snapshot      s = { 0 }, got = { 0 };
	struct body         *body = body_copy(span_str(STATE));
	struct put_condition absent = { .when = PUT_ABSENT };
	struct state_tag     tag;
	char                 etag[ETAG_MAX], name[20];
	unsigned             n = 0;

	begin("");
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "n%d.tfstate", i);
		fake_gcs_put(fake, name, span_str(STATE));
	}
	fake->page = 3;
	CHECK_U64(cost(provider_list(r.b, count_state, &n), ERR_OK), 3);
	CHECK_U64(n, 7);
	CHECK(snapshot_of(&s, body, NULL) == ERR_OK);
	provider_lock_new(r.b, &ref, "", &l);
	CHECK_U64(cost(provider_lock(r.b, &ref, &l, &holder), ERR_OK), 1);
	CHECK_U64(cost(provider_get(r.b, &ref, NULL, &got), ERR_NOT_FOUND), 1);
	CHECK_U64(cost(provider_put(r.b, &ref, &s, &absent, etag), ERR_OK), 1);
	CHECK_U64(cost(provider_get(r.b, &ref, NULL, &got), ERR_OK), 1);
	snapshot_free(&got);
	CHECK_U64(cost(provider_get(r.b, &ref, etag, &got), ERR_UNCHANGED), 1);
	CHECK_U64(cost(provider_head(r.b, &ref, &tag), ERR_OK), 1);
	CHECK_U64(cost(provider_unlock(r.b, &ref, &l), ERR_OK), 2);
	snapshot_free(&s);
	body_unref(body);
	end();
}

/* --- what others answer --- */

static void
a_page_in_its_place_is_no_object(void)
{
	struct snapshot s;

	begin("");
	scripted_expect(r.http, "GET", "/o/x.tfstate", 200, "Content-Type: text/html", "<html>sign in</html>");
	CHECK_U64(get("x.tfstate", &s), ERR_UNSUPPORTED);
	scripted_expect(r.http, "GET", "/o/x.tfstate", 404, "Content-Type: text/html", "<html>not here</html>");
	CHECK(get("x.tfstate", &s) != ERR_NOT_FOUND);
	end();
}

static void
bytes_that_do_not_fit_their_sum_are_refused(void)
{
	struct snapshot s;

	begin("");
	for (int i = 0; i < 3; i++)
		scripted_expect(r.http, "GET", "/o/x.tfstate", 200, "X-Goog-Generation: 1\nX-Goog-Hash: crc32c=AAAAAA==", STATE);
	CHECK_U64(get("x.tfstate", &s), ERR_CORRUPT);
	CHECK(s.body == NULL);
	end();
}

static void
refusals_say_what_to_do(void)
{
	static const struct {
		int           status;
		const char   *reason;
		enum err_code code;
		const char   *says;
	} rows[] = { { 401, "authError", ERR_AUTH, "renew" }, { 403, "forbidden", ERR_AUTH, "storage.objects.get" },
		{ 403, "retentionPolicyNotMet", ERR_AUTH, "retention" } };
	struct snapshot s;
	char            body[200];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin("");
		snprintf(body, sizeof(body), "{\"error\":{\"message\":\"m\",\"errors\":[{\"reason\":\"%s\"}]}}", rows[i].reason);
		scripted_expect(r.http, "GET", "/o/x.tfstate", rows[i].status, "Content-Type: application/json", body);
		CHECK_U64(get("x.tfstate", &s), rows[i].code);
		if (strstr(r.err.msg, rows[i].says) == NULL && strstr(r.err.hint, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "%s; %s", r.err.msg, r.err.hint);
		CHECK(strstr(r.err.msg, FAKE_GCS_TOKEN) == NULL);
		end();
	}
}

/* Who may read but not list is told so: "absent" looks like "forbidden" then. */
static void
a_refused_read_may_be_an_absent_object(void)
{
	struct snapshot s;

	begin("");
	scripted_expect(r.http, "GET", "/o/x.tfstate", 403, "Content-Type: text/plain", "a@b does not have storage.objects.get access");
	CHECK_U64(get("x.tfstate", &s), ERR_AUTH);
	CHECK(strstr(r.err.hint, "storage.objects.get, and list, without which an object that is absent is refused too") != NULL);
	end();
}

/* --- a bucket that is missing --- */

#define LIST   "/storage/v1/b/" FAKE_GCS_BUCKET "/o?maxResults=1"
#define CREATE "/storage/v1/b?project=p"

static void
expect_error(const char *method, const char *url, int status, const char *reason)
{
	char body[200];

	snprintf(body, sizeof(body), "{\"error\":{\"message\":\"The specified bucket does not exist.\",\"errors\":[{\"reason\":\"%s\"}]}}",
	    reason);
	scripted_expect(r.http, method, url, status, "Content-Type: application/json", body);
}

static enum err_code
create(void)
{
	enum err_code rc = provider_rig_run(&r, provider_create(r.b));

	scripted_http_check(r.http);
	return rc;
}

static void
makes_a_missing_bucket(void)
{
	begin("  project = \"p\"\n  create = true\n");
	expect_error("GET", LIST, 404, "notFound");
	scripted_expect(r.http, "POST", CREATE, 200, NULL, "{}");
	CHECK_U64(create(), ERR_OK);
	scripted_expect(r.http, "GET", LIST, 200, NULL, "{}"); /* it is there */
	CHECK_U64(create(), ERR_OK);
	end();
	begin("  create = true\n");
	expect_error("GET", LIST, 404, "notFound");
	CHECK_U64(create(), ERR_CONFIG);
	CHECK(strstr(r.err.hint, "project") != NULL);
	end();
}

/* Its answer got lost, or another agent was first. */
static void
a_bucket_that_was_made_is_ours_if_we_may_list_it(void)
{
	begin("  project = \"p\"\n  create = true\n");
	expect_error("GET", LIST, 404, "notFound");
	scripted_expect(r.http, "POST", CREATE, 200, NULL, "{}")->fault = SCRIPTED_LOST_ANSWER;
	scripted_expect(r.http, "GET", LIST, 200, NULL, "{}");
	CHECK_U64(create(), ERR_OK);
	expect_error("GET", LIST, 404, "notFound");
	expect_error("POST", CREATE, 409, "conflict");
	scripted_expect(r.http, "GET", LIST, 200, NULL, "{}");
	CHECK_U64(create(), ERR_OK);
	expect_error("GET", LIST, 404, "notFound");
	expect_error("POST", CREATE, 409, "conflict");
	expect_error("GET", LIST, 403, "forbidden");
	CHECK_U64(create(), ERR_CONFIG);
	CHECK(strstr(r.err.msg, "belongs to somebody else") != NULL);
	expect_error("GET", LIST, 404, "notFound");
	scripted_expect(r.http, "POST", CREATE, 200, NULL, "{}")->fault = SCRIPTED_LOST_ANSWER;
	expect_error("GET", LIST, 404, "notFound");
	CHECK_U64(create(), ERR_UNCERTAIN);
	end();
}

/* A page of somebody else is no reason to make a bucket. */
static void
a_page_is_no_missing_bucket(void)
{
	begin("  project = \"p\"\n  create = true\n");
	scripted_expect(r.http, "GET", LIST, 404, "Content-Type: text/html", "<html>not here</html>");
	CHECK_U64(create(), ERR_UNSUPPORTED);
	CHECK(strstr(r.err.msg, "the answer 404 is none of Cloud Storage") != NULL);
	end();
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "refuses", refuses }, { "cleans prefixes", cleans_prefixes },
	    { "a customer's key goes with states alone", a_customers_key_goes_with_states_alone },
	    { "a customer's key may lie in a file", a_customers_key_may_lie_in_a_file },
	    { "a KMS key is named for states alone", a_kms_key_is_named_for_states_alone },
	    { "a lock whose answer is lost is ours", a_lock_whose_answer_is_lost_is_ours },
	    { "a foreign lock goes by its generation", a_foreign_lock_goes_by_its_generation },
	    { "a server shows what it enforces", a_server_shows_what_it_enforces },
	    { "a probe ends where nothing answers", a_probe_ends_where_nothing_answers },
	    { "a server without conditions is found", a_server_without_conditions_is_found },
	    { "a page in its place is no object", a_page_in_its_place_is_no_object },
	    { "bytes that do not fit their sum are refused", bytes_that_do_not_fit_their_sum_are_refused },
	    { "a refused read may be an absent object", a_refused_read_may_be_an_absent_object },
	    { "makes a missing bucket", makes_a_missing_bucket },
	    { "a bucket that was made is ours if we may list it", a_bucket_that_was_made_is_ours_if_we_may_list_it },
	    { "a page is no missing bucket", a_page_is_no_missing_bucket },
	    { "goes in pieces", goes_in_pieces },
	    { "waits for a name to take another change", waits_for_a_name_to_take_another_change },
	    { "goes on after a lost piece", goes_on_after_a_lost_piece },
	    { "begins anew at other servers", begins_anew_at_other_servers },
	    { "an upload does not begin for ever", an_upload_does_not_begin_for_ever },
	    { "an upload that ends says how", an_upload_that_ends_says_how },
	    { "an upload is stopped at any turn", an_upload_is_stopped_at_any_turn },
	    { "asks no more than it needs", asks_no_more_than_it_needs },
	    { "refusals say what to do", refusals_say_what_to_do }, { NULL, NULL } });
}
