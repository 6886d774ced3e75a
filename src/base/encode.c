/* SPDX-License-Identifier: MIT */
#include "base/encode.h"

char *
hex_encode(const void *p, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t    *in = p;

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[in[i] >> 4];
		ret[2 * i + 1] = digits[in[i] & 15];
	}
	ret[2 * n] = '\0';
	return ret;
}

static int
hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
hex_decode(struct span hex, uint8_t *ret, size_t n)
{
	if (hex.n != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_value(hex.p[2 * i]), lo = hex_value(hex.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		ret[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(struct span in, struct buf *ret)
{
	for (size_t i = 0; i < in.n; i += 3) {
		size_t   left = in.n - i;
		uint32_t v = (uint32_t)in.p[i] << 16 | (left > 1 ? (uint32_t)in.p[i + 1] << 8 : 0) | (left > 2 ? in.p[i + 2] : 0);
		char     out[4] = { base64_digits[v >> 18], base64_digits[v >> 12 & 63], base64_digits[v >> 6 & 63],
			base64_digits[v & 63] };

		if (left < 3)
			out[3] = '=';
		if (left < 2)
			out[2] = '=';
		buf_put(ret, out, 4);
	}
}

static int
base64_value(uint8_t c)
{
	const char *p = c == '\0' ? NULL : strchr(base64_digits, c);

	return p == NULL ? -1 : (int)(p - base64_digits);
}

/* One group of four; pad: how many of its characters are "=". Bits that no byte uses must be zero. */
static bool
base64_group(const uint8_t *p, unsigned pad, uint8_t out[3])
{
	uint32_t v = 0;

	for (unsigned i = 0; i < 4; i++) {
		int d = i >= 4 - pad ? 0 : base64_value(p[i]);

		if (d < 0)
			return false;
		v = v << 6 | (uint32_t)d;
	}
	out[0] = (uint8_t)(v >> 16);
	out[1] = (uint8_t)(v >> 8);
	out[2] = (uint8_t)v;
	return (pad < 1 || out[2] == 0) && (pad < 2 || out[1] == 0);
}

bool
base64_decode(struct span in, struct buf *ret)
{
	size_t   was = ret->len;
	uint8_t  out[3];
	unsigned pad;

	if (in.n % 4 != 0)
		return false;
	for (size_t i = 0; i < in.n; i += 4) {
		pad = 0;
		if (i + 4 == in.n)
			pad = in.p[i + 3] != '=' ? 0 : in.p[i + 2] != '=' ? 1 : 2;
		if (!base64_group(in.p + i, pad, out) || buf_add(ret, out, 3 - pad, NULL) != ERR_OK) {
			ret->len = was;
			if (ret->data != NULL)
				ret->data[was] = '\0';
			return false;
		}
	}
	return true;
}
