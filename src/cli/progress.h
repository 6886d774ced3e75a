/* SPDX-License-Identifier: MIT */
#ifndef SRC_CLI_PROGRESS_H
#define SRC_CLI_PROGRESS_H

#include "base/buf.h"
#include "base/mem.h"
#include "internal.h"

struct progress {
	const struct cli  *c;
	enum progress_of   of;
	bool               on;
	struct buf         line;      /* as drawn last; empty: nothing yet */
	struct agent_watch watch;
};

/* Only on a terminal, and neither for --json nor for -q. What agent_call() and agent_ask() take; NULL: no progress is shown. */
const struct agent_watch *progress_begin(struct progress *p, const struct cli *c, enum progress_of of);
/* Erases what is there. Threads that log have ended, or the log is as it was before. */
void                      progress_end(struct progress *p);

#endif
