/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/test.h"
#include "sync/engine.h"

/* What is added up of replicas that nobody has. */
static struct edge          edge = { .name = "e" };
static struct lane          lane = { .edge = &edge };
static struct plan          plan = { .edges = &edge, .nedges = 1 };
static struct edge_totals   of_edge;
static struct engine_totals n;

static void
add(enum replica_status status, int64_t lag_ms)
{
	static const struct state_rec s = { .head = 1 };

	totals_replica(&n, &s, &(struct replica_view){ .lane = &lane, .status = status, .lag_ms = lag_ms });
}

static void
begin(void)
{
	memset(&of_edge, 0, sizeof(of_edge));
	n = (struct engine_totals){ .plan = &plan, .edges = &of_edge };
}

static void
lags_are_ranked(void)
{
	begin();
	CHECK_U64((uint64_t)totals_lag_ms(&of_edge, 50), 0);
	for (int i = 0; i < 90; i++)
		add(REPLICA_CURRENT, 0);
	for (int i = 1; i <= 10; i++)
		add(REPLICA_BEHIND, i * 1000);
	add(REPLICA_PAUSED, -1);
	CHECK_U64(of_edge.with_lag, 100);
	CHECK_U64((uint64_t)totals_lag_ms(&of_edge, 50), 0);
	CHECK_U64((uint64_t)totals_lag_ms(&of_edge, 90), 0);
	CHECK(totals_lag_ms(&of_edge, 91) >= 1000 && totals_lag_ms(&of_edge, 91) <= 1125);
	CHECK(totals_lag_ms(&of_edge, 99) >= 9000 && totals_lag_ms(&of_edge, 99) <= 10000);
	CHECK_U64((uint64_t)totals_lag_ms(&of_edge, 100), 10000);
	CHECK_U64((uint64_t)n.oldest_lag_ms, 10000);
	CHECK_U64(n.by_status[REPLICA_PAUSED], 1);
}

/* Each lag alone: what is said is never less, and at most an eighth more. */
static void
lags_of_any_length(void)
{
	for (int64_t lag = 1; lag < INT64_MAX / 3; lag = lag + lag / 3 + 1) {
		begin();
		add(REPLICA_BEHIND, lag);
		add(REPLICA_BEHIND, INT64_MAX / 2);
		CHECK(totals_lag_ms(&of_edge, 50) >= lag);
		CHECK(totals_lag_ms(&of_edge, 50) <= lag + lag / 8);
	}
}

static void
without_a_head_only_quarantine_counts(void)
{
	static const struct state_rec s = { .head = 0 };

	begin();
	totals_replica(&n, &s, &(struct replica_view){ .lane = &lane, .status = REPLICA_PENDING, .lag_ms = -1 });
	totals_replica(&n, &s, &(struct replica_view){ .lane = &lane, .status = REPLICA_HELD, .quarantined = true, .lag_ms = -1 });
	CHECK_U64(n.by_status[REPLICA_PENDING], 0);
	CHECK_U64(n.by_status[REPLICA_HELD], 1);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "lags_are_ranked", lags_are_ranked },
	    { "lags_of_any_length", lags_of_any_length },
	    { "without_a_head_only_quarantine_counts", without_a_head_only_quarantine_counts },
	    { NULL, NULL } });
}
