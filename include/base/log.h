/* SPDX-License-Identifier: MIT */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

/*
 * One line per event on stderr: "TIME level PREFIX: message key=value ...".
 * The level, form, clock and sink below are the only globals of the program.
 * Control characters are escaped, and prefix, message and each value are cut at
 * LOG_FIELD_MAX, so that nothing logged can forge a line. No secrets: bodies,
 * credentials and signed query strings never come here. Any thread may log
 * once log_setup() and log_sink() were called.
 */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_FIELD_MAX 1024

void log_setup(enum log_level level, bool json, const struct clock *clock); /* clock NULL: clock_system */
/* Where lines go, without the newline; NULL: stderr. For tests and the progress bar. */
void log_sink(void (*sink)(void *arg, const char *line), void *arg);
bool log_on(enum log_level level);
enum log_level log_level_get(void);

/* op is the prefix chain ("replicate live-to-dr prod/vpc"; NULL or "": none), msg what happened. */
void log_at(enum log_level level, const char *op, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

struct log_value {
	enum { LOG_V_STR, LOG_V_U64, LOG_V_I64, LOG_V_MS, LOG_V_NONE } kind;
	union {
		const char *s;
		uint64_t    u;
		int64_t     i;
	} v;
};
struct log_pair {
	const char      *key; /* NULL ends the list */
	struct log_value value;
};
#define log_str(x) ((struct log_value){ LOG_V_STR, { .s = (x) } })   /* NULL: the pair is left out */
#define log_u64(x) ((struct log_value){ LOG_V_U64, { .u = (x) } })
#define log_i64(x) ((struct log_value){ LOG_V_I64, { .i = (x) } })
#define log_ms(x)  ((struct log_value){ LOG_V_MS, { .i = (x) } })    /* 41 prints as 41ms, in JSON as 41 */
void log_pairs(enum log_level level, const char *op, const char *msg, const struct log_pair *pairs);
/* log_event(LOG_INFO, op, "written", { "serial", log_u64(9) }, { "took", log_ms(41) }); */
#define log_event(level, op, msg, ...) \
	log_pairs(level, op, msg, (const struct log_pair[]){ __VA_ARGS__, { NULL, { LOG_V_NONE, { NULL } } } })

#endif
