/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

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

struct edge_count {
	struct engine          *e;
	const struct edge      *edge;
	struct store_txn       *t;
	const struct state_rec *s;
	uint64_t                by_status[REPLICA_PAUSED + 1];
	int64_t                 max_lag, last_ok;
};

static void
metrics_lane(void *arg, const struct lane *l, const char *name_there)
{
	struct edge_count  *x = arg;
	struct replica_rec  r;
	enum replica_status st;
	int64_t             lag = loop_wall(engine_loop(x->e)) - x->s->last_changed;

	(void)name_there;
	if (l->edge != x->edge)
		return;
	st = engine_replica_status(x->e, x->t, l, x->s, &r);
	x->by_status[st]++;
	if (st != REPLICA_CURRENT && st != REPLICA_PAUSED && lag > x->max_lag)
		x->max_lag = lag;
	if (r.verified > x->last_ok)
		x->last_ok = r.verified;
}

static bool
metrics_state(void *arg, const struct state_rec *s)
{
	struct edge_count *x = arg;

	if ((s->flags & STATE_TARGET) != 0 || s->head == 0)
		return true;
	x->s = s;
	each_lane(x->e, s, metrics_lane, x);
	return true;
}

static void
metrics_edge(struct engine *e, struct store_txn *t, const struct edge *edge, struct buf *status, struct buf *lag, struct buf *ok)
{
	struct edge_count x = { .e = e, .edge = edge, .t = t };

	store_states(t, edge->from->label, 0, metrics_state, &x);
	for (int i = 0; i <= REPLICA_PAUSED; i++) {
		buf_puts(status, "stateferry_replica_status{edge=\"");
		metric_label(status, edge->name);
		buf_printf(status, "\",status=\"%s\"} %" PRIu64 "\n", replica_status_name((enum replica_status)i), x.by_status[i]);
	}
	buf_puts(lag, "stateferry_replica_lag_seconds{edge=\"");
	metric_label(lag, edge->name);
	buf_printf(lag, "\",quantile=\"1\"} %.3f\n", (double)x.max_lag / 1000);
	buf_puts(ok, "stateferry_last_success_timestamp_seconds{edge=\"");
	metric_label(ok, edge->name);
	buf_printf(ok, "\"} %.3f\n", (double)x.last_ok / 1000);
}

static void
metrics_edges(struct engine *e, struct buf *ret)
{
	struct plan      *p = engine_plan(e);
	struct buf        status, lag, ok;
	struct store_txn *t;

	if (store_read(engine_store(e), &t, NULL) != ERR_OK)
		return;
	buf_init(&status, 0);
	buf_init(&lag, 0);
	buf_init(&ok, 0);
	for (size_t i = 0; i < p->nedges; i++)
		metrics_edge(e, t, &p->edges[i], &status, &lag, &ok);
	store_end(t);
	metric_head(ret, "replica_status", "gauge", "Replicas by how they stand.");
	buf_puts(ret, buf_str(&status));
	metric_head(ret, "replica_lag_seconds", "gauge", "How long the replica that waits longest has been waiting.");
	buf_puts(ret, buf_str(&lag));
	metric_head(ret, "last_success_timestamp_seconds", "gauge", "When a replica of the edge was last verified.");
	buf_puts(ret, buf_str(&ok));
	buf_free(&status);
	buf_free(&lag);
	buf_free(&ok);
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

void
metrics_print(struct engine *e, struct buf *ret)
{
	const struct engine_counters *n = engine_counters(e);
	struct plan                  *p = engine_plan(e);
	struct store_stats            st;
	struct loop_delay             d;

	store_stats(engine_store(e), &st);
	loop_delay(engine_loop(e), &d);
	metric_head(ret, "states", "gauge", "States known.");
	buf_printf(ret, "stateferry_states %" PRIu64 "\n", st.states);
	metrics_edges(e, ret);
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
	metric_head(ret, "versions_total", "counter", "Versions judged since the start.");
	for (int i = 0; i < VERDICT_COUNT; i++)
		buf_printf(ret, "stateferry_versions_total{verdict=\"%s\"} %" PRIu64 "\n", verdict_name((enum verdict)i), n->verdicts[i]);
	metric_head(ret, "store_bytes", "gauge", "Size of the store's data.");
	buf_printf(ret, "stateferry_store_bytes %" PRIu64 "\n", st.file_bytes);
	metric_head(ret, "loop_delay_seconds", "gauge", "Longest turn of the loop lately.");
	buf_printf(ret, "stateferry_loop_delay_seconds %.6f\n", d.last_max_s);
}
