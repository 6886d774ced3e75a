/* SPDX-License-Identifier: MIT */
#include "store/codec.h"

#include <string.h>

#include "base/digest.h"

/* Integers are base 128, least significant group first, at most ten bytes; signed ones are folded so that small
 * magnitudes of either sign stay short. */

static void
codec_put_u64(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_putc(out, (char)(v | 0x80));
	buf_putc(out, (char)v);
}

static uint64_t
codec_fold(int64_t v)
{
	return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t
codec_unfold(uint64_t v)
{
	return (int64_t)(v >> 1 ^ ((v & 1) != 0 ? UINT64_MAX : 0));
}

static void
codec_put_str(struct buf *out, const char *s)
{
	size_t n = s == NULL ? 0 : strlen(s);

	codec_put_u64(out, n);
	buf_put(out, s == NULL ? "" : s, n + 1);
}

static void
codec_put_digest(struct buf *out, const struct digest *d)
{
	if (digest_is_zero(d)) {
		buf_putc(out, 0);
		return;
	}
	buf_putc(out, 1);
	buf_put(out, d->b, DIGEST_LEN);
}

static void
codec_put_list(struct buf *out, const struct rec_list *l)
{
	codec_put_u64(out, l->n);
	for (uint64_t i = 0; i < l->n; i++)
		codec_put_u64(out, l->v[i]);
}

static void
codec_put_field(struct buf *out, const struct rec_field *f, const void *p)
{
	switch (f->kind) {
	case REC_U64:
		codec_put_u64(out, *(const uint64_t *)p);
		break;
	case REC_I64:
		codec_put_u64(out, codec_fold(*(const int64_t *)p));
		break;
	case REC_UINT:
	case REC_ENUM:
		codec_put_u64(out, *(const unsigned *)p);
		break;
	case REC_INT:
		codec_put_u64(out, codec_fold(*(const int *)p));
		break;
	case REC_BOOL:
		buf_putc(out, *(const bool *)p);
		break;
	case REC_STR:
		codec_put_str(out, *(const char *const *)p);
		break;
	case REC_DIGEST:
		codec_put_digest(out, p);
		break;
	case REC_LIST:
		codec_put_list(out, p);
		break;
	}
}

void
rec_encode(const struct rec_type *type, const void *rec, struct buf *out)
{
	for (size_t i = 0; i < type->nfields; i++)
		codec_put_field(out, &type->fields[i], (const char *)rec + type->fields[i].off);
}

static bool
codec_get_u64(struct span *in, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; in->n > 0 && shift < 64; shift += 7) {
		uint8_t c = *in->p;

		in->p++, in->n--;
		if (shift == 63 && c > 1)
			return false;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (c < 0x80) {
			*ret = v;
			return true;
		}
	}
	return false;
}

static bool
codec_get_bool(struct span *in, bool *ret)
{
	if (in->n == 0 || *in->p > 1)
		return false;
	*ret = *in->p == 1;
	in->p++, in->n--;
	return true;
}

static bool
codec_get_str(struct span *in, const char **ret)
{
	uint64_t n;

	if (!codec_get_u64(in, &n) || n >= in->n || in->p[n] != 0 || memchr(in->p, 0, (size_t)n) != NULL)
		return false;
	*ret = (const char *)in->p;
	in->p += n + 1, in->n -= (size_t)n + 1;
	return true;
}

static bool
codec_get_digest(struct span *in, struct digest *ret)
{
	bool present;

	if (!codec_get_bool(in, &present))
		return false;
	if (!present)
		return true;
	if (in->n < DIGEST_LEN)
		return false;
	memcpy(ret->b, in->p, DIGEST_LEN);
	in->p += DIGEST_LEN, in->n -= DIGEST_LEN;
	return true;
}

static bool
codec_get_list(struct span *in, struct rec_list *ret)
{
	uint64_t n;

	if (!codec_get_u64(in, &n) || n > REC_LIST_MAX)
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (!codec_get_u64(in, &ret->v[i]))
			return false;
	ret->n = n;
	return true;
}

static bool
codec_get_int(struct span *in, int *ret)
{
	uint64_t v;
	int64_t  i;

	if (!codec_get_u64(in, &v))
		return false;
	i = codec_unfold(v);
	if (i < INT32_MIN || i > INT32_MAX)
		return false;
	*ret = (int)i;
	return true;
}

static bool
codec_get_unsigned(struct span *in, uint64_t limit, unsigned *ret)
{
	uint64_t v;

	if (!codec_get_u64(in, &v) || v > limit)
		return false;
	*ret = (unsigned)v;
	return true;
}

static bool
codec_get_i64(struct span *in, int64_t *ret)
{
	uint64_t v;

	if (!codec_get_u64(in, &v))
		return false;
	*ret = codec_unfold(v);
	return true;
}

static bool
codec_get_field(struct span *in, const struct rec_field *f, void *p)
{
	switch (f->kind) {
	case REC_U64:
		return codec_get_u64(in, p);
	case REC_I64:
		return codec_get_i64(in, p);
	case REC_UINT:
		return codec_get_unsigned(in, UINT32_MAX, p);
	case REC_ENUM:
		return codec_get_unsigned(in, f->max - 1, p);
	case REC_INT:
		return codec_get_int(in, p);
	case REC_BOOL:
		return codec_get_bool(in, p);
	case REC_STR:
		return codec_get_str(in, p);
	case REC_DIGEST:
		return codec_get_digest(in, p);
	case REC_LIST:
		return codec_get_list(in, p);
	}
	return false;
}

/* What a record of an older format lacks: strings are never NULL. */
static void
codec_default(const struct rec_field *f, void *p)
{
	if (f->kind == REC_STR)
		*(const char **)p = "";
}

bool
rec_decode(const struct rec_type *type, unsigned format, struct span data, void *ret)
{
	if (format == 0 || format > type->format)
		return false;
	memset(ret, 0, type->size);
	for (size_t i = 0; i < type->nfields; i++) {
		const struct rec_field *f = &type->fields[i];
		void                   *p = (char *)ret + f->off;

		if (f->since > format)
			codec_default(f, p);
		else if (!codec_get_field(&data, f, p))
			return false;
	}
	return data.n == 0;
}
