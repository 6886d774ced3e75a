/* SPDX-License-Identifier: MIT */
#include "store/stage.h"

#include <string.h>

#include "base/log.h"
#include "store/batch.h"

#define STAGE_PIECES 2  /* in one commit: their memory is held twice */
#define STAGE_SWEEP  64 /* pieces deleted in one commit */

/* One body on its way. */
struct staging {
	struct store *s;
	struct stage *stage;
	uint64_t      drawn; /* the number of the transaction that ran last: stage's own once that has committed */
	struct buf    piece[STAGE_PIECES];
	size_t        n;
};

static bool
stage_fill(void *arg, struct store_txn *t)
{
	struct staging   *g = arg;
	struct number_rec raw = { g->stage->raw };
	struct key        k;

	g->drawn = g->stage->id;
	if (g->drawn == 0) {
		g->drawn = ++t->n.blob_id;
		k = key_u64(g->drawn);
		if (!rec_put(t, DB_STAGED, &k, &rec_number, &raw))
			return false;
	}
	for (size_t i = 0; i < g->n; i++) {
		k = key_piece(g->drawn, (uint32_t)(g->stage->pieces + i));
		if (!rec_put_bytes(t, DB_PIECES, &k, buf_span(&g->piece[i])))
			return false;
	}
	return true;
}

static bool
stage_commit(struct staging *g, struct err *reterr)
{
	if (writer_commit(g->s, stage_fill, g, reterr) != ERR_OK)
		return false;
	g->stage->id = g->drawn;
	for (size_t i = 0; i < g->n; i++) {
		g->stage->stored += g->piece[i].len;
		buf_reset(&g->piece[i]);
	}
	g->stage->pieces += g->n;
	g->n = 0;
	writer_overtake(g->s);
	return true;
}

static bool
stage_piece(void *arg, struct span piece, struct err *reterr)
{
	struct staging *g = arg;

	buf_put(&g->piece[g->n++], piece.p, piece.n);
	return g->n < STAGE_PIECES || stage_commit(g, reterr);
}

static enum err_code
stage_body(struct store *s, struct batch_body *b, struct err *reterr)
{
	struct staging g = { .s = s, .stage = &b->stage };
	enum err_code  code;

	b->stage = (struct stage){ .raw = body_size(b->body) };
	for (size_t i = 0; i < STAGE_PIECES; i++)
		buf_init(&g.piece[i], STORE_CHUNK);
	code = frame_encode_body(b->body, &b->digest, stage_piece, &g, reterr);
	if (code == ERR_OK && (g.n > 0 || b->stage.id == 0) && !stage_commit(&g, reterr))
		code = reterr->code;
	for (size_t i = 0; i < STAGE_PIECES; i++)
		buf_wipe_free(&g.piece[i]);
	return code;
}

static bool
stage_is_known(struct store *s, const struct digest *d)
{
	struct key       k = key_digest(s, d);
	struct store_txn t;
	bool             known;

	if (txn_begin(s, TXN_POOL, &t, NULL) != ERR_OK)
		return false;
	known = rec_has(&t, DB_DIGESTS, &k);
	txn_abort(&t);
	return known;
}

enum err_code
stage_bodies(struct store *s, struct batch *b, struct err *reterr)
{
	enum err_code code;

	for (struct batch_body *body = b->bodies; body != NULL; body = body->next) {
		if (body_size(body->body) <= STORE_STAGE_ABOVE || stage_is_known(s, &body->digest))
			continue;
		if ((code = host_check_room(s, body_size(body->body), reterr)) != ERR_OK ||
		    (code = stage_body(s, body, reterr)) != ERR_OK)
			return code;
	}
	return ERR_OK;
}

/* ---------------------------------------------------------------- taking back */

struct stage_sweeping {
	uint64_t   id;
	struct key piece[STAGE_SWEEP];
	size_t     n;
	bool       found; /* something is staged under some number */
};

static bool
stage_sweep_piece(void *arg, struct store_txn *t, struct span key, struct span value)
{
	struct stage_sweeping *w = arg;

	(void)t, (void)value;
	if (key.n > sizeof(w->piece[0].b))
		return true;
	memcpy(w->piece[w->n].b, key.p, key.n);
	w->piece[w->n].n = key.n;
	return ++w->n < STAGE_SWEEP;
}

/* Some pieces; with the last of them the note that they were staged. What is linked has no such note. */
static bool
stage_fill_sweep(void *arg, struct store_txn *t)
{
	struct stage_sweeping *w = arg;
	struct key             id = key_u64(w->id);

	w->n = 0;
	w->found = rec_has(t, DB_STAGED, &id);
	if (!w->found)
		return !txn_failed(t);
	rec_walk(t, &(struct walk){ .db = DB_PIECES, .prefix = span_of(id.b, id.n), .fn = stage_sweep_piece,
	    .arg = w });
	for (size_t i = 0; i < w->n; i++)
		if (!rec_del(t, DB_PIECES, &w->piece[i]))
			return false;
	if (w->n < STAGE_SWEEP)
		rec_del(t, DB_STAGED, &id);
	return !txn_failed(t);
}

static enum err_code
stage_sweep_one(struct store *s, uint64_t id, struct err *reterr)
{
	struct stage_sweeping w = { .id = id };
	enum err_code         code;

	do
		code = writer_commit(s, stage_fill_sweep, &w, reterr);
	while (code == ERR_OK && w.found && w.n == STAGE_SWEEP);
	return code;
}

void
stage_discard(struct store *s, struct batch *b)
{
	struct err e = { 0 };

	for (struct batch_body *body = b->bodies; body != NULL; body = body->next)
		if (body->stage.id != 0 && stage_sweep_one(s, body->stage.id, &e) != ERR_OK)
			log_event(LOG_WARN, "store", "a staged body stays until the next start",
			    { "reason", log_str(e.msg) });
}

static bool
stage_first(void *arg, struct store_txn *t, struct span key, struct span value)
{
	uint64_t *id = arg;

	(void)t, (void)value;
	if (key.n != 8)
		return true;
	*id = be64_get(key.p);
	return false;
}

enum err_code
stage_sweep(struct store *s, struct err *reterr)
{
	struct store_txn t;
	enum err_code    code;
	uint64_t         id;

	for (;;) {
		if ((code = txn_begin(s, TXN_LOOP, &t, reterr)) != ERR_OK)
			return code;
		id = 0;
		rec_walk(&t, &(struct walk){ .db = DB_STAGED, .fn = stage_first, .arg = &id });
		txn_abort(&t);
		if (id == 0)
			return ERR_OK;
		log_event(LOG_INFO, "store", "sweeps a body that was not stored to its end", { "blob", log_u64(id) });
		if ((code = stage_sweep_one(s, id, reterr)) != ERR_OK)
			return code;
	}
}
