/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CRASH_RECORD_H
#define TESTS_CRASH_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What the store asked of the kernel, in order: this program's own write functions stand in place of the C library's
 * and note what goes to a store's data.mdb and host file before they pass it on. Nothing is really flushed: a power cut is
 * made from the notes. Everything happens on one thread, which a virtual loop sees to.
 */
enum record_kind {
	REC_WRITE,       /* to data.mdb; durable: through O_DSYNC */
	REC_FLUSH,       /* of data.mdb */
	REC_HOST_WRITE,  /* host.new has these bytes */
	REC_HOST_SYNC,
	REC_HOST_RENAME, /* host.new is host */
	REC_DIR_SYNC,
	REC_ACK,         /* the workload saw a batch end well; off: its number */
};

struct record {
	enum record_kind kind;
	off_t    off;
	size_t   n;
	uint8_t *data;
	bool     durable;
};

struct recording {
	struct record *all;
	size_t n, cap;
	char   host[512]; /* what host.new has */
};

/* From here on into r, until NULL; what r has stays. */
void record_into(struct recording *r);
void record_ack(uint64_t number);
void record_free(struct recording *r);
/* How many of a kind. */
size_t record_count(const struct recording *r, enum record_kind kind);

#endif
