/* SPDX-License-Identifier: MIT */
#ifndef BASE_SHELL_H
#define BASE_SHELL_H

#include "base/buf.h"

/* Commands that a person is told to type hold names and ids which anybody could have chosen. */

/* Appends word as one word of a shell: as it is where a shell sees nothing in it, else in single quotes (POSIX.1, Shell Command Language,
 * 2.2.2). */
void  shell_word(struct buf *out, const char *word);
/* The same of what is formatted; the caller frees it. */
char *shell_wordf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
