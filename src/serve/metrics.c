/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>

#include "serve.h"

/* Prometheus text format, version 0.0.4. Only what the agent counts itself. */

static void
metric_head(struct buf *ret, const char *name, const char *type, const char *help)
{
	buf_printf(ret, "# HELP stateferry_%s %s\n# TYPE stateferry_%s %s\n", name, help, name, type);
}

static void
metric_label(struct buf *ret, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == '\n') {
			buf_puts(ret, "\\n");
			continue;
		}
		if (*value == '"' || *value == '\\')
			buf_putc(ret, '\\');
		buf_putc(ret, *value);
	}
}

/* ---------------------------------------------------------------- by edge */

struct metrics {
	struct call            *c;
	struct engine_totals    totals;
	const struct state_rec *s;
};

static void
metrics_edge_head(struct buf *ret, const char *name, const struct edge *edge)
{
	buf_printf(ret, "stateferry_%s{edge=\"", name);
	metric_label(ret, edge->name);
	buf_putc(ret, '"');
}

static void
metrics_status(struct buf *ret, const struct edge *edge, const struct edge_totals *n)
{
	for (int i = 0; i < REPLICA_STATUSES; i++) {
		metrics_edge_head(ret, "replica_status", edge);
		buf_printf(ret, ",status=\"%s\"} %" PRIu64 "\n", replica_status_name((enum replica_status)i), n->by_status[i]);
	}
}

static void
metrics_lag(struct buf *ret, const struct edge *edge, const struct edge_totals *n)
{
	static const struct {
		const char *quantile;
		unsigned    percent;
	} wanted[] = { { "0.5", 50 }, { "0.9", 90 }, { "0.99", 99 }, { "1", 100 } };

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		metrics_edge_head(ret, "replica_lag_seconds", edge);
		buf_printf(ret, ",quantile=\"%s\"} %.3f\n", wanted[i].quantile,
		    (double)totals_lag_ms(n, wanted[i].percent) / 1000);
	}
}

static void
metrics_success(struct buf *ret, const struct edge *edge, const struct edge_totals *n)
{
	metrics_edge_head(ret, "last_success_timestamp_seconds", edge);
	buf_printf(ret, "} %.3f\n", (double)n->last_ok / 1000);
}

static void
metrics_edges(const struct metrics *m, struct buf *ret,
    void (*print)(struct buf *ret, const struct edge *edge, const struct edge_totals *n))
{
	const struct plan *p = engine_plan(m->c->e);

	for (size_t i = 0; i < p->nedges; i++)
		print(ret, &p->edges[i], &m->totals.edges[i]);
}

static void
metrics_replica(void *arg, const struct replica_view *v)
{
	struct metrics *m = arg;

	totals_replica(&m->totals, m->s, v);
}

static bool
metrics_state(void *arg, struct store_txn *t, const struct state_rec *s)
{
	struct metrics *m = arg;

	if (!state_counts(engine_plan(m->c->e), s))
		return true;
	m->s = s;
	totals_state(&m->totals, t, s);
	engine_replicas(m->c->e, t, s, metrics_replica, m);
	return true;
}

/* ---------------------------------------------------------------- by backend and operation */

static void
metrics_labels(struct buf *ret, const char *name, const struct backend *b, enum request_kind kind)
{
	buf_printf(ret, "stateferry_%s{backend=\"", name);
	metric_label(ret, b->label);
	buf_printf(ret, "\",operation=\"%s\"", request_kind_name(kind));
}

static void
metrics_results(struct buf *ret, const struct backend *b, enum request_kind kind)
{
	for (int i = 0; i < REQUEST_RESULTS; i++) {
		metrics_labels(ret, "requests_total", b, kind);
		buf_printf(ret, ",result=\"%s\"} %" PRIu64 "\n", request_result_name((enum request_result)i),
		    b->stats[kind].results[i]);
	}
}

static void
metrics_seconds(struct buf *ret, const struct backend *b, enum request_kind kind)
{
	const struct request_stats *s = &b->stats[kind];
	uint64_t                    n = 0;

	for (size_t i = 0; i < REQUEST_BOUNDS; i++) {
		n += s->took[i];
		metrics_labels(ret, "request_seconds_bucket", b, kind);
		buf_printf(ret, ",le=\"%g\"} %" PRIu64 "\n", (double)request_bounds_ms[i] / 1000, n);
	}
	metrics_labels(ret, "request_seconds_bucket", b, kind);
	buf_printf(ret, ",le=\"+Inf\"} %" PRIu64 "\n", request_total(s));
	metrics_labels(ret, "request_seconds_sum", b, kind);
	buf_printf(ret, "} %.3f\n", (double)s->took_ms / 1000);
	metrics_labels(ret, "request_seconds_count", b, kind);
	buf_printf(ret, "} %" PRIu64 "\n", request_total(s));
}

/* Operations that a backend was never asked for have no lines: then there are at most as many as there are kinds. */
static void
metrics_requests(struct plan *p, struct buf *ret, void (*print)(struct buf *ret, const struct backend *b, enum request_kind kind))
{
	for (size_t i = 0; i < p->nbackends; i++)
		for (int k = 0; k < REQUEST_KINDS; k++)
			if (request_total(&p->backends[i]->stats[k]) > 0)
				print(ret, p->backends[i], (enum request_kind)k);
}

/* ---------------------------------------------------------------- leases */

static void
metrics_lease(struct buf *ret, const char *name, const struct lane *l, uint64_t value)
{
	metrics_edge_head(ret, name, l->edge);
	buf_puts(ret, ",target=\"");
	metric_label(ret, l->to->label);
	buf_printf(ret, "\"} %" PRIu64 "\n", value);
}

static void
metrics_lease_held(void *arg, const struct lane *l, const struct lease_view *v)
{
	metrics_lease(arg, "lease_held", l, v->standing == LEASE_OURS);
}

/* As the record says, so that every agent that reads it tells the same. */
static void
metrics_lease_transitions(void *arg, const struct lane *l, const struct lease_view *v)
{
	metrics_lease(arg, "lease_transitions_total", l, v->seen.record.transitions);
}

static void
metrics_leases(struct engine *e, struct buf *ret)
{
	metric_head(ret, "lease_held", "gauge", "Is the lease of an edge at a target this agent's.");
	engine_leases(e, metrics_lease_held, ret);
	metric_head(ret, "lease_transitions_total", "counter", "How often it went from one agent to another.");
	engine_leases(e, metrics_lease_transitions, ret);
}

/* ---------------------------------------------------------------- the whole */

static void
metrics_backends(struct plan *p, struct buf *ret)
{
	metric_head(ret, "backend_requests_total", "counter", "Requests sent to a backend: a call may need several.");
	for (size_t i = 0; i < p->nbackends; i++) {
		buf_puts(ret, "stateferry_backend_requests_total{backend=\"");
		metric_label(ret, p->backends[i]->label);
		buf_printf(ret, "\"} %" PRIu64 "\n", p->backends[i]->requests);
	}
	metric_head(ret, "requests_total", "counter", "Calls of a backend by operation and how they ended.");
	metrics_requests(p, ret, metrics_results);
	metric_head(ret, "request_seconds", "histogram", "How long calls of a backend took.");
	metrics_requests(p, ret, metrics_seconds);
}

static void
metrics_agent(struct engine *e, struct buf *ret)
{
	const struct engine_counters *n = engine_counters(e);
	struct store_stats            st;
	struct loop_delay             d;

	store_stats(engine_store(e), &st);
	loop_delay(engine_loop(e), &d);
	metric_head(ret, "versions_total", "counter", "Versions judged since the start.");
	for (int i = 0; i < VERDICT_COUNT; i++)
		buf_printf(ret, "stateferry_versions_total{verdict=\"%s\"} %" PRIu64 "\n", verdict_name((enum verdict)i), n->verdicts[i]);
	metric_head(ret, "store_bytes", "gauge", "Size of the store's data.");
	buf_printf(ret, "stateferry_store_bytes %" PRIu64 "\n", st.file_bytes);
	metric_head(ret, "loop_delay_seconds", "gauge", "Longest turn of the loop lately.");
	buf_printf(ret, "stateferry_loop_delay_seconds %.6f\n", d.last_max_s);
}

static enum err_code
metrics_ended(void *arg, struct err *reterr)
{
	struct metrics *m = arg;
	struct buf      out;

	(void)reterr;
	buf_init(&out, 0);
	metric_head(&out, "states", "gauge", "States of sources.");
	buf_printf(&out, "stateferry_states %" PRIu64 "\n", m->totals.states);
	metric_head(&out, "states_uncovered", "gauge", "States known from an inventory alone, out of reach.");
	buf_printf(&out, "stateferry_states_uncovered %" PRIu64 "\n", m->totals.uncovered);
	metric_head(&out, "replica_status", "gauge", "Replicas by how they stand.");
	metrics_edges(m, &out, metrics_status);
	metric_head(&out, "replica_lag_seconds", "gauge", "How long replicas have been waiting to be current.");
	metrics_edges(m, &out, metrics_lag);
	metric_head(&out, "last_success_timestamp_seconds", "gauge", "When a replica of the edge was last verified.");
	metrics_edges(m, &out, metrics_success);
	metrics_leases(m->c->e, &out);
	metrics_backends(engine_plan(m->c->e), &out);
	metrics_agent(m->c->e, &out);
	m->c->body = body_new(&out);
	m->c->type = "text/plain; version=0.0.4; charset=utf-8";
	return ERR_OK;
}

static void
metrics_free(void *arg)
{
	struct metrics *m = arg;

	totals_free(&m->totals);
	free(m);
}

struct op *
api_metrics(struct call *c, struct err *reterr)
{
	struct metrics *m = xcalloc(1, sizeof(*m));

	(void)reterr;
	m->c = c;
	totals_begin(c->e, &m->totals);
	return walk_op(c, NULL, &(struct walk){ metrics_state, metrics_ended, metrics_free, m });
}
