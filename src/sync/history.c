/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zstd.h>

#include "base/mem.h"
#include "core.h"

/*
 * Snapshots: each good version as one object of its own below <prefix>/<state>/, found by listing alone and readable with
 * zstd alone. The replica's record carries the number of the last version written; one call writes the next one.
 */
#define HISTORY_LEVEL 3
#define HISTORY_PIECE ((size_t)128 << 10) /* packed at a time */

#define HISTORY_TURN 500  /* versions looked at in one turn of the loop */

enum history_state { START, CHOSEN, LOADED, PACKED, WRITTEN, READ_BACK, SETTLED };

static const char *const history_states[] = { "choosing", "chosen", "loaded", "packed", "written", "read back", "settled" };

struct history {
	struct op           op;
	struct engine      *e;
	struct lane        *lane;
	uint64_t            state;
	char               *name;      /* of the object */
	char               *source;
	struct version_rec  v;         /* numbers and digests only */
	uint64_t            next, newest; /* versions to look at */
	char               *folder;    /* of the state's objects */
	bool                more;      /* later versions wait */
	struct body        *raw, *packed;
	struct snapshot     put, back;
	char                etag[ETAG_MAX];
	struct err          refused;
	bool                nothing;   /* no version is due */
	int64_t             due;       /* nothing: when one will be; 0: never */
	struct push_result *ret;
};

static void
history_free(struct op *op)
{
	struct history *h = container_of(op, struct history, op);

	body_unref(h->raw);
	body_unref(h->packed);
	snapshot_free(&h->put);
	snapshot_free(&h->back);
	free(h->folder);
	free(h->name);
	free(h->source);
	free(h);
}

/* --- which version --- */

/* Oldest first: the first good one above the cursor is the next to write; whether there is another is all that is asked then. */
static bool
history_pick(struct history *h, struct store_txn *t)
{
	struct version_rec v;

	for (unsigned n = 0; h->next <= h->newest && !h->more; h->next++) {
		if (n++ == HISTORY_TURN)
			return false;
		if (!store_version(t, h->state, h->next, &v) || !verdict_is_head(v.verdict) || v.dropped || version_is_evidence(&v))
			continue;
		if (h->nothing)
			h->v = v;
		else
			h->more = true;
		h->nothing = false;
	}
	return true;
}

/* In turns of the loop. false: there is more to look at. */
static bool
history_find(struct history *h)
{
	struct store_txn *t;
	bool              ended;

	if (h->next > h->newest)
		return true;
	if (store_read(h->e->store, &t, &h->op.res) != ERR_OK)
		return true;
	ended = history_pick(h, t);
	store_end(t);
	return ended;
}

static void
history_object(struct history *h)
{
	char when[TIME_TEXT_MAX], hex[DIGEST_HEX];

	digest_hex(&h->v.digest, hex)[12] = '\0';
	h->name = xasprintf("%s/%020llu-%s-%s.tfstate%s", h->folder, (unsigned long long)h->v.serial,
	    time_format_basic(h->v.seen, when), hex, h->lane->edge->compress == COMPRESS_ZSTD ? ".zst" : "");
}

/* *ret_due: when it will be. */
static bool
history_interval_due(struct engine *e, const struct lane *l, int64_t last, int64_t *ret_due)
{
	int64_t due = last + l->edge->every_ms;

	if (l->edge->every_ms == 0 || last == 0 || due <= loop_wall(e->loop))
		return true;
	*ret_due = due;
	return false;
}

bool
history_is_due(struct engine *e, const struct lane *l, const char *name)
{
	struct replica_rec r = { .written = 0 };
	struct state_rec   s;
	struct store_txn  *t;
	struct buf         folder;
	struct err         err;
	int64_t            due;
	bool               yes;

	buf_init(&folder, 0);
	yes = lane_map(e->plan, l, name, &folder, &err) == MAP_YES;
	buf_free(&folder);
	if (!yes || store_read(e->store, &t, NULL) != ERR_OK)
		return yes;
	if (store_state(t, l->edge->from->label, name, &s))
		store_replica(t, l->edge->name, l->to->label, s.id, &r);
	store_end(t);
	return history_interval_due(e, l, r.written, &due);
}

static void
history_choose(struct history *h, struct store_txn *t, const struct state_rec *s)
{
	struct replica_rec r = { .version = 0 };
	struct buf         folder;
	enum mapping       m;

	h->source = xstrdup(s->name);
	buf_init(&folder, 0);
	m = lane_map(h->e->plan, h->lane, s->name, &folder, &h->refused);
	h->folder = xstrdup(buf_str(&folder));
	buf_free(&folder);
	store_replica(t, h->lane->edge->name, h->lane->to->label, h->state, &r);
	h->nothing = true;
	if (m == MAP_ERROR) {
		h->refused.code = ERR_CONFLICT;
	} else if (m != MAP_YES || !history_interval_due(h->e, h->lane, r.written, &h->due)) {
		return;
	} else if (h->lane->edge->every_ms != 0) { /* an interval wants the head, not every version */
		h->nothing = s->head <= r.version || !store_version(t, s->id, s->head, &h->v);
	} else {
		h->next = r.version + 1;
		h->newest = s->versions;
	}
}

/* --- packing --- */

/* One piece at a time, so that a large state is never in memory as a whole, neither as it was nor packed. */
struct packing {
	struct history *h;
	ZSTD_CCtx      *zstd;
	uint8_t        *in, *out;
	struct buf      packed;       /* up to BODY_SPOOL_ABOVE of the state, else fd */
	int             fd;
	uint64_t        size;         /* in the file */
};

static enum err_code
packing_out(struct packing *k, size_t n, struct err *reterr)
{
	if (k->fd >= 0)
		return body_file_add(k->fd, &k->size, span_of(k->out, n), reterr);
	return buf_add(&k->packed, k->out, n, reterr);
}

/* What n bytes of k->in become; last: and the end. */
static enum err_code
packing_in(struct packing *k, size_t n, bool last, struct err *reterr)
{
	ZSTD_inBuffer in = { k->in, n, 0 };
	enum err_code rc = ERR_OK;
	size_t        left;

	do {
		ZSTD_outBuffer out = { k->out, HISTORY_PIECE, 0 };

		left = ZSTD_compressStream2(k->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return err_set(reterr, ERR_IO, 0, "zstd: %s", ZSTD_getErrorName(left));
		rc = packing_out(k, out.pos, reterr);
	} while (rc == ERR_OK && (last ? left > 0 : in.pos < in.size));
	return rc;
}

static enum err_code
packing_run(struct packing *k, struct work_job *job, struct err *reterr)
{
	uint64_t      at = 0, size = body_size(k->h->raw);
	enum err_code rc = ERR_OK;
	size_t        n;

	ZSTD_CCtx_setParameter(k->zstd, ZSTD_c_compressionLevel, HISTORY_LEVEL);
	ZSTD_CCtx_setPledgedSrcSize(k->zstd, size); /* the frame tells it, and less would be an error */
	if (!body_in_memory(k->h->raw) && (k->fd = store_spool_open(k->h->e->store, reterr)) < 0)
		return ERR_IO;
	if (k->fd < 0 && (rc = buf_reserve(&k->packed, ZSTD_compressBound((size_t)size), reterr)) != ERR_OK)
		return rc; /* growing would leave pieces of it behind */
	do {
		if (job != NULL && work_cancelled(job))
			return err_set(reterr, ERR_CANCELLED, 0, "cancelled");
		if ((rc = body_read(k->h->raw, at, k->in, HISTORY_PIECE, &n, reterr)) == ERR_OK)
			rc = packing_in(k, n, at + n >= size || n == 0, reterr);
		at += n;
	} while (rc == ERR_OK && at < size && n > 0);
	return rc;
}

static enum err_code
history_pack(struct work_job *job, void *arg, struct err *reterr)
{
	struct history *h = arg;
	struct packing  k = { .h = h, .zstd = ZSTD_createCCtx(), .in = xmalloc(HISTORY_PIECE), .out = xmalloc(HISTORY_PIECE), .fd = -1 };
	enum err_code   rc;

	buf_init(&k.packed, ZSTD_compressBound((size_t)BODY_SPOOL_ABOVE) + HISTORY_PIECE);
	rc = k.zstd != NULL ? packing_run(&k, job, reterr) : err_set(reterr, ERR_IO, ENOMEM, "zstd: no memory");
	if (rc == ERR_OK) {
		h->packed = k.fd >= 0 ? body_from_fd(k.fd, k.size) : body_new(&k.packed);
		rc = snapshot_of(&h->put, h->packed, reterr);
	} else if (k.fd >= 0) {
		close(k.fd);
	}
	ZSTD_freeCCtx(k.zstd);
	buf_wipe_free(&k.packed);
	mem_wipe(k.in, HISTORY_PIECE);
	mem_wipe(k.out, HISTORY_PIECE);
	free(k.in);
	free(k.out);
	return rc;
}

static struct op *
history_packing(struct history *h)
{
	if (h->lane->edge->compress == COMPRESS_NONE)
		return snapshot_read(h->e->work, &h->put, h->raw);
	return work_by_size(h->e->work, body_size(h->raw), history_pack, h);
}

/* --- the end --- */

static void
history_record(struct history *h, struct batch *b, struct store_txn *t)
{
	struct replica_rec r;
	int64_t            now = loop_wall(h->e->loop);

	if (!store_replica(t, h->lane->edge->name, h->lane->to->label, h->state, &r))
		r = (struct replica_rec){ .edge = h->lane->edge->name, .target = h->lane->to->label, .state = h->state, .etag = "",
			.error = "", .hint = "" };
	r.name = h->name != NULL ? h->name : "";
	r.error = h->op.err.msg;
	r.hint = h->op.err.hint;
	r.error_code = (int)h->op.err.code;
	replica_settle(&r, h->op.err.code == ERR_OK ? REPLICA_CURRENT : h->op.err.code == ERR_CONFLICT ? REPLICA_HELD : REPLICA_FAILED,
	    now);
	if (h->op.err.code == ERR_OK && !h->nothing) {
		r.digest = h->v.digest;
		r.version = h->v.number;
		r.serial = h->v.serial;
		r.etag = h->back.etag;
		r.written = r.verified = now;
	}
	batch_replica(b, &r);
}

static void
history_requeue(struct history *h, struct batch *b, struct store_txn *t)
{
	const char      *edge = h->lane->edge->name, *target = h->lane->to->label;
	struct queue_rec old = { .attempt = 0 }, q = { .edge = edge, .target = target, .state = h->state };
	int64_t          now = loop_wall(h->e->loop);

	store_queued(t, edge, target, h->state, &old);
	if (h->op.err.code == ERR_OK && (h->more || h->due != 0)) {
		q.due = h->more ? now : h->due;
	} else if (h->op.err.code == ERR_OK || h->op.err.code == ERR_CONFLICT) {
		batch_unqueue(b, edge, target, h->state);
		return;
	} else {
		q.attempt = old.attempt + 1;
		q.due = now + retry_wait_ms(h->e, old.attempt, &h->op.err);
	}
	batch_queue(b, &q);
}

static struct op *
history_settle(struct history *h)
{
	struct store_txn *t;
	struct batch     *b;
	char              op[ERR_MSG_MAX];
	struct err       *err = &h->op.err;

	h->ret->err = *err;
	h->ret->outcome = err->code == ERR_OK ? (h->nothing ? PUSH_CURRENT : PUSH_WRITTEN) :
	    err->code == ERR_CANCELLED ? PUSH_SKIPPED : err->code == ERR_CONFLICT ? PUSH_HELD : PUSH_FAILED;
	h->ret->bytes = h->put.info.size;
	h->ret->target_down = h->ret->outcome == PUSH_FAILED && retry_target_down(engine_place(h->e, h->lane->to), err->code);
	snprintf(op, sizeof(op), "snapshot %s %s", h->lane->edge->name, h->source != NULL ? h->source : "");
	if (h->ret->outcome == PUSH_WRITTEN)
		log_event(LOG_INFO, op, "written", { "target", log_str(h->lane->to->label) }, { "serial", log_u64(h->v.serial) },
		    { "version", log_u64(h->v.number) }, { "size", log_u64(h->put.info.size) });
	else if (err->code != ERR_OK)
		log_event(LOG_WARN, op, "failed", { "target", log_str(h->lane->to->label) }, { "reason", log_str(err->msg) });
	if (err->code == ERR_CANCELLED || h->source == NULL || store_read(h->e->store, &t, NULL) != ERR_OK)
		return NULL;
	b = batch_new(h->e->store);
	history_record(h, b, t);
	history_requeue(h, b, t);
	store_end(t);
	return store_apply(h->e->store, b);
}

static enum op_turn
history_step(struct op *op)
{
	struct history      *h = container_of(op, struct history, op);
	struct put_condition when = { .when = PUT_ABSENT };

	switch ((enum history_state)op->state) {
	case START:
		if (h->refused.code != ERR_OK)
			op->res = h->refused;
		if (op_failed(op))
			return op_unwind(op, READ_BACK);
		return history_find(h) ? op_go(op, CHOSEN) : op_await(op, START, op_sleep(op->loop, 0));
	case CHOSEN:
		if (op_failed(op) || h->nothing || !place_may_act(engine_place(h->e, h->lane->to), &op->res))
			return op_unwind(op, READ_BACK);
		history_object(h);
		return op_await(op, LOADED, store_body_load(h->e->store, &h->v.digest, &h->raw));
	case LOADED:
		if (op_failed(op))
			return op_unwind(op, READ_BACK);
		return op_await(op, PACKED, history_packing(h));
	case PACKED:
		if (op_failed(op) || op->cancelled)
			return op_unwind(op, READ_BACK);
		return op_await(op, WRITTEN, provider_put(h->lane->to, &(struct state_ref){ h->name }, &h->put, &when, h->etag));
	case WRITTEN: /* there already, or unknown: the bytes decide; the name carries their digest */
		if (op_failed(op) && op->res.code != ERR_CONFLICT && op->res.code != ERR_UNCERTAIN)
			return op_unwind(op, READ_BACK);
		return op_await(op, READ_BACK, provider_get(h->lane->to, &(struct state_ref){ h->name }, NULL, &h->back));
	case READ_BACK:
		if (!op_failed(op) && op->err.code == ERR_OK && h->back.body != NULL && !digest_eq(&h->back.digest, &h->put.digest))
			err_set(&op->res, ERR_CONFLICT, 0, "%s is there with other bytes", h->name);
		if (op_failed(op) && op->err.code == ERR_OK)
			return op_unwind(op, READ_BACK);
		return op_await(op, SETTLED, history_settle(h));
	case SETTLED:
		return op_finish(op);
	}
	return OP_DONE;
}

static const struct op_class history_class = { "snapshot", history_step, NULL, history_free, history_states,
	ARRAY_LEN(history_states) };

struct op *
history_op(struct engine *e, struct lane *l, uint64_t state, struct push_result *ret)
{
	struct history   *h = xcalloc(1, sizeof(*h));
	struct store_txn *t;
	struct state_rec  s;

	op_init(&h->op, &history_class, e->loop);
	h->e = e;
	h->lane = l;
	h->state = state;
	h->next = 1; /* above newest: nothing to look for */
	h->ret = ret;
	memset(ret, 0, sizeof(*ret));
	if (store_read(e->store, &t, &h->refused) != ERR_OK)
		return &h->op;
	if (store_state_by_id(t, state, &s)) {
		snprintf(ret->name, sizeof(ret->name), "%s", s.name);
		history_choose(h, t, &s);
	} else {
		err_set(&h->refused, ERR_CANCELLED, 0, "no such state");
	}
	store_end(t);
	return &h->op;
}
