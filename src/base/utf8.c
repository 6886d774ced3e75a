/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

bool
utf8_valid(struct span s)
{
	uint32_t c;

	for (size_t i = 0, len; i < s.n; i += len) {
		len = utf8_next(s.p + i, s.n - i, &c);
		if (c == UTF8_BAD && len == 1)
			return false;
	}
	return true;
}

void
utf8_visible(struct buf *out, struct span s, bool quoted)
{
	uint32_t c;

	for (size_t i = 0, len; i < s.n; i += len) {
		len = utf8_next(s.p + i, s.n - i, &c);
		if (utf8_is_control(c) || (c == UTF8_BAD && len == 1)) {
			for (size_t k = i; k < i + len; k++)
				buf_printf(out, "\\x%02x", s.p[k]);
			continue;
		}
		if (quoted && (c == '"' || c == '\\'))
			buf_putc(out, '\\');
		buf_put(out, s.p + i, len);
	}
}
