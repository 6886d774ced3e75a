/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../lib/fuzz.h"
#include "base/mem.h"
#include "store/blob.h"
#include "store/codec.h"

/*
 * What a file that was changed, or that somebody made, may hand us: records and frames. The first byte chooses: a
 * record type, a frame at once, or a frame in pieces.
 */
#define FRAME_WHOLE  0xfe
#define FRAME_PIECES 0xff

/* What is read is written the same way, but for integers that were longer than need be. */
static void
record(const struct rec_type *type, struct span in)
{
	void      *rec = xcalloc(1, type->size), *again = xcalloc(1, type->size);
	struct buf out, twice;

	buf_init(&out, 0);
	buf_init(&twice, 0);
	if (rec_decode(type, type->format, in, rec)) {
		rec_encode(type, rec, &out);
		FUZZ_CHECK(out.len <= in.n && rec_decode(type, type->format, buf_span(&out), again));
		rec_encode(type, again, &twice);
		FUZZ_CHECK(span_eq(buf_span(&out), buf_span(&twice)));
	}
	buf_free(&out);
	buf_free(&twice);
	free(rec);
	free(again);
}

/* Three bytes: raw size and the length of the prefix, which comes first. */
static void
whole(struct span in)
{
	struct frame_decoder *d = frame_decoder_new();
	struct buf            out;
	struct err            e = { 0 };
	uint64_t              raw;
	size_t                prefix;

	buf_init(&out, 1 << 16);
	if (in.n >= 3) {
		raw = (uint64_t)in.p[0] << 8 | in.p[1];
		prefix = in.p[2] < in.n - 3 ? in.p[2] : in.n - 3;
		if (frame_decode(d, span_of(in.p + 3 + prefix, in.n - 3 - prefix), span_of(in.p + 3, prefix), raw, &out, &e) ==
		    ERR_OK)
			FUZZ_CHECK(out.len == raw);
		else
			FUZZ_CHECK(out.len == 0 && e.msg[0] != '\0');
	}
	buf_free(&out);
	frame_decoder_free(d);
}

static bool
count(void *arg, struct span part, struct err *reterr)
{
	(void)reterr;
	*(uint64_t *)arg += part.n;
	return true;
}

/* Three bytes: raw size and the length of a piece. */
static void
pieces(struct span in)
{
	struct frame_decoder *d = frame_decoder_new();
	struct err            e = { 0 };
	uint64_t              raw, seen = 0;
	bool                  ended = false;
	enum err_code         code = ERR_OK;

	if (in.n >= 3) {
		raw = (uint64_t)in.p[0] << 8 | in.p[1];
		for (size_t at = 3, n = (size_t)in.p[2] + 1; at < in.n && code == ERR_OK; at += n) {
			struct span piece = span_of(in.p + at, in.n - at < n ? in.n - at : n);

			code = frame_feed(d, piece, raw, count, &seen, &ended, &e);
			FUZZ_CHECK(seen <= raw && (code == ERR_OK || code == ERR_CORRUPT));
		}
	}
	frame_decoder_free(d);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t types = 0;

	if (n == 0)
		return 0;
	while (rec_types[types] != NULL)
		types++;
	if (data[0] == FRAME_WHOLE)
		whole(span_of(data + 1, n - 1));
	else if (data[0] == FRAME_PIECES)
		pieces(span_of(data + 1, n - 1));
	else
		record(rec_types[data[0] % types], span_of(data + 1, n - 1));
	return 0;
}
