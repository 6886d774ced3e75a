/* SPDX-License-Identifier: MIT */
#include <sys/resource.h>

#include "state_rig.h"

/* The top level of a state, what is none, and limits. */

/* --- the header --- */

static void
reads_headers(void)
{
	struct state_info i = scan_text(" {'serial': 42 ,'version':4,'lineage':'a\\u0062','terraform_version':'1.2\\n3'}");

	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.serial, 42);
	CHECK(i.has_serial);
	CHECK_U64(i.serial_start, 12);
	CHECK_U64(i.serial_end, 14);
	CHECK_STR(i.lineage, "ab");
	CHECK_U64(i.lineage_end - i.lineage_start, 9);
	CHECK_STR(i.writer, "1.23");

	i = scan_text("{'version':4}");
	CHECK_U64(i.kind, STATE_V4);
	CHECK(!i.has_serial && i.serial == 0 && i.serial_start == i.serial_end && i.lineage_start == i.lineage_end);
	CHECK_STR(i.lineage, "");
	CHECK_U64(i.resources + i.instances + i.deposed + i.outputs, 0);

	/* As in Go: without regard to case, the last one counts, null is nothing. */
	i = scan_text("{'VERSION':3,'Serial':1,'serial':7,'version':4,'serial':null,'lineage':'a','lineage':'bb'}");
	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.serial, 7);
	CHECK_U64(i.serial_end - i.serial_start, 1);
	CHECK_STR(i.lineage, "bb");

	/* Only the top level counts. */
	i = scan_text("{'outputs':{'serial':{'serial':5},'x':{'outputs':{}}},'version':4,'serial':6,'resources':"
	    "[{'mode':'data','type':'t','name':'n','serial':8,'instances':[{'serial':9,'version':1}]}]}");
	CHECK_U64(i.kind, STATE_V4);
	CHECK_U64(i.serial, 6);
	CHECK_U64(i.outputs, 2);
}

static void
judges_headers(void)
{
	char        long_lineage[STATE_LINEAGE_MAX + 64];
	struct buf  b;

	check_kind("", STATE_EMPTY, "zero bytes");
	check_kind(" \r\n\t", STATE_EMPTY, "nothing but blanks");
	check_kind("{}", STATE_DAMAGED, "JSON without version");
	check_kind("'x'", STATE_DAMAGED, "JSON, but no object");
	check_kind("[{'version':4}]", STATE_DAMAGED, "JSON, but an array instead of an object");
	check_kind("{'version':null}", STATE_DAMAGED, "JSON without version");
	check_kind("{'version':4,'version':null}", STATE_DAMAGED, "JSON without version");
	check_kind("{'version':4.0}", STATE_DAMAGED, "version is not a positive whole number");
	check_kind("{'version':-4}", STATE_DAMAGED, "version is not a positive whole number");
	check_kind("{'version':{'version':4}}", STATE_DAMAGED, "version is not a number");
	check_kind("{'version':0}", STATE_UNREADABLE, "format version 0 is not known");
	check_kind("{'version':18446744073709551615}", STATE_UNREADABLE, "format version 4294967295 is not known");
	check_kind("{'version':4,'serial':18446744073709551615}", STATE_V4, "");
	check_kind("{'version':4,'serial':18446744073709551616}", STATE_DAMAGED, "serial is greater than 2^64-1");
	check_kind("{'version':4,'serial':99999999999999999999999}", STATE_DAMAGED, "serial is greater than 2^64-1");
	check_kind("{'version':4,'serial':1e3}", STATE_DAMAGED, "serial is not a whole number");
	check_kind("{'version':4,'serial':-0}", STATE_DAMAGED, "serial is negative");
	check_kind("{'version':4,'serial':'4'}", STATE_DAMAGED, "serial is not a number");
	check_kind("{'version':4,'serial':{'serial':4}}", STATE_DAMAGED, "serial is not a number");
	check_kind("{'version':4,'serial':1,'lineage':7}", STATE_DAMAGED, "lineage is not a string");
	check_kind("{'version':4,'terraform_version':1.2}", STATE_DAMAGED, "terraform_version is not a string");
	check_kind("{'version':4,'outputs':{'a':{'value':1},'b':1}}", STATE_DAMAGED, "an output is not an object");
	check_kind("{'version':4,'check_results':{}}", STATE_DAMAGED, "check_results is not an array");
	check_kind("{'version':4,'check_results':[{'status':'pass'}]}", STATE_V4, "");
	check_kind("{'version':4,'outputs':[]}", STATE_DAMAGED, "outputs is not an object");
	check_kind("{'version':4,'resources':{}}", STATE_DAMAGED, "resources is not an array");
	check_kind("{'version':4,'outputs':null,'resources':null,'lineage':null}", STATE_V4, "");
	check_kind("{'version':4,'lineage':'a\\u0000b'}", STATE_UNREADABLE,
	    "lineage has a NUL or is longer than STATE_LINEAGE_MAX");

	memset(long_lineage, 'l', sizeof(long_lineage));
	for (size_t n = STATE_LINEAGE_MAX - 1; n <= STATE_LINEAGE_MAX; n++) {
		buf_init(&b, 0);
		buf_printf(&b, "{'version':4,'lineage':'%.*s'}", (int)n, long_lineage);
		check_kind(buf_str(&b), n < STATE_LINEAGE_MAX ? STATE_V4 : STATE_UNREADABLE,
		    n < STATE_LINEAGE_MAX ? "" : "lineage has a NUL or is longer than STATE_LINEAGE_MAX");
		buf_free(&b);
	}
}

static void
explains_other_bytes(void)
{
	struct state_info info;

	check_kind("\r\n<!DOCTYPE html>", STATE_DAMAGED, "HTML page");
	check_kind("<HTML><head>", STATE_DAMAGED, "HTML page");
	check_kind("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", STATE_DAMAGED,
	    "XML (looks like an error answer)");
	check_kind("{'error':{'code':404}}", STATE_DAMAGED, "JSON without version (looks like an error answer)");
	check_kind("{'Message':'denied'}", STATE_DAMAGED, "JSON without version (looks like an error answer)");
	check_kind("404 page not found\n", STATE_DAMAGED, "not JSON: byte 4: more bytes behind the value");
	check_kind("Not Found", STATE_DAMAGED, "not JSON: byte 0: expected a value");
	check_kind("\x1f\x8b\x08", STATE_DAMAGED, "gzip data");
	check_kind("\x28\xb5\x2f\xfd\x04", STATE_DAMAGED, "zstd data");
	check_kind("PK\x03\x04 plan", STATE_DAMAGED, "a zip file (a plan is one)");
	check_kind("\xff\xfe{", STATE_DAMAGED, "UTF-16 text");
	check_kind("version https://git-lfs.github.com/spec/v1\n", STATE_DAMAGED, "a Git LFS pointer");
	state_scan_all(SPAN_LIT("\0\0\0\0\0\0\0\0"), &info);
	CHECK_STR(info.why, "NUL bytes");
	CHECK_U64(info.kind, STATE_DAMAGED);
}

static void
knows_envelopes(void)
{
	struct state_info i = scan_text("{'serial':3,'lineage':'l','meta':{'k':'e30='},'encrypted_data':'AA==',"
	    "'encryption_version':'v0'}");

	CHECK_U64(i.kind, STATE_ENCRYPTED);
	CHECK_U64(i.version, 0);
	CHECK_U64(i.serial, 3);
	CHECK_STR(i.lineage, "l");
	check_kind("{'encrypted_data':'AA==','encryption_version':'v0'}", STATE_ENCRYPTED, "");
	check_kind("{'encrypted_data':'AA==','encryption_version':'v1'}", STATE_UNREADABLE,
	    "an OpenTofu envelope of an encryption_version that is not known");
	check_kind("{'serial':3,'encryption_version':'v0'}", STATE_DAMAGED, "an OpenTofu envelope without encrypted_data");
	check_kind("{'encrypted_data':'AA==','encryption_version':''}", STATE_DAMAGED, "JSON without version");
	check_kind("{'encrypted_data':'AA==','encryption_version':0}", STATE_DAMAGED, "encryption_version is not a string");
	check_kind("{'encrypted_data':'AA==','encryption_version':'v0','serial':-1}", STATE_DAMAGED, "serial is negative");
	/* With a version it is a state that has an unknown key. */
	check_kind("{'version':4,'encrypted_data':'AA==','encryption_version':'v0'}", STATE_V4, "");
}

/* --- limits --- */

static void
feed(struct state_scan *s, const char *text)
{
	state_scan_feed(s, text, strlen(text));
}

/* Instances of one resource, keys 0 to n-1 and then again those from again on. */
static void
feed_instances(struct state_scan *s, unsigned n, unsigned again)
{
	char text[64];

	feed(s, "\"instances\":[");
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s{\"index_key\":%u}", i == 0 ? "" : ",", i);
		feed(s, text);
	}
	for (unsigned i = again; i < n; i++) {
		snprintf(text, sizeof(text), ",{\"index_key\":%u}", i);
		feed(s, text);
	}
	feed(s, "]");
}

struct tally {
	uint64_t n;
	char     first[64], last[64];
};

static void
tally_object(void *arg, const struct state_object *o)
{
	struct tally *t = arg;

	if (t->n++ == 0)
		snprintf(t->first, sizeof(t->first), "%.*s", (int)o->address.n, (const char *)o->address.p);
	snprintf(t->last, sizeof(t->last), "%.*s", (int)o->address.n, (const char *)o->address.p);
}

#define MANY 200000u /* more than fit STATE_WAITING_MAX */

static void
reads_many_instances(void)
{
	struct tally       t = { 0 };
	struct state_info  info;
	struct state_scan *s = state_scan_new(tally_object, &t);

	feed(s, "{\"version\":4,\"resources\":[{\"mode\":\"managed\",\"type\":\"t\",\"name\":\"n\",");
	feed_instances(s, MANY, MANY);
	feed(s, "}]}");
	state_scan_end(s, &info);
	state_scan_free(s);
	CHECK_STR(info.why, "");
	CHECK_U64(info.instances, MANY);
	CHECK_U64(t.n, MANY);
	CHECK_STR(t.first, "t.n[0]");
	CHECK_STR(t.last, "t.n[199999]");

	/* A repetition next to its twin is found, however many there are. */
	s = state_scan_new(NULL, NULL);
	feed(s, "{\"version\":4,\"resources\":[{\"mode\":\"managed\",\"type\":\"t\",\"name\":\"n\",");
	feed_instances(s, MANY, MANY - 1);
	feed(s, "}]}");
	state_scan_end(s, &info);
	state_scan_free(s);
	CHECK_STR(info.why, "an instance of t.n is there twice");
}

/* With the names behind them instances must wait, and there is an end to that: the same with and without a listener. */
static void
limits_waiting(void)
{
	static const struct {
		unsigned        n;
		enum state_kind kind;
	} rows[] = { { 100000, STATE_V4 }, { MANY, STATE_UNREADABLE } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int listens = 0; listens < 2; listens++) {
			struct tally       t = { 0 };
			struct state_info  info;
			struct state_scan *s = state_scan_new(listens ? tally_object : NULL, &t);

			feed(s, "{\"version\":4,\"resources\":[{");
			feed_instances(s, rows[i].n, rows[i].n);
			feed(s, ",\"mode\":\"data\",\"name\":\"n\",\"type\":\"t\"}]}");
			state_scan_end(s, &info);
			state_scan_free(s);
			CHECK_U64(info.kind, rows[i].kind);
			CHECK_STR(info.why, rows[i].kind == STATE_V4 ? ""
			    : "instances before their resource's name exceed STATE_WAITING_MAX");
			if (listens && rows[i].kind == STATE_V4)
				CHECK_U64(t.n, rows[i].n);
		}
}

static void
limits_depth(void)
{
	struct state_info info;
	struct buf        b;

	for (unsigned depth = 198; depth <= 200; depth++) {
		buf_init(&b, 0);
		buf_puts(&b, "{\"version\":4,\"outputs\":");
		for (unsigned i = 0; i < depth; i++)
			buf_puts(&b, "{\"a\":");
		buf_puts(&b, "1");
		for (unsigned i = 0; i < depth; i++)
			buf_putc(&b, '}');
		buf_putc(&b, '}');
		state_scan_all(buf_span(&b), &info);
		CHECK_U64(info.kind, depth < 200 ? STATE_V4 : STATE_UNREADABLE);
		CHECK(depth < 200 || strstr(info.why, "JSON_DEPTH_MAX") != NULL);
		buf_free(&b);
	}
}

/* Long strings and numbers, many objects: the process does not grow with them. */
static void
stays_small(void)
{
	static char        piece[1 << 20];
	struct rusage      before, after;
	struct state_info  info;
	struct state_scan *s = state_scan_new(NULL, NULL);
	unsigned           n = 0;

	getrusage(RUSAGE_SELF, &before);
	memset(piece, 'x', sizeof(piece));
	feed(s, "{\"version\":4,\"lineage\":\"l\",\"terraform_version\":\"");
	for (int i = 0; i < 128; i++)
		state_scan_feed(s, piece, sizeof(piece));
	feed(s, "\",\"x\":");
	memset(piece, '1', sizeof(piece));
	for (int i = 0; i < 16; i++)
		state_scan_feed(s, piece, sizeof(piece));
	feed(s, ",\"resources\":[");
	while (n < 600000) {
		size_t len = 0;

		while (len + 128 < sizeof(piece) && n++ < 600000)
			len += (size_t)snprintf(piece + len, 128, "%s{\"mode\":\"data\",\"type\":\"t\",\"name\":\"n%u\",\"instances\":[{}]}",
			    n == 1 ? "" : ",", n);
		state_scan_feed(s, piece, len);
	}
	feed(s, "]}");
	state_scan_end(s, &info);
	state_scan_free(s);
	getrusage(RUSAGE_SELF, &after);
	CHECK_STR(info.why, "");
	CHECK_U64(strlen(info.writer), STATE_WRITER_MAX - 1);
	CHECK_U64(info.instances, 600000);
	CHECK(after.ru_maxrss - before.ru_maxrss < 12 * 1024);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "reads headers", reads_headers },
	    { "judges headers", judges_headers },
	    { "explains other bytes", explains_other_bytes },
	    { "knows envelopes", knows_envelopes },
	    { "reads many instances", reads_many_instances },
	    { "limits waiting", limits_waiting },
	    { "limits depth", limits_depth },
	    { "stays small", stays_small },
	    { NULL, NULL },
	});
}
