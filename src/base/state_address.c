/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "base/mem.h"
#include "base/state_address.h"
#include "base/utf8.h"

/*
 * Code points that Go does not call printable: controls, blanks other than U+0020, format characters,
 * surrogates, private use, noncharacters. Unassigned ones are left out, because they change with each
 * version of Unicode.
 */
static const struct {
	uint32_t from, to;
} unprintable[] = {
	{ 0x0000, 0x001F },   { 0x007F, 0x00A0 },   { 0x00AD, 0x00AD },     { 0x0600, 0x0605 },   { 0x061C, 0x061C },
	{ 0x06DD, 0x06DD },   { 0x070F, 0x070F },   { 0x0890, 0x0891 },     { 0x08E2, 0x08E2 },   { 0x1680, 0x1680 },
	{ 0x180E, 0x180E },   { 0x2000, 0x200F },   { 0x2028, 0x202F },     { 0x205F, 0x206F },   { 0x3000, 0x3000 },
	{ 0xD800, 0xF8FF },   { 0xFDD0, 0xFDEF },   { 0xFEFF, 0xFEFF },     { 0xFFF0, 0xFFFB },   { 0xFFFE, 0xFFFF },
	{ 0x110BD, 0x110BD }, { 0x110CD, 0x110CD }, { 0x13430, 0x1343F },   { 0x1BCA0, 0x1BCA3 }, { 0x1D173, 0x1D17A },
	{ 0x40000, 0xE00FF }, { 0xE01F0, 0x10FFFF },
};

static bool
state_address_prints(uint32_t c)
{
	if ((c & 0xFFFE) == 0xFFFE)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(unprintable) && c >= unprintable[i].from; i++)
		if (c <= unprintable[i].to)
			return false;
	return true;
}

static void
state_address_char(struct buf *out, uint32_t c)
{
	uint8_t utf8[4];

	buf_put(out, utf8, utf8_put(utf8, c));
}

static void
state_address_text(struct buf *out, struct span s)
{
	uint32_t c;

	for (size_t i = 0; i < s.n;) {
		i += utf8_next(s.p + i, s.n - i, &c);
		state_address_char(out, c);
	}
}

void
state_address_block(struct buf *out, struct span module, bool data, struct span type, struct span name)
{
	if (module.n > 0) {
		state_address_text(out, module);
		buf_putc(out, '.');
	}
	if (data)
		buf_puts(out, "data.");
	state_address_text(out, type);
	buf_putc(out, '.');
	state_address_text(out, name);
}

void
state_address_index(struct buf *out, int64_t index)
{
	buf_printf(out, "[%" PRId64 "]", index);
}

/* HCL template syntax, not JSON: "${" and "%{" begin an interpolation there. */
static void
state_address_quoted(struct buf *out, uint32_t c, uint8_t next)
{
	switch (c) {
	case '\n':
		buf_puts(out, "\\n");
		return;
	case '\r':
		buf_puts(out, "\\r");
		return;
	case '\t':
		buf_puts(out, "\\t");
		return;
	case '"':
	case '\\':
		buf_putc(out, '\\');
		break;
	case '$':
	case '%':
		if (next == '{')
			buf_putc(out, (char)c);
		break;
	default:
		break;
	}
	if (state_address_prints(c))
		state_address_char(out, c);
	else
		buf_printf(out, c > 0xFFFF ? "\\U%08" PRIx32 : "\\u%04" PRIx32, c);
}

void
state_address_key(struct buf *out, struct span key)
{
	uint32_t c;

	buf_puts(out, "[\"");
	for (size_t i = 0; i < key.n;) {
		i += utf8_next(key.p + i, key.n - i, &c);
		state_address_quoted(out, c, i < key.n ? key.p[i] : 0);
	}
	buf_puts(out, "\"]");
}

/* The digits of a trailing ".INDEX" behind TYPE.NAME, or an empty span. */
static struct span
state_address_v3_index(struct span entry)
{
	size_t dots = 0, at = entry.n;

	for (size_t i = 0; i < entry.n; i++) {
		if (entry.p[i] == '.') {
			dots++;
			at = i + 1;
		} else if ((entry.p[i] < '0' || entry.p[i] > '9') && !(entry.p[i] == '-' && at == i))
			at = entry.n;
	}
	if (dots < (span_starts(entry, "data.") ? 3 : 2))
		at = entry.n;
	return span_of(entry.p + at, entry.n - at);
}

void
state_address_v3(struct buf *out, struct span module, struct span entry)
{
	struct span index = state_address_v3_index(entry);

	if (module.n > 0) {
		state_address_text(out, module);
		buf_putc(out, '.');
	}
	if (index.n == 0) {
		state_address_text(out, entry);
		return;
	}
	state_address_text(out, span_of(entry.p, entry.n - index.n - 1));
	buf_putc(out, '[');
	state_address_text(out, index);
	buf_putc(out, ']');
}
