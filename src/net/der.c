/* SPDX-License-Identifier: MIT */
#include "der.h"

#include "base/encode.h"

static struct span
der_after(struct span s, size_t n)
{
	return span_of(s.p + n, s.n - n);
}

static bool
der_element(struct span *in, struct span *ret)
{
	size_t n, head = 2;

	if (in->n < 2)
		return false;
	n = in->p[1];
	if (n >= 0x80) {
		size_t bytes = n & 0x7f;

		if (bytes == 0 || bytes > 3 || in->n < 2 + bytes)
			return false;
		for (n = 0, head = 2; head < 2 + bytes; head++)
			n = n << 8 | in->p[head];
	}
	if (n > in->n - head)
		return false;
	*ret = span_of(in->p + head, n);
	*in = der_after(*in, head + n);
	return true;
}

bool
der_take(struct span *in, uint8_t tag, struct span *ret)
{
	return in->n > 0 && in->p[0] == tag && der_element(in, ret);
}

bool
der_skip(struct span *in)
{
	struct span all;

	return der_element(in, &all);
}

bool
der_take_small(struct span *in, uint32_t *ret)
{
	struct span rest = *in, number;
	uint32_t    v = 0;

	if (!der_take(&rest, DER_INTEGER, &number) || number.n == 0 || number.n > 4 || (number.p[0] & 0x80) != 0)
		return false;
	for (size_t i = 0; i < number.n; i++)
		v = v << 8 | number.p[i];
	*in = rest;
	*ret = v;
	return true;
}

/* --- PEM ----------------------------------------------------------------------------------------------------------------- */

#define PEM_DASHES "-----"

static bool
pem_find(struct span in, const char *what, size_t *ret)
{
	const uint8_t *at = in.n == 0 ? NULL : memmem(in.p, in.n, what, strlen(what));

	if (at != NULL)
		*ret = (size_t)(at - in.p);
	return at != NULL;
}

bool
pem_next(struct span *pem, struct span *label, struct span *text)
{
	struct span rest = *pem;
	size_t      at;

	if (!pem_find(rest, PEM_DASHES "BEGIN ", &at))
		return false;
	rest = der_after(rest, at + sizeof(PEM_DASHES "BEGIN ") - 1);
	if (!pem_find(rest, PEM_DASHES, &at))
		return false;
	*label = span_of(rest.p, at);
	rest = der_after(rest, at + sizeof(PEM_DASHES) - 1);
	if (!pem_find(rest, PEM_DASHES "END ", &at))
		return false;
	*text = span_of(rest.p, at);
	*pem = der_after(rest, at + sizeof(PEM_DASHES "END ") - 1);
	return true;
}

bool
pem_decode(struct span text, struct buf *ret)
{
	struct buf digits;
	bool       ok;

	if (text.n > PEM_MAX)
		return false;
	buf_init(&digits, PEM_MAX);
	buf_reserve(&digits, text.n, NULL);
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '\0' || strchr(" \t\r\n", text.p[i]) == NULL)
			buf_putc(&digits, (char)text.p[i]);
	ok = digits.len > 0 && base64_decode(buf_span(&digits), ret);
	buf_wipe_free(&digits);
	return ok;
}
