/* SPDX-License-Identifier: MIT */
/* Frames of zstd (RFC 8878): whole, with a prefix, or in pieces. No store here. */
#include <stdlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "store/blob.h"

#define FRAME_WINDOW_MIN 17
#define FRAME_WINDOW_MAX 27 /* what a decoder accepts without being told */
#define FRAME_READ       ((size_t)64 << 10)

struct blob_coder {
	ZSTD_CCtx *z;
};

struct frame_decoder {
	ZSTD_DCtx *z;
	uint64_t   out;   /* bytes given out by frame_feed() */
	uint8_t   *part;  /* where they pass */
};

static void *
frame_context(void *z)
{
	if (z == NULL)
		mem_exhausted(0);
	return z;
}

struct blob_coder *
blob_coder_new(void)
{
	struct blob_coder *c = xcalloc(1, sizeof(*c));

	c->z = frame_context(ZSTD_createCCtx());
	return c;
}

void
blob_coder_free(struct blob_coder *c)
{
	if (c == NULL)
		return;
	ZSTD_freeCCtx(c->z);
	free(c);
}

struct frame_decoder *
frame_decoder_new(void)
{
	struct frame_decoder *d = xcalloc(1, sizeof(*d));

	d->z = frame_context(ZSTD_createDCtx());
	return d;
}

void
frame_decoder_free(struct frame_decoder *d)
{
	if (d == NULL)
		return;
	ZSTD_freeDCtx(d->z);
	if (d->part != NULL)
		mem_wipe(d->part, ZSTD_DStreamOutSize());
	free(d->part);
	free(d);
}

static int
frame_window(uint64_t bytes)
{
	int log = FRAME_WINDOW_MIN;

	while (log < FRAME_WINDOW_MAX && (uint64_t)1 << log < bytes)
		log++;
	return log;
}

/* Everything anew for each frame: a prefix is good for one use, and nothing may be left of the frame before. */
static size_t
frame_set_up(ZSTD_CCtx *z, struct span prefix, uint64_t src)
{
	size_t rc;

	ZSTD_CCtx_reset(z, ZSTD_reset_session_and_parameters);
	rc = ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, BLOB_LEVEL);
	if (ZSTD_isError(rc) || prefix.n == 0)
		return rc;
	rc = ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, frame_window(prefix.n + src));
	if (!ZSTD_isError(rc) && prefix.n > BLOB_LDM_ABOVE)
		rc = ZSTD_CCtx_setParameter(z, ZSTD_c_enableLongDistanceMatching, 1);
	if (!ZSTD_isError(rc))
		rc = ZSTD_CCtx_refPrefix(z, prefix.p, prefix.n);
	return rc;
}

static enum err_code
frame_refused(struct err *reterr, const char *what, size_t rc)
{
	return err_set(reterr, ERR_IO, 0, "zstd: %s: %s", what, ZSTD_getErrorName(rc));
}

enum err_code
frame_encode(struct blob_coder *c, struct span prefix, struct span src, struct buf *out, struct err *reterr)
{
	size_t rc = frame_set_up(c->z, prefix, src.n), room = ZSTD_compressBound(src.n);

	if (ZSTD_isError(rc))
		return frame_refused(reterr, "set up", rc);
	if (buf_reserve(out, room, reterr) != ERR_OK)
		return ERR_UNSUPPORTED;
	rc = ZSTD_compress2(c->z, out->data + out->len, room, src.p, src.n);
	if (ZSTD_isError(rc))
		return frame_refused(reterr, "compress", rc);
	out->len += rc;
	out->data[out->len] = '\0';
	return ERR_OK;
}

enum err_code
frame_decode(struct frame_decoder *d, struct span frame, struct span prefix, uint64_t raw, struct buf *ret,
    struct err *reterr)
{
	size_t rc;

	if (ZSTD_getFrameContentSize(frame.p, frame.n) != raw || raw > SIZE_MAX / 2)
		return err_set(reterr, ERR_CORRUPT, 0, "frame: its size is not the one recorded");
	if (ZSTD_findFrameCompressedSize(frame.p, frame.n) != frame.n)
		return err_set(reterr, ERR_CORRUPT, 0, "frame: cut, or followed by something else");
	if (buf_reserve(ret, (size_t)raw + 1, reterr) != ERR_OK)
		return ERR_UNSUPPORTED;
	ZSTD_DCtx_reset(d->z, ZSTD_reset_session_and_parameters);
	rc = prefix.n == 0 ? 0 : ZSTD_DCtx_refPrefix(d->z, prefix.p, prefix.n);
	if (!ZSTD_isError(rc))
		rc = ZSTD_decompressDCtx(d->z, ret->data + ret->len, (size_t)raw, frame.p, frame.n);
	if (ZSTD_isError(rc) || rc != raw)
		return err_set(reterr, ERR_CORRUPT, 0, "frame: %s",
		    ZSTD_isError(rc) ? ZSTD_getErrorName(rc) : "too short");
	ret->len += rc;
	ret->data[ret->len] = '\0';
	return ERR_OK;
}

enum err_code
frame_feed(struct frame_decoder *d, struct span piece, uint64_t raw, frame_bytes_fn *out, void *arg, bool *ended,
    struct err *reterr)
{
	ZSTD_inBuffer in = { piece.p, piece.n, 0 };
	size_t        room = ZSTD_DStreamOutSize(), rc;
	ZSTD_outBuffer part;

	if (d->part == NULL)
		d->part = xmalloc(room);
	if (*ended)
		return err_set(reterr, ERR_CORRUPT, 0, "frame: followed by something else");
	do {
		part = (ZSTD_outBuffer){ d->part, room, 0 };
		rc = ZSTD_decompressStream(d->z, &part, &in);
		if (ZSTD_isError(rc))
			return err_set(reterr, ERR_CORRUPT, 0, "frame: %s", ZSTD_getErrorName(rc));
		if (part.pos > raw - d->out)
			return err_set(reterr, ERR_CORRUPT, 0, "frame: longer than recorded");
		d->out += part.pos;
		if (part.pos > 0 && !out(arg, span_of(part.dst, part.pos), reterr))
			return reterr == NULL ? ERR_IO : reterr->code;
		*ended = rc == 0;
	} while (!*ended && (in.pos < in.size || part.pos == room));
	if (in.pos < in.size)
		return err_set(reterr, ERR_CORRUPT, 0, "frame: followed by something else");
	return ERR_OK;
}

/* ---------------------------------------------------------------- bodies in pieces */

struct frame_writer {
	ZSTD_CCtx      *z;
	struct sha256  *hash;
	uint8_t        *in, *piece;
	size_t          filled;     /* of piece */
	uint64_t        read;
	frame_bytes_fn *out;
	void           *arg;
};

static enum err_code
frame_flush(struct frame_writer *w, struct err *reterr)
{
	size_t n = w->filled;

	w->filled = 0;
	if (n == 0 || w->out(w->arg, span_of(w->piece, n), reterr))
		return ERR_OK;
	return reterr == NULL ? ERR_IO : reterr->code;
}

/* Compresses n bytes of w->in; with end, until the frame is complete. */
static enum err_code
frame_push(struct frame_writer *w, size_t n, bool end, struct err *reterr)
{
	ZSTD_inBuffer in = { w->in, n, 0 };
	size_t        rc;

	do {
		ZSTD_outBuffer out = { w->piece, BLOB_PIECE, w->filled };

		rc = ZSTD_compressStream2(w->z, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(rc))
			return frame_refused(reterr, "compress", rc);
		w->filled = out.pos;
		if (w->filled == BLOB_PIECE && frame_flush(w, reterr) != ERR_OK)
			return reterr == NULL ? ERR_IO : reterr->code;
	} while (end ? rc != 0 : in.pos < in.size);
	return ERR_OK;
}

static enum err_code
frame_read_all(struct frame_writer *w, const struct body *body, struct err *reterr)
{
	enum err_code code;
	size_t        n;

	while ((code = body_read(body, w->read, w->in, FRAME_READ, &n, reterr)) == ERR_OK && n > 0) {
		sha256_add(w->hash, w->in, n);
		w->read += n;
		if ((code = frame_push(w, n, false, reterr)) != ERR_OK)
			return code;
	}
	return code;
}

static enum err_code
frame_write(struct frame_writer *w, const struct body *body, const struct digest *want, struct err *reterr)
{
	size_t        rc = frame_set_up(w->z, span_of(NULL, 0), body_size(body));
	struct digest got;
	enum err_code code;

	if (!ZSTD_isError(rc))
		rc = ZSTD_CCtx_setPledgedSrcSize(w->z, body_size(body));
	if (ZSTD_isError(rc))
		return frame_refused(reterr, "set up", rc);
	if ((code = frame_read_all(w, body, reterr)) != ERR_OK)
		return code;
	sha256_peek(w->hash, &got);
	if (w->read != body_size(body) || !digest_eq(&got, want))
		return err_set(reterr, ERR_CORRUPT, 0, "the bytes to be stored are not those of their digest");
	if ((code = frame_push(w, 0, true, reterr)) != ERR_OK)
		return code;
	return frame_flush(w, reterr);
}

enum err_code
frame_encode_body(const struct body *body, const struct digest *want, frame_bytes_fn *out, void *arg,
    struct err *reterr)
{
	struct frame_writer w = {
		.z = frame_context(ZSTD_createCCtx()),
		.hash = sha256_new(),
		.in = xmalloc(FRAME_READ),
		.piece = xmalloc(BLOB_PIECE),
		.out = out,
		.arg = arg,
	};
	enum err_code code = frame_write(&w, body, want, reterr);

	ZSTD_freeCCtx(w.z);
	sha256_free(w.hash);
	mem_wipe(w.in, FRAME_READ);
	free(w.in);
	free(w.piece);
	return code;
}
