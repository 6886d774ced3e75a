/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_PROCESS_H
#define SRC_PROVIDER_PROCESS_H

#include "base/buf.h"
#include "loop/work.h"

/*
 * A program that prints credentials, as a job of the pool: run without a shell, in a process group of its own, bounded in time and
 * output; its input is empty, and its messages go nowhere.
 */
#define PROCESS_OUTPUT_MAX ((size_t)64 << 10)
#define PROCESS_TIMEOUT_MS 60000

/* words: program, as PATH finds it, and arguments, NULL-terminated. what: how messages call it. job: to see that nobody waits any
 * longer; may be NULL. ret: buf_init() with PROCESS_OUTPUT_MAX and reserved, wiped by the caller. ERR_AUTH: it ended in failure. */
enum err_code process_run(const char *what, const char *const *words, struct work_job *job, struct buf *ret, struct err *reterr);

#endif
