/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "base/err.h"
#include "base/utf8.h"
#include "../../lib/test.h"

static struct err e;

static void
sets_and_returns(void)
{
	e.retry_after_ms = 7;
	strcpy(e.hint, "old");
	CHECK(err_set(&e, ERR_CONFLICT, 412, "%s: serial %d is newer", "prod/vpc", 9) == ERR_CONFLICT);
	CHECK(e.code == ERR_CONFLICT && e.detail == 412 && e.retry_after_ms == 0);
	CHECK_STR(e.msg, "prod/vpc: serial 9 is newer");
	CHECK_STR(e.hint, "");
	CHECK(err_set(NULL, ERR_IO, 5, "nobody listens %d", 1) == ERR_IO);
	CHECK(err_hint(NULL, "x") == ERR_OK && err_prefix(NULL, "x") == ERR_OK && err_errno(NULL, EIO, "x") == ERR_IO);
	err_clear(&e);
	CHECK(e.code == ERR_OK && e.detail == 0);
	CHECK_STR(e.msg, "");
}

static void
names_errno(void)
{
	CHECK(err_errno(&e, ENOENT, "open %s", "/x") == ERR_IO);
	CHECK_U64(e.detail, ENOENT);
	CHECK_STR(e.msg, "open /x: No such file or directory");
}

static void
adds_context(void)
{
	err_set(&e, ERR_AUTH, 403, "access denied");
	CHECK(err_hint(&e, "check %s", "AWS_PROFILE") == ERR_AUTH);
	CHECK(err_prefix(&e, "push %s", "prod/vpc") == ERR_AUTH);
	CHECK_STR(e.msg, "push prod/vpc: access denied");
	CHECK_STR(e.hint, "check AWS_PROFILE");
	CHECK(e.detail == 403);
}

static void
takes_context_away(void)
{
	err_set(&e, ERR_AUTH, 403, "dr: dr: access denied");
	err_unprefix(&e, "d");
	CHECK_STR(e.msg, "dr: dr: access denied");
	err_unprefix(&e, "dr");
	CHECK_STR(e.msg, "dr: access denied");
	err_unprefix(&e, "dr");
	err_unprefix(&e, "dr");
	CHECK_STR(e.msg, "access denied");
	CHECK(e.code == ERR_AUTH && e.detail == 403);
}

/* An error is often made from the one before. */
static void
arguments_may_lie_inside(void)
{
	err_set(&e, ERR_IO, 0, "first");
	err_set(&e, ERR_BUSY, 0, "second after %s", e.msg);
	CHECK_STR(e.msg, "second after first");
	err_hint(&e, "why: %s", e.msg);
	CHECK_STR(e.hint, "why: second after first");
	err_prefix(&e, "%s", e.msg);
	CHECK_STR(e.msg, "second after first: second after first");
	err_errno(&e, EIO, "%s", e.msg);
	CHECK_STR(e.msg, "second after first: second after first: Input/output error");
}

/* Whatever is cut, at each offset of each character length: as much as fits, never half a character. */
static void
cuts_between_characters(void)
{
	static const char *const chars[] = { "x", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x94\x92" };
	char                     text[2 * ERR_MSG_MAX];

	for (size_t c = 0; c < 4; c++) {
		size_t len = strlen(chars[c]);

		for (size_t shift = 0; shift < 4; shift++) {
			memset(text, 'a', shift);
			text[shift] = '\0';
			for (size_t at = shift; at + len < sizeof(text) - 1; at += len)
				strcpy(text + at, chars[c]);
			err_set(&e, ERR_IO, 0, "%s", text);
			CHECK(utf8_valid(span_str(e.msg)));
			CHECK_U64(strlen(e.msg), shift + (ERR_MSG_MAX - 1 - shift) / len * len);
			err_prefix(&e, "%s", text);
			CHECK(utf8_valid(span_str(e.msg)));
			err_hint(&e, "%s", text);
			CHECK(utf8_valid(span_str(e.hint)));
			CHECK_U64(strlen(e.hint), shift + (ERR_MSG_MAX - 1 - shift) / len * len);
			err_errno(&e, EIO, "%s", text);
			CHECK(utf8_valid(span_str(e.msg)));
		}
	}
}

static void
kinds_are_words(void)
{
	CHECK_STR(err_kind(ERR_OK), "ok");
	CHECK_STR(err_kind(ERR_AUTH), "auth");
	CHECK_STR(err_kind(ERR_NOT_FOUND), "not_found");
	CHECK_STR(err_kind(ERR_LOCKED), "locked");
	CHECK_STR(err_kind(ERR_CONFLICT), "held");
	CHECK_STR(err_kind(ERR_CONFIG), "config");
	CHECK_STR(err_kind(ERR_IO), "io");
	CHECK_STR(err_kind((enum err_code)99), "error");
	for (int i = 0; i <= ERR_IO; i++)
		for (int j = 0; j < i; j++)
			CHECK(strcmp(err_kind((enum err_code)i), err_kind((enum err_code)j)) != 0);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "sets and returns", sets_and_returns },
		{ "names errno", names_errno },
		{ "adds context", adds_context },
		{ "takes context away", takes_context_away },
		{ "arguments may lie inside the error", arguments_may_lie_inside },
		{ "cuts between characters", cuts_between_characters },
		{ "kinds are words", kinds_are_words },
		{ NULL, NULL },
	    });
}
