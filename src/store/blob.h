/* SPDX-License-Identifier: MIT */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/digest.h"
#include "loop/body.h"
#include "store/codec.h"
#include "store/store.h"

/*
 * Bodies at rest. A blob is the bytes of one digest, stored as one zstd frame, alone (a
 * keyframe) or with another blob's raw bytes as prefix (a delta). The frame lies in pieces of at most BLOB_PIECE bytes.
 * Numbers of blobs are dense and never reused.
 */
#define BLOB_PIECE      (STORE_CHUNK - 64)       /* with page header, format byte and seal: exactly 256 pages */
#define BLOB_COST_MAX   ((uint64_t)64 << 20)     /* sum of raw sizes that a read of a delta may have to decode */
#define BLOB_CHAIN_HARD 64                       /* a longer chain is damage */
#define BLOB_RAW_MAX    ((uint64_t)16 << 30)     /* a larger raw size is damage */
#define BLOB_LDM_ABOVE  ((uint64_t)8 << 20)
#define BLOB_LEVEL      3

struct blob {
	uint64_t        id;
	struct digest   digest;
	uint64_t        raw, stored;  /* bytes before and after compression */
	uint64_t        pieces;
	uint64_t        prefix;       /* blob whose raw bytes are the prefix; 0: keyframe */
	uint64_t        dictionary;   /* always 0: for a trained dictionary of a later format */
	uint64_t        depth;        /* deltas since the keyframe, at most (a rewrite above it only shortens) */
	uint64_t        cost;         /* raw bytes to decode for this one, at most */
	uint64_t        refs;         /* versions with these bytes */
	struct rec_list users;        /* blobs that have this one as prefix */
};

struct store_txn;
struct blob_coder;
struct stage;

/* false: absent, or unreadable (txn_failed() then). */
bool blob_find(struct store_txn *t, const struct digest *d, struct blob *ret);
bool blob_get(struct store_txn *t, uint64_t id, struct blob *ret);

/* Decodes into ret, behind what it holds; digest and size are verified (ERR_CORRUPT). */
enum err_code blob_decode(struct store_txn *t, const struct blob *b, struct buf *ret, struct err *reterr);
/* A keyframe of any size in bounded memory: sink sees one piece after the other. between() may end t's transaction
 * and begin another one; false stops. Digest and size are verified at the end. */
struct blob_sink {
	bool (*bytes)(void *arg, struct span part, struct err *reterr);   /* false: stops, with *reterr set */
	bool (*between)(void *arg, struct store_txn *t, struct err *reterr); /* NULL: nothing to do */
	void  *arg;
};
enum err_code blob_stream(struct store_txn *t, const struct blob *b, const struct blob_sink *sink, struct err *reterr);

/* --- the store thread's --- */

/* The compressor that the store thread keeps between versions, and drops when idle. */
struct blob_coder *blob_coder_new(void);
void               blob_coder_free(struct blob_coder *c);

/* One more version has these bytes: body goes into the store unless they are there. like may be NULL. */
bool blob_ref(struct store_txn *t, struct blob_coder *c, const struct digest *d, struct body *body,
    const struct digest *like);
/* Links a staged body as a blob with one reference. */
bool blob_link(struct store_txn *t, const struct digest *d, const struct stage *stage);
/* One version less; at zero the bytes go, and frames that depend on them are written anew. */
bool blob_unref(struct store_txn *t, struct blob_coder *c, const struct digest *d);

/* --- frames, without the store (frame.c) --- */

/* Appends src as one frame. prefix may be empty. ERR_IO when zstd refuses. */
enum err_code frame_encode(struct blob_coder *c, struct span prefix, struct span src, struct buf *out,
    struct err *reterr);

struct frame_decoder;
struct frame_decoder *frame_decoder_new(void);
void                  frame_decoder_free(struct frame_decoder *d);
/* Appends exactly raw bytes to ret; ERR_CORRUPT when frame is anything else. Nothing is allocated before the sizes
 * agree. */
enum err_code frame_decode(struct frame_decoder *d, struct span frame, struct span prefix, uint64_t raw,
    struct buf *ret, struct err *reterr);

/* One frame that comes in pieces: out() sees the bytes, never more than raw in all. Afterwards *ended says whether
 * the frame is complete. */
typedef bool frame_bytes_fn(void *arg, struct span part, struct err *reterr);
enum err_code frame_feed(struct frame_decoder *d, struct span piece, uint64_t raw, frame_bytes_fn *out, void *arg,
    bool *ended, struct err *reterr);

/* A body that is read and written in pieces: out() sees pieces of BLOB_PIECE bytes, the last one shorter. The digest of
 * what was read must be want (ERR_CORRUPT). */
enum err_code frame_encode_body(const struct body *body, const struct digest *want, frame_bytes_fn *out, void *arg,
    struct err *reterr);

#endif
