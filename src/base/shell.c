/* SPDX-License-Identifier: MIT */
#include "base/shell.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char shell_plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789%+,-./:=@_";

void
shell_word(struct buf *out, const char *word)
{
	if (word[0] != '\0' && word[strspn(word, shell_plain)] == '\0') {
		buf_puts(out, word);
		return;
	}
	buf_puts(out, "'");
	for (; *word != '\0'; word++)
		buf_put(out, *word == '\'' ? "'\\''" : word, *word == '\'' ? 4 : 1);
	buf_puts(out, "'");
}

char *
shell_wordf(const char *fmt, ...)
{
	struct buf out;
	va_list    ap;
	char      *plain;

	va_start(ap, fmt);
	if (vasprintf(&plain, fmt, ap) < 0)
		mem_exhausted(0);
	va_end(ap);
	buf_init(&out, 0);
	shell_word(&out, plain);
	free(plain);
	return buf_take(&out);
}
