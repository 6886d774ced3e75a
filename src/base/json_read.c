/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/json_skip.h"
#include "base/mem.h"
#include "base/utf8.h"

/*
 * A state machine over RFC 8259 that may stop between any two bytes. The common token lies whole in one
 * piece and is taken there without a copy; only one that is cut, or has escapes, is put together in text[].
 */
enum json_state {
	/* Between tokens: what may come next, blanks aside. */
	AT_VALUE,
	AT_FIRST_ITEM,  /* behind "[": a value or "]" */
	AT_FIRST_KEY,   /* behind "{": a key or "}" */
	AT_KEY,         /* behind "," in an object */
	AT_COLON,
	AT_NEXT,        /* behind a value: "," or the end of its container */
	AT_END,         /* behind the top value */
	/* Within a token. */
	IN_STRING,
	IN_ESCAPE,      /* behind the backslash */
	IN_HEX,         /* hex_left digits of a \u escape are missing */
	IN_NUMBER,
	IN_WORD,
};

enum json_number { NUM_MINUS, NUM_ZERO, NUM_INT, NUM_POINT, NUM_FRACTION, NUM_E, NUM_E_SIGN, NUM_EXPONENT };

struct json_reader {
	json_event_fn   *fn;
	void            *arg;
	enum json_state  state;
	enum json_number number;
	bool             is_key;       /* the string being read */
	bool             quiet;        /* no events until the value at quiet_depth has ended */
	unsigned         depth, quiet_depth;
	bool             in_object[JSON_DEPTH_MAX + 1];
	const uint8_t   *piece;        /* what json_feed() was called with ... */
	uint64_t         base;         /* ... and its place in the input */
	uint64_t         start;        /* of the current token */
	const char      *word;         /* what is left of true, false, null */
	enum json_event  word_event;
	unsigned         hex, hex_left, high; /* high: a surrogate that waits for its other half */
	bool             apart;        /* (part of) the token's text is in text[] */
	bool             cut;
	size_t           text_len;
	uint8_t          text[JSON_TEXT_MAX];
	struct err       err;
};

struct json_reader *
json_reader_new(json_event_fn *fn, void *arg)
{
	struct json_reader *r = xmalloc(sizeof(*r));

	memset(r, 0, offsetof(struct json_reader, text));
	err_clear(&r->err);
	r->fn = fn;
	r->arg = arg;
	r->quiet = fn == NULL;
	r->quiet_depth = UINT_MAX;
	return r;
}

void
json_reader_free(struct json_reader *r)
{
	if (r == NULL)
		return;
	mem_wipe(r->text, sizeof(r->text));
	free(r);
}

/* ---- how a step ends: with the next byte to read, or NULL after a failure ---- */

static uint64_t
json_offset(const struct json_reader *r, const uint8_t *p)
{
	return r->base + (uint64_t)(p - r->piece);
}

static const uint8_t *
json_bad(struct json_reader *r, const uint8_t *p, const char *what)
{
	err_set(&r->err, ERR_CORRUPT, 0, "byte %" PRIu64 ": %s", json_offset(r, p), what);
	return NULL;
}

static enum json_want
json_tell(struct json_reader *r, enum json_event event, struct span text, uint64_t end)
{
	struct json_token t = { event, r->depth, text, r->cut, r->start, end };
	enum json_want    want = r->fn(r->arg, &t);

	if (want == JSON_STOP)
		err_set(&r->err, ERR_CANCELLED, 0, "byte %" PRIu64 ": stopped by its reader", end);
	return want;
}

/* A scalar or a container has ended; p is behind it. */
static inline const uint8_t *
json_value_ends(struct json_reader *r, const uint8_t *p)
{
	r->state = r->depth == 0 ? AT_END : AT_NEXT;
	if (r->quiet && r->depth == r->quiet_depth)
		r->quiet = false;
	return p;
}

static inline const uint8_t *
json_scalar(struct json_reader *r, enum json_event event, struct span text, const uint8_t *p)
{
	if (!r->quiet && json_tell(r, event, text, json_offset(r, p)) == JSON_STOP)
		return NULL;
	return json_value_ends(r, p);
}

/* ---- containers ---- */

static inline const uint8_t *
json_open(struct json_reader *r, const uint8_t *p, bool object)
{
	enum json_want want;

	if (r->depth == JSON_DEPTH_MAX) {
		err_set(&r->err, ERR_UNSUPPORTED, 0, "byte %" PRIu64 ": nested deeper than JSON_DEPTH_MAX (%d)",
		    json_offset(r, p), JSON_DEPTH_MAX);
		return NULL;
	}
	if (!r->quiet) {
		r->start = json_offset(r, p);
		r->cut = false;
		want = json_tell(r, object ? JSON_EV_OBJECT : JSON_EV_ARRAY, span_of(p, 1), r->start + 1);
		if (want == JSON_STOP)
			return NULL;
		r->quiet = want == JSON_SKIP_TEXT;
		r->quiet_depth = r->depth;
	}
	r->in_object[++r->depth] = object;
	r->state = object ? AT_FIRST_KEY : AT_FIRST_ITEM;
	return p + 1;
}

static inline const uint8_t *
json_close(struct json_reader *r, const uint8_t *p)
{
	bool object = r->in_object[r->depth--];

	r->start = json_offset(r, p);
	r->cut = false;
	return json_scalar(r, object ? JSON_EV_OBJECT_END : JSON_EV_ARRAY_END, span_of(p, 1), p + 1);
}

/* ---- text of a token that does not lie whole in one piece ---- */

static void
json_save(struct json_reader *r, const uint8_t *p, size_t n, size_t max)
{
	r->apart = true;
	if (r->quiet || r->cut)
		return;
	if (n > max - r->text_len) {
		n = max - r->text_len;
		r->cut = true;
	}
	if (n > 0)
		memcpy(r->text + r->text_len, p, n);
	r->text_len += n;
}

/* A decoded escape goes in whole or not at all. */
static void
json_save_char(struct json_reader *r, uint32_t c)
{
	uint8_t utf8[4];
	size_t  n = utf8_put(utf8, c);

	if (n > JSON_TEXT_MAX - r->text_len)
		r->cut = true;
	json_save(r, utf8, n, JSON_TEXT_MAX);
}

/* The first half of a surrogate pair turned out to be alone: U+FFFD, as Go decodes it. */
static inline void
json_settle_surrogate(struct json_reader *r)
{
	if (r->high != 0) {
		r->high = 0;
		json_save_char(r, UTF8_BAD);
	}
}

static inline void
json_token_begins(struct json_reader *r, const uint8_t *p)
{
	r->start = json_offset(r, p);
	r->apart = r->cut = false;
	r->text_len = 0;
	r->high = 0;
}

/* The text of the token that ends before end; direct is where it lies when it is whole in this piece. */
static inline struct span
json_text(struct json_reader *r, const uint8_t *direct, const uint8_t *end, size_t max)
{
	size_t n = (size_t)(end - direct);

	if (r->quiet || r->apart)
		return span_of(r->text, r->text_len);
	r->cut = n > max;
	return span_of(direct, r->cut ? max : n);
}

/* ---- strings ---- */

/* p is at the closing quote. */
static inline const uint8_t *
json_string_ends(struct json_reader *r, struct span text, const uint8_t *p)
{
	enum json_want want;

	if (!r->is_key)
		return json_scalar(r, JSON_EV_STRING, text, p + 1);
	if (!r->quiet) {
		want = json_tell(r, JSON_EV_KEY, text, json_offset(r, p + 1));
		if (want == JSON_STOP)
			return NULL;
		r->quiet = want == JSON_SKIP_TEXT;
		r->quiet_depth = r->depth;
	}
	r->state = AT_COLON;
	return p + 1;
}

/* A \u escape is complete. */
static void
json_hex_ends(struct json_reader *r)
{
	uint32_t c = r->hex;

	if (r->quiet)
		return;
	if (r->high != 0 && c >= 0xDC00 && c <= 0xDFFF) {
		c = 0x10000 + ((r->high - 0xD800) << 10) + (c - 0xDC00);
		r->high = 0;
	}
	json_settle_surrogate(r);
	if (c >= 0xD800 && c <= 0xDBFF)
		r->high = c;
	else
		json_save_char(r, c >= 0xDC00 && c <= 0xDFFF ? UTF8_BAD : c);
}

static const uint8_t *
json_hex(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	for (; r->hex_left > 0 && p < end; p++, r->hex_left--) {
		unsigned c = *p;

		if (c >= '0' && c <= '9')
			c -= '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			c = (c | 0x20) - 'a' + 10;
		else
			return json_bad(r, p, "expected a hexadecimal digit");
		r->hex = r->hex << 4 | c;
	}
	if (r->hex_left == 0) {
		json_hex_ends(r);
		r->state = IN_STRING;
	}
	return p;
}

static const uint8_t *
json_escape(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char       *at;

	if (*p == 'u') {
		r->hex = 0;
		r->hex_left = 4;
		r->state = IN_HEX;
		return json_hex(r, p + 1, end);
	}
	at = *p == '\0' ? NULL : strchr(from, *p);
	if (at == NULL)
		return json_bad(r, p, "no such escape in a string");
	json_settle_surrogate(r);
	json_save(r, (const uint8_t *)&to[at - from], 1, JSON_TEXT_MAX);
	r->state = IN_STRING;
	return p + 1;
}

/* Goes on within a string that has an escape or was cut. */
static const uint8_t *
json_string_rest(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	const uint8_t *q = json_skip_plain(p, end);

	if (q > p) {
		json_settle_surrogate(r);
		json_save(r, p, (size_t)(q - p), JSON_TEXT_MAX);
	}
	if (q == end)
		return q;
	if (*q == '\\') {
		r->apart = true;
		r->state = IN_ESCAPE;
		return q + 1 < end ? json_escape(r, q + 1, end) : q + 1;
	}
	if (*q != '"')
		return json_bad(r, q, "control character in a string");
	json_settle_surrogate(r);
	return json_string_ends(r, span_of(r->text, r->text_len), q);
}

/* p is at the opening quote. */
static inline const uint8_t *
json_string(struct json_reader *r, const uint8_t *p, const uint8_t *end, bool is_key)
{
	const uint8_t *q;

	json_token_begins(r, p);
	r->is_key = is_key;
	q = json_skip_plain(p + 1, end);
	if (q < end && *q == '"')
		return json_string_ends(r, json_text(r, p + 1, q, JSON_TEXT_MAX), q);
	r->state = IN_STRING;
	r->apart = true;
	return json_string_rest(r, p + 1, end);
}

/* ---- numbers and words ---- */

/* Takes c into the number; false: it cannot come here. */
static bool
json_number_takes(enum json_number *n, uint8_t c)
{
	bool digit = c >= '0' && c <= '9';

	switch (*n) {
	case NUM_MINUS:
		*n = c == '0' ? NUM_ZERO : NUM_INT;
		return digit;
	case NUM_INT:
		if (digit)
			return true;
		__attribute__((fallthrough));
	case NUM_ZERO:
		if (c == '.')
			*n = NUM_POINT;
		else if (c == 'e' || c == 'E')
			*n = NUM_E;
		else
			return false;
		return true;
	case NUM_FRACTION:
		if (c == 'e' || c == 'E') {
			*n = NUM_E;
			return true;
		}
		return digit;
	case NUM_POINT:
		*n = NUM_FRACTION;
		return digit;
	case NUM_E:
		if (c == '+' || c == '-') {
			*n = NUM_E_SIGN;
			return true;
		}
		__attribute__((fallthrough));
	case NUM_E_SIGN:
		*n = NUM_EXPONENT;
		return digit;
	case NUM_EXPONENT:
		return digit;
	}
	return false;
}

static bool
json_number_whole(enum json_number n)
{
	return n == NUM_ZERO || n == NUM_INT || n == NUM_FRACTION || n == NUM_EXPONENT;
}

static const uint8_t *
json_number_rest(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	const uint8_t   *from = p;
	enum json_number n = r->number, next = n;

	while (p < end && json_number_takes(&next, *p)) {
		n = next;
		p++;
	}
	r->number = n;
	if (p == end || r->apart)
		json_save(r, from, (size_t)(p - from), JSON_NUMBER_MAX);
	if (p == end) {
		r->state = IN_NUMBER;
		return p;
	}
	if (!json_number_whole(n))
		return json_bad(r, p, "expected a digit");
	return json_scalar(r, JSON_EV_NUMBER, json_text(r, from, p, JSON_NUMBER_MAX), p);
}

static const uint8_t *
json_number(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	json_token_begins(r, p);
	r->number = NUM_MINUS;
	if (*p == '-')
		json_save(r, p++, 1, JSON_NUMBER_MAX);
	return json_number_rest(r, p, end);
}

static const uint8_t *
json_word_rest(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	for (; *r->word != '\0'; p++, r->word++) {
		if (p == end) {
			r->state = IN_WORD;
			return p;
		}
		if (*p != (uint8_t)*r->word)
			return json_bad(r, p, "expected true, false or null");
	}
	return json_scalar(r, r->word_event, span_of(NULL, 0), p);
}

static const uint8_t *
json_word(struct json_reader *r, const uint8_t *p, const uint8_t *end, const char *rest, enum json_event event)
{
	json_token_begins(r, p);
	r->word = rest;
	r->word_event = event;
	return json_word_rest(r, p + 1, end);
}

/* ---- the grammar ---- */

static inline const uint8_t *
json_value(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	switch (*p) {
	case '"':
		return json_string(r, p, end, false);
	case '{':
		return json_open(r, p, true);
	case '[':
		return json_open(r, p, false);
	case 't':
		return json_word(r, p, end, "rue", JSON_EV_TRUE);
	case 'f':
		return json_word(r, p, end, "alse", JSON_EV_FALSE);
	case 'n':
		return json_word(r, p, end, "ull", JSON_EV_NULL);
	default:
		if (*p == '-' || (*p >= '0' && *p <= '9'))
			return json_number(r, p, end);
		return json_bad(r, p, "expected a value");
	}
}

/* p is at the first byte of a token. */
static inline const uint8_t *
json_token(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	bool object = r->in_object[r->depth];

	switch (r->state) {
	case AT_FIRST_ITEM:
		if (*p == ']')
			return json_close(r, p);
		__attribute__((fallthrough));
	case AT_VALUE:
		return json_value(r, p, end);
	case AT_FIRST_KEY:
		if (*p == '}')
			return json_close(r, p);
		__attribute__((fallthrough));
	case AT_KEY:
		return *p == '"' ? json_string(r, p, end, true) : json_bad(r, p, "expected a key in quotes");
	case AT_COLON:
		if (*p != ':')
			return json_bad(r, p, "expected a colon");
		r->state = AT_VALUE;
		return p + 1;
	case AT_NEXT:
		if (*p == ',') {
			r->state = object ? AT_KEY : AT_VALUE;
			return p + 1;
		}
		if (*p == (object ? '}' : ']'))
			return json_close(r, p);
		return json_bad(r, p, object ? "expected a comma or }" : "expected a comma or ]");
	default:
		return json_bad(r, p, "more bytes behind the value");
	}
}

/* Goes on with the token that the piece before has cut. */
static const uint8_t *
json_resume(struct json_reader *r, const uint8_t *p, const uint8_t *end)
{
	switch (r->state) {
	case IN_STRING:
		return json_string_rest(r, p, end);
	case IN_ESCAPE:
		return json_escape(r, p, end);
	case IN_HEX:
		return json_hex(r, p, end);
	case IN_NUMBER:
		return json_number_rest(r, p, end);
	default:
		return json_word_rest(r, p, end);
	}
}

enum err_code
json_feed(struct json_reader *r, const void *piece, size_t n, struct err *reterr)
{
	const uint8_t *p = piece, *end = n == 0 ? p : p + n;

	if (r->err.code == ERR_OK) {
		r->piece = p;
		while (p != NULL && p < end) {
			if (r->state >= IN_STRING) {
				p = json_resume(r, p, end);
				continue;
			}
			p = json_skip_blanks(p, end);
			if (p < end)
				p = json_token(r, p, end);
		}
		r->base += n;
	}
	if (r->err.code != ERR_OK && reterr != NULL)
		*reterr = r->err;
	return r->err.code;
}

enum err_code
json_end(struct json_reader *r, struct err *reterr)
{
	static const uint8_t nothing;

	r->piece = &nothing;
	/* Only a number at the top has no byte of its own that ends it. */
	if (r->err.code == ERR_OK && r->state == IN_NUMBER && r->depth == 0 && json_number_whole(r->number))
		json_scalar(r, JSON_EV_NUMBER, span_of(r->text, r->text_len), &nothing);
	if (r->err.code == ERR_OK && r->state != AT_END)
		err_set(&r->err, ERR_CORRUPT, 0, "cut off after %" PRIu64 " bytes", r->base);
	if (r->err.code != ERR_OK && reterr != NULL)
		*reterr = r->err;
	return r->err.code;
}
