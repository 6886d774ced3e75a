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

int
hex_digit(uint8_t c)
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
	if (hex.n / 2 != n || hex.n % 2 != 0)
		return false;
	for (size_t i = 0; i < hex.n; i++)
		if (hex_digit(hex.p[i]) < 0)
			return false;
	for (size_t i = 0; i < n; i++)
		ret[i] = (uint8_t)((unsigned)hex_digit(hex.p[2 * i]) << 4 | (unsigned)hex_digit(hex.p[2 * i + 1]));
	return true;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void
base64_put(const char *digits, bool pad, struct span in, struct buf *ret)
{
	/* One growth; where max forbids it, buf_put() says so. */
	(void)buf_reserve(ret, (in.n / 3 + (in.n % 3 != 0)) * 4, NULL);
	for (size_t i = 0; i < in.n; i += 3) {
		size_t   left = in.n - i;
		uint32_t v = (uint32_t)in.p[i] << 16 | (left > 1 ? (uint32_t)in.p[i + 1] << 8 : 0) |
		    (left > 2 ? in.p[i + 2] : 0);
		char     out[4] = { digits[v >> 18], digits[v >> 12 & 63], digits[v >> 6 & 63], digits[v & 63] };

		if (left < 3)
			out[3] = '=';
		if (left < 2)
			out[2] = '=';
		buf_put(ret, out, pad || left > 2 ? 4 : left + 1);
	}
}

void
base64_encode(struct span in, struct buf *ret)
{
	base64_put(base64_digits, true, in, ret);
}

void
base64url_encode(struct span in, struct buf *ret)
{
	base64_put(base64url_digits, false, in, ret);
}

static int
base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
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

/* How many "=" end it. */
static unsigned
base64_pad(struct span in)
{
	if (in.n == 0 || in.p[in.n - 1] != '=')
		return 0;
	return in.p[in.n - 2] == '=' ? 2 : 1;
}

bool
base64_decode(struct span in, struct buf *ret)
{
	unsigned pad = 0;
	uint8_t *at, last[3];

	if (in.n % 4 != 0 || (in.n > 0 && buf_reserve(ret, in.n / 4 * 3 - (pad = base64_pad(in)), NULL) != ERR_OK))
		return false;
	if (in.n == 0)
		return true;
	at = ret->data + ret->len;
	for (size_t i = 0; i + 4 < in.n; i += 4, at += 3)
		if (!base64_group(in.p + i, 0, at))
			goto bad;
	if (!base64_group(in.p + in.n - 4, pad, last))
		goto bad;
	memcpy(at, last, 3 - pad);
	ret->len = (size_t)(at - ret->data) + 3 - pad;
	ret->data[ret->len] = '\0';
	return true;
bad:
	ret->data[ret->len] = '\0';
	return false;
}
