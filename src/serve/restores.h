/* SPDX-License-Identifier: MIT */
#ifndef SRC_SERVE_RESTORES_H
#define SRC_SERVE_RESTORES_H

#include "serve.h"

/* What restore and migrate have in common: writes that a person asked for, some at a time, each with a plan or a result. */
struct restore_item {
	char                 *backend, *name;
	char                 *to_name;      /* of a migration; NULL: nowhere */
	uint64_t              version;      /* of a restore; 0: not chosen */
	uint64_t              state, head, newest; /* newest: the version to go on with */
	bool                  chosen;       /* it is one of the results */
	struct err            why;          /* how it ended; ERR_CANCELLED before it began */
	const struct op      *running;      /* NULL: it did not begin, or has ended */
	struct restore_result result;
};

struct restores {
	struct call          *c;
	/* What comes first, and may be NULL; then each that is chosen and not refused yet. */
	struct op          *(*collect)(struct restores *x);
	struct op          *(*choose)(struct restores *x);
	struct op          *(*begin)(struct restores *x, struct restore_item *i);
	const char         *(*doing)(const struct op *op);
	void                (*more)(struct json_writer *w, const struct restores *x, const struct restore_item *i); /* members; NULL: none */
	void                (*finish)(struct restores *x); /* the rest of the document; NULL: none */
	const char           *kind, *verb;  /* "restore", "restoring" */
	struct err            none;         /* what is said when nothing is chosen */
	struct restore_item  *items;
	size_t                n, next, cap; /* next: the first that was not begun */
	size_t                choosing, done, failed;
	bool                  has_at, all;  /* all: one alone fails otherwise as itself */
	int64_t               at;           /* wall ms */
	char                 *to_backend, *to_name;
};

struct restore_item *restores_add(struct restores *x, const char *backend, const char *name);
void                 restores_free(struct restores *x);
/* All of it; x belongs to it. */
struct op           *restores_op(struct restores *x);

#endif
