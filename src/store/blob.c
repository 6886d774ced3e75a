/* SPDX-License-Identifier: MIT */
/* Blobs: found, decoded, counted, added, and removed from under those that build on them. */
#include <assert.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/internal.h"
#include "store/stage.h"

#define BLOB_RENEW_PIECES  8  /* pieces that one read transaction sees of a large blob */
#define BLOB_PAGE          4096
#define BLOB_PAGE_HEAD     16
#define BLOB_LEAF_MAX      2000 /* with a key of ours, such a value still shares a page */
#define BLOB_SURELY_SMALL  50 /* a delta below raw / 50 is no more than half a plain frame: not worth trying */

/* ---------------------------------------------------------------- looking */

bool
blob_get(struct store_txn *t, uint64_t id, struct blob *ret)
{
	struct key k = key_u64(id);

	if (!rec_get(t, DB_BLOBS, &k, &rec_blob, ret))
		return false;
	ret->id = id;
	return true;
}

bool
blob_find(struct store_txn *t, const struct digest *d, struct blob *ret)
{
	struct key        k = key_digest(t->s, d);
	struct number_rec id;

	if (!rec_get(t, DB_DIGESTS, &k, &rec_number, &id))
		return false;
	if (!blob_get(t, id.v, ret))
		return txn_fail(t, ERR_CORRUPT, 0, "store: blob %llu is in the index, but not there",
		    (unsigned long long)id.v);
	if (!digest_eq(&ret->digest, d))
		return txn_fail(t, ERR_CORRUPT, 0, "store: the index of digests leads to another blob");
	return true;
}

/* ---------------------------------------------------------------- decoding */

/* What decoding needs of each blob on the way to the keyframe. */
struct blob_chain {
	struct blob_link {
		uint64_t id, raw, stored, pieces;
	} link[BLOB_CHAIN_HARD];
	size_t n;
};

static enum err_code
blob_damaged(struct err *reterr, uint64_t id, const char *why)
{
	return err_set(reterr, ERR_CORRUPT, 0, "store: blob %llu %s", (unsigned long long)id, why);
}

/* t's own failure, else the sentence. */
static enum err_code
blob_failed(struct store_txn *t, struct err *reterr, uint64_t id, const char *why)
{
	if (!txn_failed(t))
		return blob_damaged(reterr, id, why);
	if (reterr != NULL)
		*reterr = t->err;
	err_prefix(reterr, "blob %llu", (unsigned long long)id);
	return t->err.code;
}

static enum err_code
blob_chain_find(struct store_txn *t, const struct blob *b, struct blob_chain *ret, struct err *reterr)
{
	struct blob at = *b;
	uint64_t    sum = 0;

	for (ret->n = 0;;) {
		if (ret->n == BLOB_CHAIN_HARD)
			return blob_damaged(reterr, b->id, "has a chain of prefixes without an end");
		sum += at.raw;
		if (at.raw > BLOB_RAW_MAX || (ret->n > 0 && sum > BLOB_COST_MAX))
			return blob_damaged(reterr, b->id, "needs more to decode than was ever written");
		ret->link[ret->n++] = (struct blob_link){ at.id, at.raw, at.stored, at.pieces };
		if (at.prefix == 0)
			return ERR_OK;
		if (!blob_get(t, at.prefix, &at))
			return blob_failed(t, reterr, b->id, "lacks its prefix");
	}
}

static enum err_code
blob_frame(struct store_txn *t, const struct blob_link *l, struct buf *ret, struct err *reterr)
{
	buf_reset(ret);
	if (l->pieces > l->stored / BLOB_PIECE + 2)
		return blob_damaged(reterr, l->id, "has a wrong number of pieces");
	for (uint64_t i = 0; i < l->pieces; i++) {
		struct key k = key_piece(l->id, (uint32_t)i);

		if (!rec_append_bytes(t, DB_PIECES, &k, ret))
			return blob_failed(t, reterr, l->id, "lacks a piece");
	}
	if (ret->len != l->stored)
		return blob_damaged(reterr, l->id, "is not as long as recorded");
	return ERR_OK;
}

static enum err_code
blob_verify(const struct blob *b, struct span raw, struct err *reterr)
{
	struct digest got;

	sha256_of(raw.p, raw.n, &got);
	if (raw.n != b->raw || !digest_eq(&got, &b->digest))
		return blob_damaged(reterr, b->id, "does not decode to its digest");
	return ERR_OK;
}

/* From the keyframe to the wanted one; two buffers take turns, the last frame goes to ret. */
static enum err_code
blob_decode_chain(struct store_txn *t, const struct blob_chain *c, struct buf *ret, struct err *reterr)
{
	struct frame_decoder *d = frame_decoder_new();
	struct span           prefix = { NULL, 0 };
	struct buf            frame, raw[2];
	enum err_code         code = ERR_OK;

	buf_init(&frame, SIZE_MAX / 2);
	buf_init(&raw[0], SIZE_MAX / 2);
	buf_init(&raw[1], SIZE_MAX / 2);
	for (size_t i = c->n; i-- > 0 && code == ERR_OK;) {
		struct buf *to = i == 0 ? ret : &raw[i % 2];
		size_t      start;

		if (i > 0)
			buf_reset(to);
		start = to->len;
		code = blob_frame(t, &c->link[i], &frame, reterr);
		if (code == ERR_OK &&
		    (code = frame_decode(d, buf_span(&frame), prefix, c->link[i].raw, to, reterr)) != ERR_OK)
			err_prefix(reterr, "store: blob %llu", (unsigned long long)c->link[i].id);
		if (code == ERR_OK)
			prefix = span_of(to->data + start, to->len - start);
	}
	buf_wipe_free(&frame);
	buf_wipe_free(&raw[0]);
	buf_wipe_free(&raw[1]);
	frame_decoder_free(d);
	return code;
}

enum err_code
blob_decode(struct store_txn *t, const struct blob *b, struct buf *ret, struct err *reterr)
{
	struct blob_chain chain;
	size_t            before = ret->len;
	enum err_code     code = blob_chain_find(t, b, &chain, reterr);

	if (code == ERR_OK)
		code = blob_decode_chain(t, &chain, ret, reterr);
	if (code == ERR_OK)
		code = blob_verify(b, span_of(ret->data + before, ret->len - before), reterr);
	if (code != ERR_OK && ret->len > before) {
		mem_wipe(ret->data + before, ret->len - before);
		ret->len = before;
	}
	return code;
}

struct blob_hashing {
	const struct blob_sink *sink;
	struct sha256          *hash;
	uint64_t                bytes;
};

static bool
blob_hash_part(void *arg, struct span part, struct err *reterr)
{
	struct blob_hashing *h = arg;

	sha256_add(h->hash, part.p, part.n);
	h->bytes += part.n;
	return h->sink->bytes(h->sink->arg, part, reterr);
}

static enum err_code
blob_stream_pieces(struct store_txn *t, const struct blob *b, struct blob_hashing *h, struct err *reterr)
{
	struct frame_decoder *d = frame_decoder_new();
	struct buf            piece;
	bool                  ended = false;
	enum err_code         code = ERR_OK;

	buf_init(&piece, 2 * STORE_CHUNK);
	for (uint64_t i = 0; i < b->pieces && code == ERR_OK; i++) {
		struct key k = key_piece(b->id, (uint32_t)i);

		buf_reset(&piece);
		if (i % BLOB_RENEW_PIECES == BLOB_RENEW_PIECES - 1 && h->sink->between != NULL &&
		    !h->sink->between(h->sink->arg, t, reterr))
			code = reterr == NULL ? ERR_IO : reterr->code;
		else if (!rec_append_bytes(t, DB_PIECES, &k, &piece))
			code = blob_failed(t, reterr, b->id, "lacks a piece");
		else if ((code = frame_feed(d, buf_span(&piece), b->raw, blob_hash_part, h, &ended, reterr)) ==
		    ERR_CORRUPT)
			err_prefix(reterr, "store: blob %llu", (unsigned long long)b->id);
	}
	if (code == ERR_OK && !ended)
		code = blob_damaged(reterr, b->id, "is cut");
	buf_wipe_free(&piece);
	frame_decoder_free(d);
	return code;
}

enum err_code
blob_stream(struct store_txn *t, const struct blob *b, const struct blob_sink *sink, struct err *reterr)
{
	struct blob_hashing h = { .sink = sink };
	struct digest       got;
	enum err_code       code;

	if (b->prefix != 0)
		return blob_damaged(reterr, b->id, "is too large for a delta");
	h.hash = sha256_new();
	code = blob_stream_pieces(t, b, &h, reterr);
	sha256_peek(h.hash, &got);
	sha256_free(h.hash);
	if (code == ERR_OK && (h.bytes != b->raw || !digest_eq(&got, &b->digest)))
		code = blob_damaged(reterr, b->id, "does not decode to its digest");
	return code;
}

/* ---------------------------------------------------------------- encoding */

static bool
blob_save(struct store_txn *t, const struct blob *b)
{
	struct key k = key_u64(b->id);

	return rec_put(t, DB_BLOBS, &k, &rec_blob, b);
}

static bool
blob_may_be_prefix(const struct blob *p, uint64_t raw)
{
	return p->depth < STORE_CHAIN_MAX && p->cost + raw <= BLOB_COST_MAX && p->raw > 0 && raw > 0 &&
	    p->users.n < REC_LIST_MAX;
}

/* A predecessor that cannot be read must not keep a new version out of the store: without it, the frame stands
 * alone. */
static bool
blob_prefix_bytes(struct store_txn *t, const struct blob *p, struct buf *ret)
{
	struct err e = { 0 };

	if (blob_decode(t, p, ret, &e) == ERR_OK)
		return true;
	log_event(LOG_ERROR, "store", "a blob is damaged", { "reason", log_str(e.msg) });
	txn_pardon(t);
	return false;
}

/* One frame for src: with p as prefix (NULL: none) when that pays, and says so. */
static bool
blob_frame_for(struct store_txn *t, struct blob_coder *c, const struct blob *p, struct span src, struct buf *frame,
    bool *delta)
{
	struct err e = { 0 };
	struct buf prefix, plain;
	bool       ok = true;

	*delta = false;
	buf_init(&prefix, SIZE_MAX / 2);
	buf_init(&plain, SIZE_MAX / 2);
	if (p != NULL && blob_prefix_bytes(t, p, &prefix)) {
		ok = frame_encode(c, buf_span(&prefix), src, frame, &e) == ERR_OK;
		*delta = ok;
	}
	buf_wipe_free(&prefix);
	if (ok && (!*delta || frame->len > src.n / BLOB_SURELY_SMALL)) {
		ok = frame_encode(c, span_of(NULL, 0), src, &plain, &e) == ERR_OK;
		if (ok && (!*delta || frame->len > plain.len / 2)) {
			buf_reset(frame);
			ok = buf_add(frame, plain.data, plain.len, &e) == ERR_OK;
			*delta = false;
		}
	}
	buf_wipe_free(&plain);
	return ok || txn_fail_err(t, &e);
}

/* A value that has pages of its own wastes half of the last one, on average. What would begin that page becomes a
 * piece of its own when it can lie in a leaf, among others. */
static size_t
blob_piece_size(const struct store *s, size_t left)
{
	size_t n = left < BLOB_PIECE ? left : BLOB_PIECE;
	size_t more = s->key == NULL ? 1 : 1 + CRYPT_OVERHEAD, pages = (n + more + BLOB_PAGE_HEAD) / BLOB_PAGE, full;

	if (n + more <= BLOB_LEAF_MAX || pages == 0)
		return n;
	full = pages * BLOB_PAGE - BLOB_PAGE_HEAD - more;
	return n - full + more <= BLOB_LEAF_MAX && n > full ? full : n;
}

static bool
blob_put_pieces(struct store_txn *t, struct blob *b, struct span frame)
{
	b->stored = frame.n;
	b->pieces = 0;
	for (size_t off = 0, n; off < frame.n; off += n) {
		struct key k = key_piece(b->id, (uint32_t)b->pieces++);

		n = blob_piece_size(t->s, frame.n - off);
		if (!rec_put_bytes(t, DB_PIECES, &k, span_of(frame.p + off, n)))
			return false;
	}
	t->n.blob_bytes += b->stored;
	return true;
}

static bool
blob_del_pieces(struct store_txn *t, const struct blob *b)
{
	for (uint64_t i = 0; i < b->pieces; i++) {
		struct key k = key_piece(b->id, (uint32_t)i);

		if (!rec_del(t, DB_PIECES, &k))
			return false;
	}
	t->n.blob_bytes -= b->stored;
	return true;
}

static void
blob_list_del(struct rec_list *l, uint64_t id)
{
	for (uint64_t i = 0; i < l->n; i++) {
		if (l->v[i] != id)
			continue;
		l->v[i] = l->v[--l->n];
		return;
	}
}

/* Writes src as the frame of b, on top of blob p if that is allowed and pays; both records are saved. */
static bool
blob_write(struct store_txn *t, struct blob_coder *c, struct blob *b, struct blob *p, struct span src)
{
	struct buf frame;
	bool       delta, ok;

	if (p != NULL && !blob_may_be_prefix(p, src.n))
		p = NULL;
	buf_init(&frame, SIZE_MAX / 2);
	ok = blob_frame_for(t, c, p, src, &frame, &delta);
	assert(!delta || p != NULL);
	if (ok && delta) {
		p->users.v[p->users.n++] = b->id;
		ok = blob_save(t, p);
	}
	b->prefix = delta ? p->id : 0;
	b->depth = delta ? p->depth + 1 : 0;
	b->cost = src.n + (delta ? p->cost : 0);
	ok = ok && blob_put_pieces(t, b, buf_span(&frame)) && blob_save(t, b);
	buf_wipe_free(&frame);
	return ok;
}

static bool
blob_index(struct store_txn *t, const struct blob *b)
{
	struct key        k = key_digest(t->s, &b->digest);
	struct number_rec id = { b->id };

	t->n.raw_bytes += b->raw;
	return rec_put(t, DB_DIGESTS, &k, &rec_number, &id);
}

/* The whole body in memory: itself, or read into *own. */
static bool
blob_body_bytes(struct store_txn *t, const struct body *body, struct buf *own, struct span *ret)
{
	struct err e = { 0 };
	uint64_t   size = body_size(body);
	size_t     n;

	if (body_in_memory(body)) {
		*ret = body_span(body);
		return true;
	}
	assert(size <= STORE_STAGE_ABOVE);
	if (buf_reserve(own, (size_t)size + 1, &e) != ERR_OK)
		return txn_fail_err(t, &e);
	while (own->len < size) {
		if (body_read(body, own->len, own->data + own->len, (size_t)size - own->len, &n, &e) != ERR_OK)
			return txn_fail_err(t, &e);
		if (n == 0)
			return txn_fail(t, ERR_IO, 0, "store: a spooled body is shorter than announced");
		own->len += n;
	}
	*ret = buf_span(own);
	return true;
}

static bool
blob_add(struct store_txn *t, struct blob_coder *c, const struct digest *d, struct span src, const struct digest *like)
{
	struct blob   b = { .digest = *d, .raw = src.n, .refs = 1 }, p;
	struct digest got;
	bool          has_prefix;

	sha256_of(src.p, src.n, &got);
	if (!digest_eq(&got, d))
		return txn_fail(t, ERR_CORRUPT, 0, "store: the bytes to be stored are not those of their digest");
	has_prefix = like != NULL && !digest_is_zero(like) && blob_find(t, like, &p);
	if (txn_failed(t))
		return false;
	b.id = ++t->n.blob_id;
	return blob_write(t, c, &b, has_prefix ? &p : NULL, src) && blob_index(t, &b);
}

bool
blob_ref(struct store_txn *t, struct blob_coder *c, const struct digest *d, struct body *body,
    const struct digest *like)
{
	struct blob b;
	struct buf  own;
	struct span src;
	bool        ok;

	if (blob_find(t, d, &b)) {
		b.refs++;
		return blob_save(t, &b);
	}
	if (txn_failed(t))
		return false;
	if (body == NULL)
		return txn_fail(t, ERR_NOT_FOUND, 0, "store: the body of a version is missing");
	buf_init(&own, (size_t)STORE_STAGE_ABOVE + 1);
	ok = blob_body_bytes(t, body, &own, &src) && blob_add(t, c, d, src, like);
	buf_wipe_free(&own);
	return ok;
}

bool
blob_link(struct store_txn *t, const struct digest *d, const struct stage *st)
{
	struct blob b = { .id = st->id, .digest = *d, .raw = st->raw, .stored = st->stored, .pieces = st->pieces,
		.cost = st->raw, .refs = 1 };
	struct key  k = key_u64(st->id);

	t->n.blob_bytes += b.stored;
	return rec_del(t, DB_STAGED, &k) && blob_save(t, &b) && blob_index(t, &b);
}

/* ---------------------------------------------------------------- removal */

/* u was written on top of a blob that goes: it moves on top of what that one stood on. */
static bool
blob_move(struct store_txn *t, struct blob_coder *c, uint64_t user, uint64_t onto)
{
	struct blob u, p;
	struct buf  raw;
	struct err  e = { 0 };
	bool        ok;

	if (!blob_get(t, user, &u))
		return txn_fail(t, ERR_CORRUPT, 0, "store: blob %llu is missing", (unsigned long long)user);
	buf_init(&raw, SIZE_MAX / 2);
	if (blob_decode(t, &u, &raw, &e) != ERR_OK)
		ok = txn_fail_err(t, &e);
	else
		ok = blob_del_pieces(t, &u) && (onto == 0 || blob_get(t, onto, &p)) &&
		    blob_write(t, c, &u, onto == 0 ? NULL : &p, buf_span(&raw));
	buf_wipe_free(&raw);
	return ok;
}

static bool
blob_leave_prefix(struct store_txn *t, const struct blob *b)
{
	struct blob p;

	if (b->prefix == 0)
		return true;
	if (!blob_get(t, b->prefix, &p))
		return txn_fail(t, ERR_CORRUPT, 0, "store: blob %llu is missing", (unsigned long long)b->prefix);
	blob_list_del(&p.users, b->id);
	return blob_save(t, &p);
}

/* Its record, with the prefix it had, stays until all that stand on it have moved. */
static bool
blob_remove(struct store_txn *t, struct blob_coder *c, const struct blob *b)
{
	struct key id = key_u64(b->id), d = key_digest(t->s, &b->digest);

	if (!blob_leave_prefix(t, b))
		return false;
	for (uint64_t i = 0; i < b->users.n; i++)
		if (!blob_move(t, c, b->users.v[i], b->prefix))
			return false;
	t->n.raw_bytes -= b->raw;
	return blob_del_pieces(t, b) && rec_del(t, DB_BLOBS, &id) && rec_del(t, DB_DIGESTS, &d);
}

bool
blob_unref(struct store_txn *t, struct blob_coder *c, const struct digest *d)
{
	struct blob b;

	if (!blob_find(t, d, &b))
		return !txn_failed(t);
	if (b.refs == 0)
		return txn_fail(t, ERR_CORRUPT, 0, "store: blob %llu has no reference left to give back",
		    (unsigned long long)b.id);
	if (--b.refs > 0)
		return blob_save(t, &b);
	return blob_remove(t, c, &b);
}
