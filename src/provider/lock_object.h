/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_LOCK_OBJECT_H
#define SRC_PROVIDER_LOCK_OBJECT_H

#include "provider/provider.h"

/*
 * A lock that is an object, or a row, made by a conditional create with terraform's lock body in it (docs/protocol/locks.md). A refusal
 * may be the answer to our own first try, so ids are compared before anybody is said to hold it; and whatever becomes of a request
 * without an answer, the same body is written again, then looked for. Unlocking reads, compares, and removes what was read. The
 * requests, and what their answers mean, are a table of functions.
 */
enum lock_object_request { LOCK_OBJECT_PUT, LOCK_OBJECT_READ, LOCK_OBJECT_REMOVE };

enum lock_object_answer {
	LOCK_OBJECT_DONE,    /* of a put: k->there.generation is set, or "" */
	LOCK_OBJECT_THERE,   /* k->there is what holds it: of a read; of a put that says so when it is refused */
	LOCK_OBJECT_ABSENT,  /* of a read, or a removal: there is none. That of the bucket is a refusal */
	LOCK_OBJECT_UNMET,   /* the condition did not hold: a look tells */
	LOCK_OBJECT_RACED,   /* refused for another write in the act: may be repeated */
	LOCK_OBJECT_AGAIN,   /* of a removal: to be asked for otherwise, at once; the driver ends this */
	LOCK_OBJECT_REFUSED, /* refused() says how */
};

struct lock_object;

struct lock_object_driver {
	const char *store;      /* "S3", with the bytes that its names may have; 0: no matter */
	size_t      name_max;
	bool        compares;   /* a removal asks for the very bytes of our lock: no need to read first */
	struct op *(*request)(struct lock_object *k); /* k->asked; a removal is of k->there, as far as that was read */
	enum lock_object_answer (*answer)(struct lock_object *k);
	/* of the last answer; doing: "writing the lock ...". ERR_NOT_FOUND is about the bucket */
	void      (*refused)(struct lock_object *k, const char *doing, struct err *reterr);
	/* the create is refused again and again for an object that is not there */
	void      (*vanishing)(struct lock_object *k, struct err *reterr);
	void      (*held)(struct lock_object *k, bool held); /* it is ours, or no more; may be NULL */
	void      (*release)(struct lock_object *k);         /* what the driver's own struct holds */
};

/* First member of a driver's own struct. */
struct lock_object {
	struct op                        op;
	const struct lock_object_driver *driver;
	struct backend                  *b;
	char                            *name, *object; /* the state's; that of its lock, also for messages; owned */
	char                            *body;          /* what ours says, owned; NULL: nobody asked for ours */
	struct lock_info                 mine, there;   /* there: as just read */
	enum lock_object_request         asked;
	bool                             unread;        /* there is one, which cannot be read */
	/* --- the machine's own --- */
	struct lock_info                *ret, *ret_holder;
	unsigned                         tries, raced, bounced, busy;
	bool                             doubt;         /* a request is out whose outcome is unknown */
	bool                             met;           /* a put was refused for a lock that nobody has looked at: it may be ours */
};

/* k: zeroed memory of the heap; object: owned. Then one of the three, which ends as the provider's function of that name does. */
void       lock_object_init(struct lock_object *k, const struct lock_object_driver *driver, struct backend *b,
    const struct state_ref *ref, char *object);
struct op *lock_object_lock(struct lock_object *k, struct lock_info *l, struct lock_info *ret_holder);
struct op *lock_object_unlock(struct lock_object *k, const struct lock_info *l);
struct op *lock_object_peek(struct lock_object *k, struct lock_info *ret);
/* For answer(): k->there from a lock's body. One that is no lock locks too, as terraform sees it. */
void       lock_object_read(struct lock_object *k, struct span body);
/* What says no id goes by its tag, so that a person can name it. */
void       lock_object_name(struct lock_object *k, const char *tag);

#endif
