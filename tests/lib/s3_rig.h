/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_S3_RIG_H
#define TESTS_LIB_S3_RIG_H

#include "fake_s3.h"
#include "provider/provider.h"

/* A backend of the S3 driver on a virtual loop, in front of a fake store; environment and files are the test's own. */
struct s3_rig {
	struct loop       *loop;
	struct work       *work;
	struct fake_s3    *fake;
	struct conf       *conf;
	struct provider_env env;
	struct conf_source source;
	struct backend    *b;
	struct map        *vars, *files;   /* name, path -> text; borrowed */
	struct err         err;            /* outcome of the last op */
};

/* args: the body of the block; what it does not say comes from a default: bucket acme, region us-east-1, endpoint
 * and keys of the fake store. A test that wants none of these begins with "bare". */
void          s3_rig_open(struct s3_rig *r, const char *args);
/* For tests of refusals: r->err says why. NULL b then. */
enum err_code s3_rig_try(struct s3_rig *r, const char *args);
void          s3_rig_init(struct s3_rig *r);      /* before the two above, to set vars and files; done by them otherwise */
void          s3_rig_var(struct s3_rig *r, const char *name, const char *value);
void          s3_rig_file(struct s3_rig *r, const char *path, const char *text);
void          s3_rig_close(struct s3_rig *r);
/* Runs it to the end. */
enum err_code s3_rig_run(struct s3_rig *r, struct op *op);
/* The same, cancelled after ms of virtual time. */
enum err_code s3_rig_run_for(struct s3_rig *r, struct op *op, int64_t ms);
enum err_code s3_rig_get(struct s3_rig *r, const char *name, struct snapshot *ret);
enum err_code s3_rig_put(struct s3_rig *r, const char *name, const char *text, enum put_if when, const char *etag, char ret[ETAG_MAX]);

/* A lock of somebody else, as its bytes stand in a store; path: literal. */
#define S3_RIG_FOREIGN(path) "{\"ID\":\"28199e1c-3fc0-5817-efb1-6ca623fe2f7d\",\"Operation\":\"OperationTypeApply\",\"Info\":\"\"," \
	"\"Who\":\"root@vm\",\"Version\":\"1.11.4\",\"Created\":\"2026-11-22T00:44:48.913724782Z\",\"Path\":\"" path "\"}"

struct s3_race {
	unsigned unknown, held;            /* how often */
};

/* Two take the lock of name over a network that loses, cuts and delays one request in four, and give it back over one that works: "mine" is
 * never said to both, is never wrong, and any answer but "unknown" is the truth. parts: in how many places an id stands, of whole. Closes r. */
void s3_rig_race(struct s3_rig *r, const char *name, uint64_t seed, unsigned whole, unsigned (*parts)(struct s3_rig *r, const char *id),
    struct s3_race *sum);

#endif
