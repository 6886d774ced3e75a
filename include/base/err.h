/* SPDX-License-Identifier: MIT */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stdint.h>

/*
 * Errors: one enum that callers branch on, one sentence that a person reads.
 * Nothing is allocated. Only the top of a call chain logs; callers on the way
 * add context once with err_prefix().
 */
enum err_code {
	ERR_OK = 0,
	ERR_CANCELLED,   /* stopped, and it did not happen */
	ERR_TIMEOUT,     /* no answer in time to a read, or to a write of which no byte was sent */
	ERR_NETWORK,     /* no answer to a read; or nothing of a write was sent */
	ERR_AUTH,        /* credentials refused, or a permission is missing */
	ERR_NOT_FOUND,
	ERR_UNCHANGED,   /* a conditional read: still what you have */
	ERR_CONFLICT,    /* a precondition did not hold, or a verdict holds it back */
	ERR_LOCKED,      /* somebody else holds the lock or lease */
	ERR_BUSY,        /* throttled or down: try later, see retry_after_ms */
	ERR_UNCERTAIN,   /* a write was sent; its outcome is unknown */
	ERR_CORRUPT,     /* bytes that are not what they claim to be */
	ERR_UNSUPPORTED,
	ERR_CONFIG,
	ERR_USAGE,       /* the command line, or an API argument */
	ERR_IO,          /* files, memory map, operating system */
};

#define ERR_MSG_MAX  200
#define ERR_TEXT_MAX (2 * ERR_MSG_MAX + 2)

struct err {
	enum err_code code;
	int           detail;            /* HTTP status, CURLcode, errno or MDB_* */
	uint32_t      retry_after_ms;    /* ERR_BUSY: what the peer asked for, 0: nothing */
	char          msg[ERR_MSG_MAX];  /* one sentence without a full stop; no secrets */
	char          hint[ERR_MSG_MAX]; /* what to do next; empty: nothing to say */
};

/* Fills *e (NULL: only returns) and returns code, so that "return err_set(...)" is the whole
 * idiom. A message that is too long is cut at a UTF-8 boundary. Clears hint and retry_after_ms. */
enum err_code err_set(struct err *e, enum err_code code, int detail, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
enum err_code err_vset(struct err *e, enum err_code code, int detail, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));
/* err_set(ERR_IO, errno) with strerror appended after ": ". */
enum err_code err_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The next step for a person; e may be NULL. Returns e->code. */
enum err_code err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "message; hint", or the message alone. Returns ret. */
const char   *err_text(const struct err *e, char ret[ERR_TEXT_MAX]);
/* Puts "PREFIX: " before the message, once per layer that knows something new. Returns e->code. */
enum err_code err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes "PREFIX: " from its front again, where what is shown begins with that anyway. */
void          err_unprefix(struct err *e, const char *prefix);
void          err_clear(struct err *e);

/* "locked", "auth", "not_found" ...: error.kind of the JSON interface. Never NULL. */
const char   *err_kind(enum err_code code);

#endif
