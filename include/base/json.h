/* SPDX-License-Identifier: MIT */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * Writing JSON. Commas and nesting are looked after; a value inside an object
 * needs json_key() first. Invalid UTF-8 becomes U+FFFD. All names here keep clear of those of jansson, which is
 * linked too: the same symbol in both would be called by the library itself.
 */
#define JSON_WRITE_DEPTH 32

struct json_writer {
	struct buf *out;
	unsigned    depth;
	bool        comma[JSON_WRITE_DEPTH + 1], after_key;
};

void json_begin(struct json_writer *w, struct buf *out);
void json_obj(struct json_writer *w);
void json_obj_end(struct json_writer *w);
void json_arr(struct json_writer *w);
void json_arr_end(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);
void json_str(struct json_writer *w, const char *s);   /* NULL writes null */
void json_span(struct json_writer *w, struct span s);
void json_u64(struct json_writer *w, uint64_t v);
void json_i64(struct json_writer *w, int64_t v);
void json_f64(struct json_writer *w, double v);        /* at most 3 decimals */
void json_bool(struct json_writer *w, bool v);
void json_nil(struct json_writer *w);
void json_time(struct json_writer *w, int64_t wall_ms); /* RFC 3339; 0 writes null */
void json_raw(struct json_writer *w, struct span json); /* a finished value */

/* "key": value in one call. */
void json_kv_str(struct json_writer *w, const char *key, const char *s);
void json_kv_u64(struct json_writer *w, const char *key, uint64_t v);
void json_kv_i64(struct json_writer *w, const char *key, int64_t v);
void json_kv_bool(struct json_writer *w, const char *key, bool v);
void json_kv_time(struct json_writer *w, const char *key, int64_t wall_ms);

/* Appends s as Go's encoding/json prints a string, quotes included: lock bodies must be byte-equal to
 * what terraform would write (< > & and U+2028/2029 escaped). */
void json_go_string(struct buf *out, struct span s);

/*
 * Reading JSON of any size with little memory: feed pieces cut anywhere, events
 * come out. The whole grammar of RFC 8259 is checked; invalid UTF-8 inside strings and duplicate keys are
 * accepted, as terraform does; a byte order mark and bytes after the value are not.
 * A string longer than JSON_TEXT_MAX, and a number longer than JSON_NUMBER_MAX, is checked but reported
 * with cut = true and only its beginning. A \u escape of half a surrogate pair is decoded as U+FFFD.
 */
#define JSON_DEPTH_MAX  200
#define JSON_TEXT_MAX   4096
#define JSON_NUMBER_MAX 512

enum json_event {
	JSON_EV_OBJECT, JSON_EV_OBJECT_END, JSON_EV_ARRAY, JSON_EV_ARRAY_END, JSON_EV_KEY, JSON_EV_STRING, JSON_EV_NUMBER,
	JSON_EV_TRUE, JSON_EV_FALSE, JSON_EV_NULL,
};

struct json_token {
	enum json_event event;
	unsigned        depth;       /* of the container it is in: 0 for the top value; a start and its end have the same */
	struct span     text;        /* KEY, STRING: decoded; NUMBER: the token. Valid during the call */
	bool            cut;
	uint64_t        start, end;  /* byte offsets of the raw token in the input */
};

/* What the reader's user wants of the value that comes next: skipping is several times faster. */
enum json_want { JSON_WANT, JSON_SKIP_TEXT, JSON_STOP };

/* JSON_SKIP_TEXT after KEY: the value is checked, but nothing of it (and nothing inside it) is reported. After OBJECT and
 * ARRAY: the same for everything up to the end of that container, the end included. JSON_STOP ends with ERR_CANCELLED. */
typedef enum json_want json_event_fn(void *arg, const struct json_token *t);

struct json_reader;

/* fn NULL: only checks. */
struct json_reader *json_reader_new(json_event_fn *fn, void *arg);
void                json_reader_free(struct json_reader *r);
/* ERR_CORRUPT, or ERR_UNSUPPORTED beyond JSON_DEPTH_MAX, with the offset in the message; afterwards every call gives
 * the same error. */
enum err_code       json_feed(struct json_reader *r, const void *p, size_t n, struct err *reterr);
/* No more input: ERR_CORRUPT when the value is incomplete or absent. */
enum err_code       json_end(struct json_reader *r, struct err *reterr);

#endif
