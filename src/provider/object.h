/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_OBJECT_H
#define SRC_PROVIDER_OBJECT_H

#include "provider/reader.h"
#include "provider/send.h"

/*
 * One object of a store, read, looked at, written or deleted: what all drivers do alike. First member of a driver's own struct; what differs
 * is a table of functions, and the steps themselves.
 */
struct object;

struct object_driver {
	const char *store;  /* "S3" */
	const char *place;  /* what holds objects: "bucket" */
	size_t      name_max;
	const char *tag;    /* what each object has: "ETag" */
	const char *hint;   /* for an answer that comes from something else */
	bool      (*is_absent)(const struct object *o); /* does the answer say that the object is not there? Not of its place */
	void      (*refuse)(struct object *o, const char *what, struct err *reterr); /* what: "reading NAME" */
	/* A sum beside that of the reader, of what is read or written: anew, and of a piece more. */
	void      (*sum_begin)(struct object *o);
	void      (*sum_add)(struct object *o, const void *p, size_t n);
	/* Before a piece of a read: an error ends it. NULL: none. */
	enum err_code (*piece)(struct object *o, struct err *reterr);
	void      (*free)(struct object *o);            /* what is the driver's own */
};

struct object {
	struct op                   op;
	const struct object_driver *driver;
	struct backend             *b;
	const char                 *where;  /* the name of the place, the configuration's */
	char                       *name;   /* of the state */
	struct send_request         req;
	struct send_answer          ans;
	unsigned                    again;
	struct reader              *reader;
	struct snapshot            *ret;
	struct state_tag           *ret_tag;
	enum put_if                 when;
	char                        etag[ETAG_MAX]; /* asked for; "": any */
	char                       *version;        /* which one is read; NULL: the current one */
	struct body                *body;           /* to be written */
	char                       *ret_etag;
};

/* o: zeroed memory, which the op frees. where outlives it. */
void         object_init(struct object *o, const struct object_driver *driver, struct backend *b, const struct op_class *class,
    const char *where, const struct state_ref *ref);
void         object_free(struct op *op);
/* The op of an object whose name has n bytes; one that the store cannot hold fails: it is not there, and cannot be made. */
struct op   *object_op(struct object *o, size_t n);
/* What is asked of it. */
void         object_want(struct object *o, const char *etag);  /* NULL: any */
void         object_want_version(struct object *o, const char *version);
void         object_write(struct object *o, const struct snapshot *body, const struct put_condition *when, char ret_etag[ETAG_MAX]);

/* Ends of the op: by what the last answer says, as the functions of the driver tell; absence of the place is none of a state. */
enum op_turn object_refused(struct object *o, const char *doing);
enum op_turn object_unreadable(struct object *o, const char *doing);
enum op_turn object_absent(struct object *o);
enum op_turn object_changed(struct object *o);
enum op_turn object_unchanged(struct object *o);

/* o->req reads the content; its bytes go through the reader and the sum. */
void         object_reads(struct object *o);
/* Of an answer 200: is it that of an object (tagged), and is it all of it? Then ret has digest, info, time and body. */
bool         object_is_object(struct object *o, bool tagged, struct err *reterr);
bool         object_is_whole(struct object *o, struct err *reterr);
void         object_read_end(struct object *o);
/* What was read does not fit, and op.res says how: once more, from that state of the op, or that was the last time. */
enum op_turn object_read_again(struct object *o, int state);
/* The sum of the body that is to be written. */
struct op   *object_sum(struct object *o);
uint64_t     object_length(const struct send_answer *a);       /* Content-Length; UINT64_MAX: none */
int64_t      object_modified(const struct send_answer *a);
/* "application/zstd" of what ends so. */
const char  *object_type(const struct object *o);

#endif
