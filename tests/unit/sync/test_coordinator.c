/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/fake_etcd.h"
#include "../../lib/fake_s3.h"
#include "../../lib/provider_rig.h"
#include "../../lib/run_op.h"
#include "../../lib/test.h"
#include "base/log.h"
#include "provider/mem.h"
#include "provider/records.h"
#include "sync/lease.h"

/* What every coordinator promises, of each kind by the same tests; then what only one of them can meet. */
#define WALL      ((int64_t)1795305600000)
#define LONG_MS   ((int64_t)3600 * 1000)
#define TTL       ((int64_t)60000)
#define RECORD    LEASE_FOLDER KEY
#define KEY       "prod/\xc3\xa9t\xc3\xa9 \"x\"@dr" /* an edge's and a target's name */
#define RACERS    8
#define DYNAMO    "dynamodb {\n  table = \"" FAKE_DYNAMO_TABLE "\"\n  region = \"us-east-1\"\n  endpoint = \"http://" FAKE_DYNAMO_HOST \
	"\"\n  access_key = \"" FAKE_S3_ACCESS "\"\n  secret_key = \"" FAKE_S3_SECRET "\"\n"
#define ETCD      "etcd {\n  endpoints = [\"http://etcd-1:2379\", \"http://etcd-2:2379/\", \"http://etcd-3:2379\"]\n"
#define ETCD_USER ETCD "  username = \"sf\"\n  password = \"CANARYpassword\"\n}\n"

enum kind { MEM, LOCAL, DYNAMODB, ETCD3, KINDS };

static enum kind           kind;
static struct loop        *loop;
static struct work        *work;
static struct scripted_http *http;
static struct fake_s3     *s3;
static struct fake_etcd   *etcd;
static struct provider_rig rig;
static struct mem_world   *world;
static struct provider_env env;
static struct conf        *conf;
static struct records     *records;
static char                folder[] = "/tmp/coordinator.XXXXXX";
static struct err          err;
/* Members of etcd that do not answer: bit n for etcd-n; and what happens to the next transaction. */
static unsigned            down;
static enum scripted_fault txn_fault;
static char                asked[1024]; /* hosts, in order */
static struct scripted_request last;

static void
etcd_arrived(void *arg, const struct scripted_request *rq, struct scripted_answer *ret)
{
	(void)arg;
	fake_etcd_answer(etcd, rq, ret);
}

static enum scripted_fault
etcd_fault(void *arg, const struct scripted_request *rq)
{
	enum scripted_fault f = SCRIPTED_OK;

	(void)arg;
	last = *rq;
	snprintf(asked + strlen(asked), sizeof(asked) - strlen(asked), "%c", rq->at.host[5]);
	if ((down & (1u << (rq->at.host[5] - '0'))) != 0)
		return SCRIPTED_LOST_BEFORE;
	if (strstr(rq->url, "/txn") != NULL) {
		f = txn_fault;
		txn_fault = SCRIPTED_OK;
	}
	return f;
}

static enum err_code
open_records(const struct records_class *class, const char *text)
{
	records = NULL;
	if (conf_parse("t.hcl", "/etc/sf", span_str(text), false, NULL, &conf, &err) != ERR_OK)
		return err.code;
	if (class->open(&env, conf, &conf_root(conf)->blocks[0], &records, &err) != ERR_OK)
		return err.code;
	return err_set(&err, ERR_OK, 0, "-");
}

static void
begin_net(void)
{
	CHECK_OK(crypto_init(&err), err);
	loop = loop_new_virtual(7, WALL);
	log_setup(LOG_ERROR, false, loop_clock(loop));
	work = work_new(loop);
	http = scripted_http_new(loop);
	env = (struct provider_env){ .loop = loop, .work = work, .http = scripted_http_client(http), .agent_name = "edge-7" };
	down = 0;
	txn_fault = SCRIPTED_OK;
	asked[0] = '\0';
}

static void
begin_records(enum kind k, const char *text)
{
	kind = k;
	begin_net();
	if (k == DYNAMODB) {
		s3 = fake_s3_behind(http, loop);
	} else {
		etcd = fake_etcd_new();
		scripted_handle(http, etcd_arrived, NULL);
		scripted_decide(http, etcd_fault, NULL);
		scripted_latency(http, 5, 5, 1);
	}
	CHECK_OK(open_records(k == DYNAMODB ? &records_dynamodb : &records_etcd, text), err);
}

static void
begin(enum kind k)
{
	char *block;

	kind = k;
	if (k == DYNAMODB || k == ETCD3) {
		begin_records(k, k == DYNAMODB ? DYNAMO "}\n" : ETCD "}\n");
		return;
	}
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	CHECK(mkdtemp(folder) != NULL);
	block = k == MEM ? xstrdup("backend \"mem\" \"b\" {}\n") : xasprintf("backend \"local\" \"b\" {\n  dir = \"%s\"\n}\n", folder);
	provider_rig_open(&rig, k == LOCAL, block);
	free(block);
	world = mem_world_new();
	if (k == MEM)
		mem_attach(rig.b, world);
	loop = rig.loop;
	records = records_target(rig.b);
}

static void
end(void)
{
	char *command;

	if (kind == MEM || kind == LOCAL)
		records_close(records);
	if (kind == MEM || kind == LOCAL) {
		provider_rig_close(&rig);
		mem_world_free(world);
		command = xasprintf("rm -rf '%s'", folder);
		CHECK_U64(system(command), 0);
		free(command);
		return;
	}
	CHECK(strstr(err.msg, "CANARY") == NULL && strstr(err.hint, "CANARY") == NULL);
	records_close(records);
	while (loop_turn(loop, false))
		continue;
	conf_free(conf);
	if (kind == DYNAMODB) {
		CHECK_U64(s3->wrong, 0);
		fake_s3_free(s3);
	} else {
		fake_etcd_free(etcd);
	}
	scripted_http_free(http);
	work_free(work);
	loop_free(loop);
}

static struct lease_record
record(uint64_t counter)
{
	struct lease_record r = { .holder = "3f0e8a52-9d0f-4a57-8c0b-0b5a6b1f2f10", .name = "\xc3\xa9" "dge \xe9\x9b\xaa \"7\"", .nonce = "n1", .counter = counter,
		.epoch = 3, .transitions = 2, .ttl_ms = TTL, .since = WALL };

	return r;
}

static struct lease_seen seen;
static char              revision[ETAG_MAX];

static enum err_code
look(void)
{
	struct record r = { .n = 0 };

	memset(&seen, 0, sizeof(seen));
	err = run_op(loop, records->class->read(records, RECORD, &r), LONG_MS);
	if (err.code == ERR_OK)
		lease_record_read(span_of(r.text, r.n), &seen.record, &err);
	snprintf(seen.revision, sizeof(seen.revision), "%s", r.revision);
	return err.code;
}

/* The text is the op's own by the time it runs. */
static struct op *
swap_op(uint64_t counter, const char *from, char ret_revision[ETAG_MAX])
{
	struct lease_record r = record(counter);
	struct buf          text;
	struct op          *op;

	buf_init(&text, 0);
	lease_record_write(&r, &text);
	op = records->class->swap(records, RECORD, buf_span(&text), from, ret_revision);
	buf_free(&text);
	return op;
}

static enum err_code
swap(uint64_t counter, const char *from)
{
	err = run_op(loop, swap_op(counter, from, revision), LONG_MS);
	return err.code;
}

/* The record as somebody's hand leaves it, in the place of KEY's; NULL: removed. */
static void
put_by_hand(const char *text)
{
	char *path;
	FILE *f;

	if (kind == MEM)
		mem_world_put(world, ".stateferry/lease/" KEY, span_str(text));
	else if (kind == DYNAMODB)
		fake_dynamo_put(s3->dynamo, ".stateferry/lease/" KEY, "LeaseRecord", text);
	else if (kind == ETCD3)
		fake_etcd_put(etcd, ".stateferry/lease/" KEY, text);
	if (kind != LOCAL)
		return;
	path = xasprintf("%s/.stateferry/lease/" KEY, folder);
	f = fopen(path, "w");
	CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
	free(path);
}

/* ---------------------------------------------------------------- all of them */

static void
is_made_if_absent_and_swapped(void)
{
	char first[ETAG_MAX], second[ETAG_MAX];

	for (enum kind k = 0; k < KINDS; k++) {
		begin(k);
		CHECK_U64(look(), ERR_NOT_FOUND);
		swap(1, "never-there"); /* a target may say that it is gone */
		CHECK(err.code == ERR_CONFLICT || (k < DYNAMODB && err.code == ERR_NOT_FOUND));
		CHECK_U64(look(), ERR_NOT_FOUND);
		CHECK_OK(swap(1, ""), err);
		snprintf(first, sizeof(first), "%s", revision);
		CHECK_OK(look(), err);
		CHECK_STR(seen.revision, first);
		CHECK_STR(seen.record.name, record(1).name);
		CHECK_STR(seen.record.holder, record(1).holder);
		CHECK(seen.record.counter == 1 && seen.record.epoch == 3 && seen.record.transitions == 2 && seen.record.ttl_ms == TTL &&
		    seen.record.since == WALL);
		CHECK_U64(swap(9, ""), ERR_CONFLICT);
		CHECK_OK(swap(2, first), err);
		snprintf(second, sizeof(second), "%s", revision);
		CHECK(strcmp(first, second) != 0);
		CHECK_U64(swap(9, first), ERR_CONFLICT);
		CHECK_OK(look(), err);
		CHECK_U64(seen.record.counter, 2);
		CHECK_STR(seen.revision, second);
		end();
	}
}

static void
garbage_is_told_and_not_overwritten(void)
{
	static const char *const texts[] = { "{}", "null", "[1]", "\xff\xfe", "<html>", "{\"stateferry_lease\":1" };

	for (enum kind k = 0; k < KINDS; k++)
		for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
			if (k == DYNAMODB && i == 3) /* no such string in JSON */
				continue;
			begin(k);
			CHECK_OK(swap(1, ""), err);
			put_by_hand(texts[i]);
			CHECK_U64(look(), ERR_CORRUPT);
			CHECK(strstr(err.msg, "lease") != NULL);
			CHECK_U64(swap(2, ""), ERR_CONFLICT);
			CHECK_U64(look(), ERR_CORRUPT);
			end();
		}
}

struct racer {
	char     revision[ETAG_MAX];
	struct err err;
	bool     done;
};

static void
racer_done(struct op *op, void *arg)
{
	struct racer *x = arg;

	x->err = op->err;
	x->done = true;
	op_free(op);
}

static bool
racers_are_done(void *arg)
{
	const struct racer *x = arg;

	for (size_t i = 0; i < RACERS; i++)
		if (!x[i].done)
			return false;
	return true;
}

/* At once, from nothing and from one revision: one wins, and it is the one that stands there. */
static void
one_of_many_wins(void)
{
	struct racer x[RACERS];
	unsigned     won, winner = 0;

	for (enum kind k = 0; k < KINDS; k++) {
		begin(k);
		for (unsigned round = 0; round < 3; round++) {
			char from[ETAG_MAX] = "";

			if (round > 0) {
				CHECK_OK(look(), err);
				snprintf(from, sizeof(from), "%s", seen.revision);
			}
			memset(x, 0, sizeof(x));
			for (unsigned i = 0; i < RACERS; i++) {
				op_start(swap_op(100 * round + i, from, x[i].revision), racer_done, &x[i]);
			}
			CHECK(loop_run_until(loop, racers_are_done, x, LONG_MS));
			won = 0;
			for (unsigned i = 0; i < RACERS; i++) {
				if (x[i].err.code != ERR_OK)
					CHECK_U64(x[i].err.code, ERR_CONFLICT);
				if (x[i].err.code == ERR_OK) {
					winner = i;
					won++;
				}
			}
			CHECK_U64(won, 1);
			CHECK_OK(look(), err);
			CHECK_U64(seen.record.counter, 100 * round + winner);
			CHECK_STR(seen.revision, x[winner].revision);
		}
		end();
	}
}

/* Over the network: what was carried out without an answer, and what was not, is the same to whoever asked. */
static void
lost_answer_is_read_back(void)
{
	for (int arrived = 0; arrived < 2; arrived++)
		for (enum kind k = DYNAMODB; k < KINDS; k++) {
			begin(k);
			CHECK_OK(swap(1, ""), err);
			CHECK_OK(look(), err);
			if (k == DYNAMODB)
				fake_s3_rule(s3, &(struct fake_s3_rule){ .what = "PutItem", .how = arrived ? FAKE_LOST : FAKE_LOST_BEFORE });
			else
				txn_fault = arrived ? SCRIPTED_LOST_ANSWER : SCRIPTED_LOST_REQUEST;
			CHECK_U64(swap(2, seen.revision), ERR_UNCERTAIN);
			CHECK_OK(look(), err);
			CHECK_U64(seen.record.counter, arrived ? 2 : 1);
			CHECK_OK(swap(3, seen.revision), err); /* what was read is what counts */
			end();
		}
}

/* Two agents, through a hand-over and a death. */
static void
carries_leases(void)
{
	struct lease      *l[2];
	struct lease_conf  lc = { .key = KEY, .ttl_ms = TTL };

	for (enum kind k = 0; k < KINDS; k++) {
		if (k == LOCAL) /* in real time */
			continue;
		begin(k);
		lc.loop = loop;
		lc.coordinator = records;
		for (int i = 0; i < 2; i++) {
			lc.agent_id = lc.agent_name = i == 0 ? "one" : "two";
			l[i] = lease_new(&lc);
		}
		lease_start(l[0]);
		run_op(loop, op_sleep(loop, 1000), LONG_MS);
		lease_start(l[1]);
		run_op(loop, op_sleep(loop, 3 * TTL), LONG_MS);
		CHECK(lease_holds(l[0]) && !lease_holds(l[1]));
		lease_leave(l[0]);
		run_op(loop, op_sleep(loop, 1200), LONG_MS);
		CHECK(lease_idle(l[0]) && lease_holds(l[1]));
		CHECK_OK(look(), err);
		CHECK_STR(seen.record.name, "two");
		CHECK_U64(seen.record.epoch, 2);
		lease_leave(l[1]);
		run_op(loop, op_sleep(loop, 1200), LONG_MS);
		CHECK_OK(swap(7, (look(), seen.revision)), err); /* by one that dies */
		lease_start(l[0]);
		run_op(loop, op_sleep(loop, TTL), LONG_MS);
		CHECK(!lease_holds(l[0]));
		run_op(loop, op_sleep(loop, TTL), LONG_MS);
		CHECK(lease_holds(l[0]) && lease_epoch(l[0]) == 4);
		lease_leave(l[0]);
		run_op(loop, op_sleep(loop, 1200), LONG_MS);
		lease_free(l[0]);
		lease_free(l[1]);
		end();
	}
}

/* ---------------------------------------------------------------- DynamoDB */

static const char *
said(void)
{
	static char text[ERR_TEXT_MAX];

	return err_text(&err, text);
}

static void
dynamodb_says_what_is_wrong(void)
{
	begin(DYNAMODB);
	s3->dynamo->missing = true;
	CHECK_U64(look(), ERR_CONFIG);
	CHECK(strstr(said(), "table locks does not exist in region us-east-1") != NULL && strstr(said(), "partition key LockID") != NULL);
	CHECK(strstr(said(), "bucket") == NULL);
	s3->dynamo->missing = false;
	s3->dynamo->other_key = true;
	CHECK_U64(swap(1, ""), ERR_CONFIG);
	CHECK(strstr(said(), "partition key LockID of type String") != NULL);
	s3->dynamo->other_key = false;
	s3->dynamo->denies = "PutItem";
	CHECK_U64(swap(1, ""), ERR_AUTH);
	CHECK(strstr(said(), "dynamodb:PutItem on arn:aws:dynamodb:us-east-1:*:table/locks") != NULL);
	s3->dynamo->denies = "GetItem";
	CHECK_U64(look(), ERR_AUTH);
	CHECK(strstr(said(), "dynamodb:GetItem") != NULL);
	s3->dynamo->denies = NULL;
	s3->secret = "another";
	CHECK_U64(look(), ERR_AUTH);
	s3->secret = FAKE_S3_SECRET;
	s3->wrong = 0;
	end();
}

static void
dynamodb_waits_where_it_is_throttled(void)
{
	static const char throttled[] = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException\"}";
	static const char raced[] = "{\"__type\":\"com.amazonaws.dynamodb.v20120810#TransactionConflictException\"}";

	begin(DYNAMODB);
	fake_s3_rule(s3, &(struct fake_s3_rule){ .what = "PutItem", .how = FAKE_ANSWER, .status = 400, .body = throttled, .times = 2 });
	CHECK_OK(swap(1, ""), err);
	CHECK_U64(fake_s3_seen(s3, "PutItem"), 3);
	fake_s3_rule(s3, &(struct fake_s3_rule){ .what = "GetItem", .how = FAKE_ANSWER, .status = 400, .body = throttled, .times = 99 });
	CHECK_U64(look(), ERR_BUSY);
	CHECK(strstr(said(), "ProvisionedThroughputExceeded") != NULL);
	end();
	begin(DYNAMODB);
	fake_s3_rule(s3, &(struct fake_s3_rule){ .what = "PutItem", .how = FAKE_ANSWER, .status = 400, .body = raced });
	CHECK_U64(swap(1, ""), ERR_CONFLICT);
	fake_s3_rule(s3, &(struct fake_s3_rule){ .what = "PutItem", .how = FAKE_ANSWER, .status = 500, .body = "{}" });
	CHECK_U64(swap(1, ""), ERR_UNCERTAIN); /* may have been carried out */
	end();
}

/* ---------------------------------------------------------------- etcd */

static void
etcd_says_what_is_wrong(void)
{
	static const struct {
		int         status, code;
		const char *refusal;
		enum err_code read, swap;
		const char *says;
	} rows[] = {
		{ 403, 7, "permission denied", ERR_AUTH, ERR_AUTH, "--prefix=true .stateferry/" },
		{ 400, 3, "user name is empty", ERR_AUTH, ERR_AUTH, "set username and password" },
		{ 503, 14, "no leader", ERR_BUSY, ERR_UNCERTAIN, "503 no leader" },
		{ 503, 14, "request timed out", ERR_BUSY, ERR_UNCERTAIN, "endpoint status --cluster" },
		{ 429, 8, "too many requests", ERR_BUSY, ERR_BUSY, "429 too many requests" },
		{ 429, 8, "mvcc: database space exceeded", ERR_BUSY, ERR_BUSY, "alarm disarm" },
		{ 400, 3, "request is too large", ERR_UNSUPPORTED, ERR_UNSUPPORTED, "request is too large" },
		{ 404, 0, NULL, ERR_UNSUPPORTED, ERR_UNSUPPORTED, "etcd 3.4 or later" },
		{ 407, 0, NULL, ERR_AUTH, ERR_AUTH, "proxy" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int plain = 0; plain < 2; plain++) {
			begin(ETCD3);
			etcd->plain = plain != 0;
			for (int write = 0; write < 2; write++) {
				etcd->status = rows[i].status;
				etcd->code = rows[i].code;
				etcd->refusal = rows[i].refusal;
				etcd->refusals = 1000;
				CHECK_U64(write ? swap(1, "") : look(), write ? rows[i].swap : rows[i].read);
				CHECK(strstr(said(), rows[i].says) != NULL && strstr(said(), "etcd") != NULL);
			}
			etcd->status = 0;
			CHECK_OK(swap(1, ""), err);
			end();
		}
}

/* Whoever does not answer is passed over, and not asked first the next time. */
static void
etcd_members_are_asked_in_turn(void)
{
	begin(ETCD3);
	CHECK_OK(swap(1, ""), err);
	CHECK_OK(look(), err);
	CHECK_STR(asked, "11");
	down = 1 << 1;
	CHECK_OK(look(), err);
	CHECK_STR(asked, "1112");
	CHECK_OK(swap(2, seen.revision), err);
	CHECK_STR(asked, "11122");
	down = 1 << 1 | 1 << 2;
	CHECK_OK(look(), err);
	CHECK_OK(swap(3, seen.revision), err);
	CHECK_STR(asked, "11122233");
	down = 1 << 1 | 1 << 2 | 1 << 3;
	CHECK_U64(look(), ERR_NETWORK);
	CHECK_U64(swap(4, seen.revision), ERR_NETWORK); /* nothing was sent: not in doubt */
	down = 1 << 3;
	CHECK_OK(look(), err);
	CHECK_U64(seen.record.counter, 3);
	asked[0] = '\0';
	etcd->status = 503; /* one without a leader, cut off from the others */
	etcd->code = 14;
	etcd->refusal = "no leader";
	etcd->refusals = 1;
	down = 0;
	CHECK_OK(look(), err);
	CHECK_U64(strlen(asked), 2);
	CHECK(asked[0] != asked[1]);
	/* A transaction that a member took on is not sent to another one. */
	asked[0] = '\0';
	txn_fault = SCRIPTED_LOST_ANSWER;
	CHECK_U64(swap(5, seen.revision), ERR_UNCERTAIN);
	CHECK_U64(strlen(asked), 1);
	end();
}

static void
etcd_signs_in(void)
{
	begin_records(ETCD3, ETCD_USER);
	etcd->user = "sf";
	etcd->password = "CANARYpassword";
	etcd->denied = ".stateferry/";
	CHECK_OK(swap(1, ""), err);
	CHECK_OK(look(), err);
	CHECK_U64(etcd->logins, 1);
	etcd->logins++; /* its tokens are forgotten, by a restart or by time */
	CHECK_OK(look(), err);
	CHECK_U64(etcd->logins, 3);
	etcd->logins++;
	CHECK_OK(swap(2, seen.revision), err);
	CHECK_U64(etcd->logins, 5);
	CHECK_U64(etcd->txns, 2);
	etcd->denied = "other/";
	CHECK_U64(look(), ERR_AUTH);
	CHECK(strstr(said(), "user sf may not") != NULL);
	CHECK(strstr(scripted_http_trace(http), "CANARY") == NULL);
	end();

	begin_records(ETCD3, ETCD_USER);
	etcd->user = "sf";
	etcd->password = "changed";
	CHECK_U64(look(), ERR_AUTH);
	CHECK(strstr(said(), "user sf is refused (400 authentication failed") != NULL && strstr(said(), "check username") != NULL);
	etcd->user = NULL;
	run_op(loop, op_sleep(loop, 60000), LONG_MS);
	CHECK_U64(look(), ERR_CONFIG);
	CHECK(strstr(said(), "leave out username and password") != NULL);
	end();

	begin_records(ETCD3, ETCD "}\n");
	etcd->user = "sf";
	etcd->password = "x";
	CHECK_U64(look(), ERR_AUTH);
	CHECK(strstr(said(), "it wants a user") != NULL);
	end();
}

static enum err_code
pem_files(void *arg, const char *path, struct buf *ret, struct err *reterr)
{
	(void)arg;
	(void)reterr;
	buf_puts(ret, strcmp(path, "/etc/sf/c.pem") == 0 ? "CERT" : "CANARYKEY");
	return ERR_OK;
}

static void
etcd_takes_certificates(void)
{
	struct conf_source source = { .file = pem_files };
	char              *text;

	begin_records(ETCD3, ETCD "}\n");
	records_close(records);
	conf_free(conf);
	env.source = &source;
	CHECK_OK(open_records(&records_etcd, "etcd {\n  endpoints = [\"https://etcd-1:2379\"]\n  ca_file = \"ca.pem\"\n  cert_file = \"c.pem\"\n"
	    "  key_file = \"c.key\"\n  prefix = \"fleet-a/\"\n}\n"), err);
	CHECK_OK(swap(1, ""), err);
	CHECK_STR(last.tls->ca_file, "/etc/sf/ca.pem");
	CHECK_STR(last.tls->cert_pem, "CERT");
	CHECK_STR(secret_str(last.tls->key_pem), "CANARYKEY");
	CHECK(!last.tls->insecure);
	text = fake_etcd_get(etcd, "fleet-a/lease/" KEY);
	CHECK(text != NULL && strstr(text, "\"nonce\":\"n1\"") != NULL);
	free(text);
	CHECK(fake_etcd_get(etcd, ".stateferry/lease/" KEY) == NULL);
	end();
}

/* ---------------------------------------------------------------- configuration */

static void
what_a_block_may_say(void)
{
	static const struct {
		const struct records_class *class;
		const char                 *text, *says;
	} rows[] = {
		{ &records_dynamodb, "dynamodb {\n  region = \"x\"\n}\n", "expected the argument \"table\"" },
		{ &records_dynamodb, "dynamodb {\n  table = \"\"\n  region = \"x\"\n}\n", "table is empty" },
		{ &records_dynamodb, "dynamodb {\n  table = \"t\"\n}\n", "expected the argument \"region\"" },
		{ &records_dynamodb, "dynamodb {\n  table = \"t\"\n  region = \"r\"\n  endpoint = \"ftp://x\"\n}\n", "endpoint of dynamodb" },
		{ &records_dynamodb, "dynamodb {\n  table = \"t\"\n  region = \"r\"\n  acces_key = \"x\"\n}\n", "did you mean" },
		{ &records_dynamodb, "dynamodb {\n  table = \"t\"\n  region = \"r\"\n  bucket = \"x\"\n}\n", "bucket" },
		{ &records_dynamodb, "dynamodb {\n  table = \"t\"\n  region = \"r\"\n  access_key = \"x\"\n}\n", "access_key without secret_key" },
		{ &records_etcd, "etcd {\n}\n", "expected the argument \"endpoints\"" },
		{ &records_etcd, "etcd {\n  endpoints = []\n}\n", "expected 1 to 16 URLs" },
		{ &records_etcd, "etcd {\n  endpoints = [\"10.0.0.1:2379\"]\n}\n", "https://etcd-1:2379" },
		{ &records_etcd, "etcd {\n  endpoints = [\"https://u:CANARY@etcd:2379\"]\n}\n", "nothing else" },
		{ &records_etcd, "etcd {\n  endpoints = [\"https://etcd:2379\"]\n  username = \"u\"\n}\n", "username and password go together" },
		{ &records_etcd, "etcd {\n  endpoints = [\"https://etcd:2379\"]\n  cert_file = \"c\"\n}\n", "cert_file and key_file go together" },
		{ &records_etcd, "etcd {\n  endpoints = [\"https://etcd:2379\"]\n  cert_file = \"/nowhere/c\"\n  key_file = \"/nowhere/k\"\n}\n",
		    "/nowhere/c does not exist" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin_net();
		conf = NULL;
		CHECK_U64(open_records(rows[i].class, rows[i].text), ERR_CONFIG);
		if (strstr(said(), rows[i].says) == NULL)
			fprintf(stderr, "# row %zu: %s\n", i, said());
		CHECK(strstr(said(), rows[i].says) != NULL && strstr(said(), "CANARY") == NULL && strstr(said(), "t.hcl:") != NULL);
		while (loop_turn(loop, false))
			continue;
		conf_free(conf);
		scripted_http_free(http);
		work_free(work);
		loop_free(loop);
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "a record is made if absent, and swapped", is_made_if_absent_and_swapped },
		{ "garbage is told, and not overwritten", garbage_is_told_and_not_overwritten },
		{ "one of many wins", one_of_many_wins },
		{ "a lost answer is read back", lost_answer_is_read_back },
		{ "leases through a hand-over and a death", carries_leases },
		{ "DynamoDB says what is wrong", dynamodb_says_what_is_wrong },
		{ "DynamoDB is waited for where it is throttled", dynamodb_waits_where_it_is_throttled },
		{ "etcd says what is wrong", etcd_says_what_is_wrong },
		{ "the members of etcd are asked in turn", etcd_members_are_asked_in_turn },
		{ "etcd: signing in", etcd_signs_in },
		{ "etcd: certificates", etcd_takes_certificates },
		{ "what a block may say", what_a_block_may_say },
		{ NULL, NULL } });
}
