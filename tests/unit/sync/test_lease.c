/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "provider/mem.h"
#include "sync/lease.h"

#include "../../lib/provider_rig.h"
#include "../../lib/run_op.h"
#include "../../lib/test.h"

#define TTL   INT64_C(60000)
#define NODES 5
#define MANY  50

/* A coordinator whose answers and requests can be lost, late or refused, each agent's by themselves. */
struct fake_cell {
	struct lease_record record;
	uint64_t            revision;   /* 0: none */
	uint64_t            requests;
	uint64_t            epochs;     /* the highest that was ever written */
	bool                refuses;    /* every swap, whatever it holds */
};
static struct fake_cell cells[MANY];     /* of "edge", "edge1" ... */
#define cell (cells[0])

struct node {
	struct records     c;
	struct lease      *lease;
	bool               cut;         /* no request arrives, no answer either */
	unsigned           lose;        /* so many swaps that begin now never arrive */
	unsigned           deaf, mute;  /* so many of a hundred answers, and requests, are lost */
	int64_t            latency, late; /* each way; of one of ten requests */
	unsigned           changes;
};

static struct loop *loop;
static struct node  nodes[NODES];

struct fake_call {
	struct op           op;
	struct node        *node;
	struct fake_cell        *at;
	bool                swap, applied;
	struct record      *seen;
	struct lease_record next;
	uint64_t            was;
	char               *revision;
	struct err          answer;
};

enum fake_state { START, ARRIVED, BACK };

static const char *const fake_states[] = { "start", "arrived", "back" };

static bool
chance(unsigned percent)
{
	return rand_below(loop_rand(loop), 100) < percent;
}

static void
fake_text(const struct lease_record *r, struct record *ret)
{
	struct buf text;

	buf_init(&text, sizeof(ret->text));
	lease_record_write(r, &text);
	memcpy(ret->text, text.data, text.len);
	ret->n = text.len;
	buf_free(&text);
}

static void
fake_apply(struct fake_call *f)
{
	struct fake_cell *at = f->at;

	at->requests++;
	if (!f->swap && at->revision == 0) {
		err_set(&f->answer, ERR_NOT_FOUND, 0, "no record");
	} else if (!f->swap) {
		fake_text(&at->record, f->seen);
		snprintf(f->seen->revision, sizeof(f->seen->revision), "r%llu", (unsigned long long)at->revision);
	} else if (f->was != at->revision || at->refuses) {
		err_set(&f->answer, ERR_CONFLICT, 0, "another revision");
	} else {
		f->applied = true;
		at->record = f->next;
		snprintf(f->revision, ETAG_MAX, "r%llu", (unsigned long long)++at->revision);
		CHECK(f->next.epoch >= at->epochs);
		at->epochs = f->next.epoch;
	}
}

/* A request that is on its way arrives, whether or not somebody still waits for it. */
static enum op_turn
fake_step(struct op *op)
{
	struct fake_call *f = container_of(op, struct fake_call, op);
	struct node      *n = f->node;

	switch ((enum fake_state)op->state) {
	case START:
		if (f->swap && n->lose > 0) {
			n->lose--;
			return op_await(op, BACK, op_sleep(loop, 10 * TTL));
		}
		if (n->cut || chance(n->mute))
			return op_await(op, BACK, op_sleep(loop, 10 * TTL));
		return op_await(op, ARRIVED, op_sleep(loop, n->latency + (chance(10) ? n->late : 0)));
	case ARRIVED:
		if (op_failed(op))
			return chance(50) ? op_fail(op) : op_go(op, BACK);
		fake_apply(f);
		if (n->cut || chance(n->deaf))
			return op_await(op, BACK, op_sleep(loop, 10 * TTL));
		return op_await(op, BACK, op_sleep(loop, n->latency));
	case BACK:
		if (op_failed(op) && f->swap)
			err_set(&op->res, ERR_UNCERTAIN, 0, "no answer");
		else if (!op_failed(op))
			op->res = f->answer;
		return op_finish(op);
	}
	return OP_DONE;
}

static void
fake_free(struct op *op)
{
	free(container_of(op, struct fake_call, op));
}

static const struct op_class fake_class = { "fake coordinator", fake_step, NULL, fake_free, fake_states, ARRAY_LEN(fake_states) };

static struct fake_call *
fake_new(struct records *c, const char *key)
{
	struct fake_call *f = xcalloc(1, sizeof(*f));

	CHECK(strncmp(key, "lease/edge", 10) == 0);
	f->at = &cells[strtoul(key + 10, NULL, 10)];
	f->node = container_of(c, struct node, c);
	op_init(&f->op, &fake_class, loop);
	return f;
}

static struct op *
fake_read(struct records *c, const char *key, struct record *ret)
{
	struct fake_call *f = fake_new(c, key);

	f->seen = ret;
	return &f->op;
}

static struct op *
fake_swap(struct records *c, const char *key, struct span text, const char *revision, char ret_revision[ETAG_MAX])
{
	struct fake_call *f = fake_new(c, key);
	struct err        e;

	f->swap = true;
	CHECK_OK(lease_record_read(text, &f->next, &e), e);
	f->was = revision[0] == '\0' ? 0 : strtoull(revision + 1, NULL, 10);
	f->revision = ret_revision;
	return &f->op;
}

static const struct records_class fake_coordinator = { "fake", NULL, NULL, fake_read, fake_swap };

static void
node_changed(void *arg)
{
	((struct node *)arg)->changes++;
}

static void
node_start_for(struct node *n, unsigned max_failures, int64_t ttl)
{
	char             id[20];
	struct lease_conf c = { .loop = loop, .coordinator = &n->c, .key = "edge", .agent_id = id, .agent_name = id, .ttl_ms = ttl,
		.max_failures = max_failures, .changed = node_changed, .arg = n };

	snprintf(id, sizeof(id), "agent-%d", (int)(n - nodes));
	*n = (struct node){ .c = { .class = &fake_coordinator }, .latency = 5 };
	n->lease = lease_new(&c);
	lease_start(n->lease);
}

static void
node_start(struct node *n, unsigned max_failures)
{
	node_start_for(n, max_failures, TTL);
}

static void
begin(uint64_t seed, unsigned count)
{
	loop = loop_new_virtual(seed, INT64_C(1790000000000));
	log_setup(LOG_ERROR, false, loop_clock(loop));
	memset(cells, 0, sizeof(cells));
	memset(nodes, 0, sizeof(nodes));
	for (unsigned i = 0; i < count; i++)
		node_start(&nodes[i], 3);
}

static unsigned
holders(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < NODES; i++)
		n += nodes[i].lease != NULL && lease_holds(nodes[i].lease);
	return n;
}

static struct node *
holder(void)
{
	for (unsigned i = 0; i < NODES; i++)
		if (nodes[i].lease != NULL && lease_holds(nodes[i].lease))
			return &nodes[i];
	return NULL;
}

/* Virtual time in small steps; never are there two who act. */
static void
pass(int64_t ms)
{
	for (int64_t end = loop_now(loop) + ms; loop_now(loop) < end;) {
		run_op(loop, op_sleep(loop, 10), 100);
		CHECK(holders() <= 1);
	}
}

static int64_t
until_held_by_other(const struct node *than, int64_t ms)
{
	int64_t begun = loop_now(loop);

	while (holder() == NULL || holder() == than) {
		pass(10);
		CHECK(loop_now(loop) - begun <= ms);
	}
	return loop_now(loop) - begun;
}

static void
end(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		if (nodes[i].lease == NULL)
			continue;
		lease_leave(nodes[i].lease);
		for (unsigned n = 0; !lease_idle(nodes[i].lease); n++) {
			CHECK(n < 100000);
			run_op(loop, op_sleep(loop, 10), 100);
		}
		lease_free(nodes[i].lease);
	}
	loop_free(loop);
}

/* ---------------------------------------------------------------- records */

static void
record_comes_back(void)
{
	struct lease_record r = { .holder = "3f0e", .name = "edge-7 \"x\"", .nonce = "n", .counter = 4, .epoch = 2, .transitions = 1,
		.given = 5, .ttl_ms = TTL, .since = INT64_C(1790000000000), .stores = { { "3f0e", 77 }, { "4a", 1 } } }, back;
	struct buf          text;
	struct err          e = { .code = ERR_OK };

	buf_init(&text, 0);
	lease_record_write(&r, &text);
	CHECK_OK(lease_record_read(buf_span(&text), &back, &e), e);
	CHECK(memcmp(&r, &back, sizeof(r)) == 0);
	CHECK(lease_record_commits(&back, "4a") == 1 && lease_record_commits(&back, "5") == 0);
	buf_free(&text);
}

static void
what_is_no_record(void)
{
	static const char *const bad[] = { "", "{}", "[]", "{\"version\":4,\"serial\":1}", "<html>",
		"{\"stateferry_lease\":1,\"holder\":\"a\",\"name\":\"\",\"nonce\":\"n\",\"counter\":1,\"epoch\":0,\"transitions\":0,\"ttl_ms\":60000}",
		"{\"stateferry_lease\":1,\"holder\":\"a\",\"name\":\"\",\"nonce\":\"n\",\"counter\":-1,\"epoch\":1,\"transitions\":0,\"ttl_ms\":60000}",
		"{\"stateferry_lease\":1,\"holder\":\"a\",\"name\":\"\",\"nonce\":\"n\",\"counter\":1,\"epoch\":1,\"transitions\":0,\"ttl_ms\":1}",
		"{\"stateferry_lease\":1,\"holder\":\"a\",\"name\":\"\",\"nonce\":\"n\",\"counter\":1,\"epoch\":1,\"transitions\":0,\"ttl_ms\":86400001}",
		("{\"stateferry_lease\":1,\"holder\":\"0123456789012345678901234567890123456789012345678901234567890123\","
		"\"name\":\"\",\"nonce\":\"n\",\"counter\":1,\"epoch\":1,\"transitions\":0,\"ttl_ms\":60000}") };
	struct lease_record r;
	struct err          e;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_U64(lease_record_read(span_str(bad[i]), &r, &e), ERR_CORRUPT);
	CHECK_U64(lease_record_read(SPAN_LIT("{\"stateferry_lease\":2,\"holder\":\"a\",\"name\":\"\",\"nonce\":\"n\",\"counter\":1,\"epoch\":1,"
	    "\"transitions\":0,\"ttl_ms\":60000}"), &r, &e), ERR_CORRUPT);
	CHECK(strstr(e.msg, "a later version") != NULL);
}

/* ---------------------------------------------------------------- one and its successor */

static void
is_taken_and_kept(void)
{
	begin(1, 1);
	pass(1000);
	CHECK(lease_holds(nodes[0].lease));
	CHECK_U64(lease_epoch(nodes[0].lease), 1);
	pass(10 * TTL);
	CHECK(lease_holds(nodes[0].lease));
	CHECK_U64(lease_epoch(nodes[0].lease), 1);
	CHECK_U64(nodes[0].changes, 1);
	CHECK(cell.record.counter >= 59 && cell.record.counter <= 61); /* a renewal at each sixth of the ttl */
	CHECK_STR(cell.record.name, "agent-0");
	end();
	CHECK_STR(cell.record.holder, ""); /* handed over */
}

static void
is_handed_over_within_a_second(void)
{
	struct node      *first;
	struct lease_view v;

	begin(2, 2);
	pass(3 * TTL);
	first = holder();
	lease_look(nodes[first == &nodes[0]].lease, &v);
	CHECK_U64(v.standing, LEASE_THEIRS);
	lease_leave(first->lease);
	CHECK(until_held_by_other(first, 1000) <= 1000);
	CHECK_U64(cell.record.epoch, 2);
	CHECK_U64(cell.record.transitions, 1);
	pass(1000);
	CHECK(lease_idle(first->lease));
	end();
}

static void
dead_holder_is_followed_within_two_ttl(void)
{
	struct node *first;
	int64_t      took;

	begin(3, 3);
	pass(2 * TTL);
	first = holder();
	first->cut = true;
	took = until_held_by_other(first, 2 * TTL);
	CHECK(took > TTL); /* unchanged for 1.5 ttl, of which a sixth had passed since the last renewal */
	CHECK(!lease_holds(first->lease));
	pass(TTL);
	first->cut = false; /* it comes back, and is one of those that watch */
	pass(TTL);
	CHECK(!lease_holds(first->lease));
	CHECK_U64(holders(), 1);
	end();
}

static void
cut_off_holder_stops_at_half_its_ttl(void)
{
	int64_t begun;

	begin(4, 1);
	pass(TTL);
	nodes[0].cut = true;
	begun = loop_now(loop);
	while (lease_holds(nodes[0].lease)) {
		pass(10);
		CHECK(loop_now(loop) - begun <= TTL / 2);
	}
	nodes[0].cut = false;
	pass(TTL / 2); /* nobody took it: it goes on */
	CHECK(lease_holds(nodes[0].lease));
	CHECK_U64(lease_epoch(nodes[0].lease), 1);
	end();
}

/* ---------------------------------------------------------------- many leases of few agents */

struct fleet {
	struct node        node;
	struct lease_group group;
	struct lease      *leases[MANY];
	char               id[20];
};

static void
fleet_open(struct fleet *f, unsigned agent, unsigned n, bool tells)
{
	memset(f, 0, sizeof(*f));
	f->node = (struct node){ .c = { .class = &fake_coordinator }, .latency = 5 };
	snprintf(f->id, sizeof(f->id), "agent-%u", agent);
	for (unsigned i = 0; i < n; i++) {
		char              key[20];
		struct lease_conf c = { .loop = loop, .coordinator = &f->node.c, .key = key, .agent_id = f->id, .agent_name = f->id, .ttl_ms = TTL,
			.group = tells ? &f->group : NULL };

		snprintf(key, sizeof(key), i == 0 ? "edge" : "edge%u", i);
		f->leases[i] = lease_new(&c);
	}
}

static unsigned
fleet_holds(const struct fleet *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MANY; i++)
		n += f->leases[i] != NULL && lease_holds(f->leases[i]);
	return n;
}

static void
fleet_close(struct fleet *f)
{
	for (unsigned i = 0; i < MANY && f->leases[i] != NULL; i++)
		lease_leave(f->leases[i]);
	run_op(loop, op_sleep(loop, 5000), 10000);
	for (unsigned i = 0; i < MANY; i++)
		lease_free(f->leases[i]);
}

/* One agent keeps n, and another watches them. tells: each of them tells of the others. */
static void
fleet_begin(struct fleet f[2], unsigned n, bool tells)
{
	begin(20 + n, 0);
	for (unsigned i = 0; i < 2; i++)
		fleet_open(&f[i], i, n, i > 0 || tells);
	for (unsigned i = 0; i < n; i++)
		lease_start(f[0].leases[i]);
	pass(1000);
	for (unsigned i = 0; i < n; i++)
		lease_start(f[1].leases[i]);
	pass(TTL);
	CHECK_U64(fleet_holds(&f[0]), n);
}

static void
fleet_end(struct fleet f[2])
{
	for (unsigned i = 0; i < 2; i++)
		fleet_close(&f[i]);
	loop_free(loop);
}

static uint64_t
requests(void)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < MANY; i++)
		n += cells[i].requests;
	return n;
}

static void
many_are_handed_over_within_a_second(void)
{
	static struct fleet f[2];
	uint64_t            before;

	for (unsigned n = 1; n <= MANY; n = n < 10 ? n + 3 : n + 20) {
		fleet_begin(f, n, true);
		before = requests();
		pass(TTL);
		CHECK(requests() - before <= (n <= 12 ? 80 : 6 * n + 20) + 6 * n); /* looks in turn, and renewals */
		for (unsigned i = 0; i < n; i++)
			lease_leave(f[0].leases[i]);
		pass(1000);
		CHECK_U64(fleet_holds(&f[1]), n);
		fleet_end(f);
	}
}

/* Its other leases tell of it. */
static void
one_of_many_is_handed_over_within_a_second(void)
{
	static struct fleet f[2];

	for (unsigned i = 0; i < 10; i++) {
		fleet_begin(f, 10, true);
		lease_release(f[0].leases[i], true);
		pass(1000);
		CHECK(lease_holds(f[1].leases[i]) && fleet_holds(&f[0]) == 9);
		pass(2 * TTL);
		CHECK(fleet_holds(&f[0]) == 9 && fleet_holds(&f[1]) == 1);
		fleet_end(f);
	}
}

/* The last one is handed over when what was begun under it has ended. */
static void
who_hands_over_one_by_one_is_watched(void)
{
	static struct fleet f[2];

	fleet_begin(f, 10, false);
	for (unsigned i = 0; i < 10; i++) {
		lease_leave(f[0].leases[i]);
		pass(i == 0 ? 10000 : 1000);
		CHECK_U64(fleet_holds(&f[1]), i + 1);
	}
	fleet_end(f);
}

/* ---------------------------------------------------------------- doubt */

static bool
somebody_holds(void *arg)
{
	(void)arg;
	return holder() != NULL;
}

/* As SIGSTOP does it: time passes, and the turn goes on. */
static void
stop_in_mid_turn(void *arg)
{
	bool *held = arg;

	held[0] = holder() != NULL;
	usleep((useconds_t)(LEASE_HOLDS(LEASE_TTL_MIN_MS) * 1000));
	held[1] = holder() != NULL;
}

static void
who_was_stopped_in_mid_turn_does_not_act(void)
{
	struct deferred d = { .fn = NULL };
	bool            held[2] = { false, true };
	struct err      e;

	begin(1, 0);
	loop_free(loop);
	loop = loop_new(&e);
	CHECK(loop != NULL);
	node_start_for(&nodes[0], 0, LEASE_TTL_MIN_MS);
	CHECK(loop_run_until(loop, somebody_holds, NULL, 10000));
	loop_defer(loop, &d, stop_in_mid_turn, held);
	CHECK(loop_turn(loop, false));
	CHECK(held[0] && !held[1]);
	end();
}

static void
take_without_an_answer_is_seen_to_be_ours(void)
{
	begin(5, 1);
	nodes[0].latency = 100;
	pass(250); /* it has read that there is none, and its swap is on the way */
	nodes[0].deaf = 100;
	pass(TTL / 2);
	CHECK_U64(holders(), 0);
	CHECK_STR(cell.record.name, "agent-0");
	nodes[0].deaf = 0;
	pass(TTL / 2);
	CHECK(lease_holds(nodes[0].lease));
	CHECK_U64(cell.record.epoch, 1);
	end();
}

static void
renewals_without_answers_do_not_end_it(void)
{
	begin(6, 2);
	pass(TTL);
	for (unsigned i = 0; i < 2; i++)
		nodes[i].deaf = 30;
	for (unsigned i = 0; i < 20; i++)
		pass(TTL);
	CHECK(cell.record.epoch <= 4);
	end();
}

/* The record still says ours, and nobody else may take it: it is renewed again before its time is over. */
static void
lost_renewal_does_not_end_it(void)
{
	begin(12, 2);
	pass(TTL);
	for (unsigned round = 0; round < 20; round++) {
		struct node *n = holder();
		unsigned     changes = n->changes;

		n->lose = 1;
		for (int64_t end = loop_now(loop) + TTL / 2; loop_now(loop) < end;) {
			pass(50);
			CHECK(lease_holds(n->lease));
		}
		CHECK_U64(n->lose, 0);
		CHECK_U64(n->changes, changes);
	}
	CHECK_U64(cell.record.epoch, 1);
	end();
}

/* A hand-over that was taken back before its answer came: until that is known nobody acts. */
static void
hand_over_that_is_taken_back_is_waited_for(void)
{
	begin(13, 2);
	pass(TTL);
	for (unsigned round = 0; round < 10; round++) {
		struct node *n = holder();

		n->latency = 400;
		pass(TTL);
		n = holder();
		n->latency = 400;
		lease_release(n->lease, true);
		pass(450); /* it has arrived, and the other one may have seen that */
		lease_release(n->lease, false);
		pass(TTL);
		n->latency = 5;
		CHECK_U64(holders(), 1);
	}
	end();
}

/* The locks of its epochs are still there, and have to be told from those of the next. */
static void
a_lost_record_is_followed_by_a_higher_epoch(void)
{
	begin(17, 2);
	pass(TTL);
	for (unsigned round = 0; round < 4; round++) {
		struct node *n = holder();

		n->cut = round % 2 != 0; /* its successor has only watched */
		memset(&cell.record, 0, sizeof(cell.record));
		cell.revision = 0;
		pass(2 * TTL);
		CHECK_U64(holders(), 1);
		CHECK(cell.record.epoch == cell.epochs && cell.epochs >= round + 2);
		n->cut = false;
		pass(TTL);
	}
	end();
}

/* Adopting a store that is this agent's already. */
static void
its_own_name_changes_nothing(void)
{
	begin(19, 1);
	pass(TTL);
	lease_belongs_to(nodes[0].lease, "agent-0");
	CHECK_U64(lease_epoch(nodes[0].lease), 1);
	lease_belongs_to(nodes[0].lease, "agent-9");
	CHECK_U64(lease_epoch(nodes[0].lease), 0);
	end();
}

static void
store_that_refuses_is_not_stormed(void)
{
	uint64_t before;

	begin(7, 1);
	cell.refuses = true;
	pass(TTL);
	before = cell.requests;
	pass(TTL);
	CHECK(cell.requests - before < 200);
	CHECK_U64(holders(), 0);
	cell.refuses = false;
	pass(TTL);
	CHECK_U64(holders(), 1);
	end();
}

static void
trouble_is_told(void)
{
	struct lease_view v;

	begin(8, 1);
	nodes[0].cut = true;
	pass(TTL);
	lease_look(nodes[0].lease, &v);
	CHECK_U64(v.standing, LEASE_UNREAD);
	CHECK_U64(v.why.code, ERR_TIMEOUT);
	end();
}

/* ---------------------------------------------------------------- failures */

static void
failing_holder_leaves_it_to_a_peer(void)
{
	struct node      *first;
	struct lease_view v;

	begin(9, 2);
	pass(TTL);
	first = holder();
	lease_failed(first->lease);
	lease_worked(first->lease); /* in a row */
	lease_failed(first->lease);
	lease_failed(first->lease);
	CHECK(lease_holds(first->lease));
	lease_failed(first->lease);
	CHECK(!lease_holds(first->lease));
	lease_look(first->lease, &v);
	CHECK_U64(v.standing, LEASE_YIELDED);
	CHECK(until_held_by_other(first, 1000) <= 1000);
	pass(3 * TTL);
	CHECK(holder() != first);
	end();
}

/* Not for a while: as long as that lasts, and not longer. */
static void
who_cannot_work_does_not_hold_it(void)
{
	struct node      *first, *second;
	struct lease_view v;

	begin(12, 2);
	pass(TTL);
	first = holder();
	lease_able(first->lease, false);
	CHECK(!lease_holds(first->lease));
	CHECK(until_held_by_other(first, 1000) <= 1000);
	lease_look(first->lease, &v);
	CHECK_U64(v.standing, LEASE_YIELDED);
	second = holder();
	lease_able(second->lease, false);
	pass(4 * TTL);
	CHECK_U64(holders(), 0);
	lease_able(first->lease, true);
	pass(1000);
	CHECK(holder() == first);
	end();
}

static void
failing_alone_it_tries_again_later_and_later(void)
{
	int64_t waited[3];

	begin(10, 1);
	pass(TTL);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned n = 0; n < 3; n++)
			lease_failed(nodes[0].lease);
		waited[i] = until_held_by_other(NULL, 5 * TTL);
	}
	CHECK(waited[0] >= TTL && waited[0] < TTL + 2000);
	CHECK(waited[1] >= 2 * TTL && waited[1] < 2 * TTL + 2000);
	CHECK(waited[2] >= 4 * TTL && waited[2] < 4 * TTL + 2000);
	end();
}

/* ---------------------------------------------------------------- everything at once */

/* Whatever is lost, late or cut off: never two who act, epochs only rise; and when all is well again one holds it, and keeps it. */
static void
never_two_and_always_one_in_the_end(void)
{
	for (uint64_t seed = 100; seed < 160; seed++) {
		begin(seed, NODES);
		for (unsigned round = 0; round < 30; round++) {
			for (unsigned i = 0; i < NODES; i++) {
				struct node *n = &nodes[i];

				n->cut = chance(20);
				n->deaf = chance(50) ? 0 : (unsigned)rand_below(loop_rand(loop), 60);
				n->mute = chance(50) ? 0 : (unsigned)rand_below(loop_rand(loop), 60);
				n->latency = (int64_t)rand_below(loop_rand(loop), 2000);
				n->late = chance(50) ? 0 : (int64_t)rand_below(loop_rand(loop), (uint64_t)(3 * TTL));
				if (chance(5))
					lease_failed(n->lease);
			}
			pass((int64_t)rand_below(loop_rand(loop), (uint64_t)TTL));
		}
		for (unsigned i = 0; i < NODES; i++)
			nodes[i] = (struct node){ .c = nodes[i].c, .lease = nodes[i].lease, .latency = 5 };
		pass(10 * TTL); /* also those that yield come back */
		CHECK_U64(holders(), 1);
		cell.epochs = cell.record.epoch;
		pass(5 * TTL);
		CHECK_U64(holders(), 1);
		CHECK_U64(cell.record.epoch, cell.epochs);
		end();
	}
}

/* ---------------------------------------------------------------- at the target */

static void
lies_at_the_target(void)
{
	struct provider_rig r;
	struct records     *c;
	struct lease       *l;
	struct lease_conf   conf;
	struct mem_world   *w = mem_world_new();
	struct span         got;
	struct err          e;

	provider_rig_open(&r, false, "backend \"mem\" \"b\" {}");
	mem_attach(r.b, w);
	c = records_target(r.b);
	conf = (struct lease_conf){ .loop = r.loop, .coordinator = c, .key = "e", .agent_id = "me", .agent_name = "edge-7", .ttl_ms = TTL };
	l = lease_new(&conf);
	lease_start(l);
	run_op(r.loop, op_sleep(r.loop, 3 * TTL), 4 * TTL);
	CHECK(lease_holds(l));
	CHECK(mem_world_get(w, ".stateferry/lease/e", &got));
	CHECK(memmem(got.p, got.n, "\"holder\":\"me\"", 13) != NULL);
	mem_world_put(w, ".stateferry/lease/e", span_str("{}")); /* somebody's hand */
	run_op(r.loop, op_sleep(r.loop, TTL), 2 * TTL);
	CHECK(!lease_holds(l));
	mem_world_put(w, ".stateferry/lease/e", span_of(NULL, 0));
	e = run_op(r.loop, op_sleep(r.loop, TTL), 2 * TTL);
	CHECK_OK(e.code, e);
	CHECK(lease_holds(l));
	lease_leave(l);
	run_op(r.loop, op_sleep(r.loop, 1000), 2000);
	CHECK(lease_idle(l));
	lease_free(l);
	records_close(c);
	provider_rig_close(&r);
	mem_world_free(w);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
		{ "a record comes back as it was written", record_comes_back },
		{ "what is no record is told", what_is_no_record },
		{ "a free lease is taken and kept", is_taken_and_kept },
		{ "what is handed over has a successor within a second", is_handed_over_within_a_second },
		{ "many leases have a successor within a second", many_are_handed_over_within_a_second },
		{ "so has one of many", one_of_many_is_handed_over_within_a_second },
		{ "who hands over one by one is watched", who_hands_over_one_by_one_is_watched },
		{ "a dead holder is followed within two ttl", dead_holder_is_followed_within_two_ttl },
		{ "a holder that is cut off stops at half its ttl", cut_off_holder_stops_at_half_its_ttl },
		{ "who was stopped in mid turn does not act", who_was_stopped_in_mid_turn_does_not_act },
		{ "a take without an answer is seen to be ours", take_without_an_answer_is_seen_to_be_ours },
		{ "renewals without answers do not end it", renewals_without_answers_do_not_end_it },
		{ "a lost renewal does not end it", lost_renewal_does_not_end_it },
		{ "a hand-over that is taken back is waited for", hand_over_that_is_taken_back_is_waited_for },
		{ "a lost record is followed by a higher epoch", a_lost_record_is_followed_by_a_higher_epoch },
		{ "its own name changes nothing", its_own_name_changes_nothing },
		{ "a store that refuses is not stormed", store_that_refuses_is_not_stormed },
		{ "trouble is told", trouble_is_told },
		{ "a failing holder leaves it to a peer", failing_holder_leaves_it_to_a_peer },
		{ "who cannot work does not hold it", who_cannot_work_does_not_hold_it },
		{ "failing alone, it tries again later and later", failing_alone_it_tries_again_later_and_later },
		{ "never two, and always one in the end", never_two_and_always_one_in_the_end },
		{ "a lease lies at the target", lies_at_the_target },
		{ NULL, NULL } });
}
