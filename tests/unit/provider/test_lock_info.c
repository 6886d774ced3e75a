/* SPDX-License-Identifier: MIT */
#include "../../lib/test.h"
#include "base/digest.h"
#include "provider/lock_info.h"

static const char go[] = "{\"ID\":\"i\",\"Operation\":\"OperationTypeApply\",\"Info\":\"\",\"Who\":\"root@vm\",\"Version\":\"1.11.4\","
                         "\"Created\":\"2026-11-22T00:46:12.54193991Z\",\"Path\":\"b/k\"}";

static void
there_and_back(void)
{
	struct lock_info l;
	struct err       e;
	struct buf       text;

	buf_init(&text, 0);
	CHECK_OK(lock_info_parse(span_str(go), &l, &e), e);
	CHECK_STR(l.who, "root@vm");
	CHECK_STR(l.path, "b/k");
	lock_info_body(&l, &text);
	CHECK_STR(buf_str(&text), go);
	CHECK(!lock_info_is_ours(&l));
	buf_free(&text);
}

/* OpenTofu names a blob by its URL, which carries the signature that it was reached by. */
static void
no_signature(void)
{
	static const char *const rows[][2] = { { "https://a.blob.core.windows.net/c/k?sv=1&sig=canary", "https://a.blob.core.windows.net/c/k" },
		{ "HTTP://a/c/k?sig=canary", "HTTP://a/c/k" }, { "bucket/what?.tfstate", "bucket/what?.tfstate" }, { "gs://b/a?.tflock", "gs://b/a?.tflock" } };
	struct lock_info l;
	struct buf       text;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buf_init(&text, 0);
		buf_printf(&text, "{\"ID\":\"i\",\"Path\":\"%s\"}", rows[i][0]);
		CHECK_U64(lock_info_parse(buf_span(&text), &l, NULL), ERR_OK);
		CHECK_STR(l.path, rows[i][1]);
		buf_free(&text);
	}
}

static void
tolerant(void)
{
	static const char *const bad[] = { "", "null", "[]", "\"x\"", "{", "locked", "{\"ID\":}" };
	struct lock_info         l;

	CHECK_U64(lock_info_parse(SPAN_LIT("{\"id\":\"a\",\"WHO\":\"w\",\"more\":{\"x\":1},\"Created\":17}"), &l, NULL), ERR_OK);
	CHECK_STR(l.id, "a");
	CHECK_STR(l.who, "w");
	CHECK_STR(l.created, "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_U64(lock_info_parse(span_str(bad[i]), &l, NULL), ERR_CORRUPT);
		CHECK_STR(l.id, "");
	}
}

static void
long_ones_are_cut(void)
{
	struct lock_info l;
	struct buf       text;

	buf_init(&text, 0);
	buf_puts(&text, "{\"ID\":\"");
	for (int i = 0; i < 1000; i++)
		buf_putc(&text, 'x');
	buf_puts(&text, "\"}");
	CHECK_U64(lock_info_parse(buf_span(&text), &l, NULL), ERR_OK);
	CHECK_U64(strlen(l.id), sizeof(l.id) - 1);
	for (int i = 0; i < LOCK_BODY_MAX; i++)
		buf_putc(&text, ' ');
	CHECK_U64(lock_info_parse(buf_span(&text), &l, NULL), ERR_CORRUPT);
	buf_free(&text);
}

static void
ours(void)
{
	static const struct { int64_t ms; const char *created; } times[] = { { 1795000000000, "2026-11-18T11:06:40Z" },
		{ 1795000000120, "2026-11-18T11:06:40.12Z" }, { 1795000000007, "2026-11-18T11:06:40.007Z" },
		{ 1795000000500, "2026-11-18T11:06:40.5Z" } };
	struct rand      r;
	struct lock_info l;
	struct buf       text;

	rand_seeded(&r, 1);
	buf_init(&text, 0);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		lock_info_make(&l, &r, times[i].ms, NULL, "h<o>\"st\n\xc3\xbc", "why & what", "p");
		CHECK_STR(l.created, times[i].created);
		CHECK(lock_info_is_ours(&l));
		CHECK_U64(strlen(l.id), 36);
	}
	lock_info_body(&l, &text);
	for (const char *p = buf_str(&text); *p != '\0'; p++)
		CHECK((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f && strchr("<>&\\", *p) == NULL);
	CHECK_STR(l.who, "stateferry@h?o?'st???");
	buf_free(&text);
}

static void
printed(void)
{
	struct lock_info l = { .id = "i", .who = "a\nb", .operation = "op" };
	struct buf       text;

	buf_init(&text, 0);
	lock_info_print(&l, &text);
	CHECK_STR(buf_str(&text), "a\\x0ab (op), ID i");
	buf_reset(&text);
	lock_info_print(&(struct lock_info){ .id = "" }, &text);
	CHECK_STR(buf_str(&text), "somebody, ID unknown");
	buf_free(&text);
}

static void
refused(void)
{
	struct lock_info l = { .who = "ann@laptop", .id = "1-2" };
	struct err       e = { 0 };

	CHECK_U64(lock_info_refuse(&l, ERR_LOCKED, 423, "prod/vpc", &e), ERR_LOCKED);
	CHECK_U64(e.code, ERR_LOCKED);
	CHECK(e.detail == 423);
	CHECK_STR(e.msg, "prod/vpc is locked by ann@laptop, ID 1-2");
}

/* Half of an id is drawn, the other says whose it is. */
static void
an_id_tells_its_agent(void)
{
	char        id[37], other[37];
	struct rand r;

	rand_seeded(&r, 7);
	for (unsigned i = 0; i < 1000; i++) {
		lock_id_make(&r, "4fb1", id);
		CHECK(lock_id_is_of(id, "4fb1") && !lock_id_is_of(id, "4fb2"));
		lock_id_make(&r, NULL, other);
		CHECK(!lock_id_is_of(other, "4fb1"));
		CHECK(strlen(id) == 36 && strncmp(id, other, 18) != 0);
		id[i % 36] = id[i % 36] == '0' ? '1' : '0';
		CHECK(!lock_id_is_of(id, "4fb1"));
	}
	CHECK(!lock_id_is_of("", "4fb1") && !lock_id_is_of("1700000000", "4fb1"));
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "there and back", there_and_back }, { "tolerant", tolerant },
	    { "no_signature", no_signature },
	    { "long ones are cut", long_ones_are_cut }, { "an id tells its agent", an_id_tells_its_agent }, { "ours", ours }, { "printed", printed }, { "refused", refused }, { NULL, NULL } });
}
