/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/utf8.h"
#include "base/rand.h"
#include "../../lib/test.h"

static int64_t
fixed_ms(const struct clock *c)
{
	(void)c;
	return INT64_C(1795435200123);
}

static const struct clock fixed = { fixed_ms, fixed_ms, NULL };

#define WHEN "2026-11-23T12:00:00.123Z "

static char line[8192];
static int  lines;

static void
sink(void *arg, const char *text)
{
	(void)arg;
	snprintf(line, sizeof(line), "%s", text);
	lines++;
}

static void
begin(enum log_level level, bool json)
{
	log_setup(level, json, &fixed);
	log_sink(sink, NULL);
	line[0] = '\0';
	lines = 0;
}

static void
text_lines(void)
{
	begin(LOG_DEBUG, false);
	log_event(LOG_INFO, "replicate live-to-dr prod/vpc", "written", { "serial", log_u64(9) },
	    { "size", log_u64(51234) }, { "sha256", log_str("ab12cd34ef56") }, { "took", log_ms(41) });
	CHECK_STR(line,
	    WHEN "info  replicate live-to-dr prod/vpc: written serial=9 size=51234 sha256=ab12cd34ef56 took=41ms");
	log_at(LOG_ERROR, "push", "%s: %d", "refused", 403);
	CHECK_STR(line, WHEN "error push: refused: 403");
	log_at(LOG_WARN, "push", "slow");
	CHECK_STR(line, WHEN "warn  push: slow");
	log_at(LOG_DEBUG, NULL, "ready");
	CHECK_STR(line, WHEN "debug ready");
	log_at(LOG_INFO, "", "ready");
	CHECK_STR(line, WHEN "info  ready");
	log_event(LOG_INFO, "x", "y", { "none", log_str(NULL) }, { "i", log_i64(-5) }, { "u", log_u64(UINT64_MAX) });
	CHECK_STR(line, WHEN "info  x: y i=-5 u=18446744073709551615");
}

static void
levels(void)
{
	static const enum log_level all[] = { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

	for (size_t i = 0; i < 4; i++) {
		begin(all[i], false);
		CHECK(log_level_get() == all[i]);
		for (size_t k = 0; k < 4; k++) {
			CHECK(log_on(all[k]) == (k <= i));
			log_at(all[k], "x", "y");
			log_event(all[k], "x", "y", { "a", log_u64(1) });
		}
		CHECK_U64(lines, 2 * (i + 1));
	}
}

static void
values_are_quoted(void)
{
	begin(LOG_INFO, false);
	log_event(LOG_INFO, "x", "y", { "a", log_str("two words") }, { "b", log_str("") }, { "c", log_str("k=v") },
	    { "d", log_str("say \"hi\"") }, { "e", log_str("a\\ b\\") }, { "f", log_str("plain-\xc3\xbc/ok") });
	CHECK_STR(line, WHEN "info  x: y a=\"two words\" b=\"\" c=\"k=v\" "
	    "d=\"say \\\"hi\\\"\" e=\"a\\\\ b\\\\\" f=plain-\xc3\xbc/ok");
}

/* A name or an answer of a server with a line feed in it is one line; nothing reaches the terminal as a command. */
static void
control_bytes_are_escaped(void)
{
	begin(LOG_INFO, false);
	log_event(LOG_INFO, "a\nb", "c\r\n\x1b[31m\x7f", { "v", log_str("x\ny") }, { "w", log_str("\xc2\x9b" "31m") },
	    { "z", log_str("\xff" "ok\xc3") });
	CHECK_STR(line,
	    WHEN "info  a\\x0ab: c\\x0d\\x0a\\x1b[31m\\x7f v=\"x\\x0ay\" w=\"\\xc2\\x9b31m\" z=\"\\xffok\\xc3\"");
}

static void
long_texts_are_cut(void)
{
	char text[3 * LOG_FIELD_MAX];

	for (size_t shift = 0; shift < 3; shift++) {
		memset(text, 'x', sizeof(text));
		for (size_t i = shift; i + 3 < sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		text[sizeof(text) - 1] = '\0';
		size_t kept = shift + (LOG_FIELD_MAX - shift) / 3 * 3;

		begin(LOG_INFO, false);
		log_event(LOG_INFO, text, text, { "v", log_str(text) });
		CHECK_U64(strlen(line), strlen(WHEN "info  : ") + strlen(" v=") + 3 * (kept + 3));
		CHECK(utf8_valid(span_str(line)) && strstr(line, "\\x") == NULL);
		CHECK(strcmp(line + strlen(line) - 3, "...") == 0);
		log_at(LOG_INFO, "x", "%s", text);
		CHECK_U64(strlen(line), strlen(WHEN "info  x: ") + kept + 3);
	}
	memset(text, 'y', LOG_FIELD_MAX);
	text[LOG_FIELD_MAX] = '\0';
	log_at(LOG_INFO, "x", "%s", text);
	CHECK(strstr(line, "...") == NULL && strlen(line) == strlen(WHEN "info  x: ") + LOG_FIELD_MAX);
}

static void
json_lines(void)
{
	begin(LOG_DEBUG, true);
	log_event(LOG_INFO, "replicate e prod/vpc", "written", { "serial", log_u64(UINT64_MAX) },
	    { "took", log_ms(41) }, { "none", log_str(NULL) }, { "delta", log_i64(-3) },
	    { "name", log_str("a \"b\"\n") });
	CHECK_STR(line,
	    "{\"time\":\"2026-11-23T12:00:00.123Z\",\"level\":\"info\",\"op\":\"replicate e prod/vpc\","
	    "\"msg\":\"written\","
	    "\"serial\":18446744073709551615,\"took\":41,\"delta\":-3,\"name\":\"a \\\"b\\\"\\n\"}");
	log_at(LOG_WARN, NULL, "ready");
	CHECK_STR(line, "{\"time\":\"2026-11-23T12:00:00.123Z\",\"level\":\"warn\",\"op\":\"\",\"msg\":\"ready\"}");
}

/* Whatever bytes come: one line of valid UTF-8 without control characters, and as JSON one document. */
static void
property_any_bytes_give_one_line(void)
{
	struct rand r;
	char        text[1500];

	rand_seeded(&r, 20);
	for (int i = 0; i < 4000; i++) {
		size_t n = (size_t)rand_below(&r, rand_below(&r, 10) == 0 ? sizeof(text) : 30);

		rand_bytes(&r, text, n);
		for (size_t k = 0; k < n; k++)
			if (text[k] == '\0' || rand_below(&r, 3) == 0)
				text[k] = "\xc2\x85\xe2\x82\xac\n\"\\= a"[rand_below(&r, 11)];
		text[n < sizeof(text) ? n : n - 1] = '\0';
		begin(LOG_INFO, i % 2 == 0);
		log_event(LOG_INFO, text, text, { "v", log_str(text) });
		CHECK_U64(lines, 1);
		CHECK(utf8_valid(span_str(line)));
		for (const char *p = line; *p != '\0'; p++)
			CHECK((unsigned char)*p >= 0x20);
		if (i % 2 != 0)
			continue;
		struct json_reader *j = json_reader_new(NULL, NULL);

		CHECK(json_feed(j, line, strlen(line), NULL) == ERR_OK && json_end(j, NULL) == ERR_OK);
		json_reader_free(j);
	}
}

static void
goes_to_stderr(void)
{
	char  path[512], text[256];
	int   saved = dup(STDERR_FILENO);
	FILE *f;

	snprintf(path, sizeof(path), "%s/stderr", test_tmpdir());
	begin(LOG_INFO, false);
	log_sink(NULL, NULL);
	CHECK(freopen(path, "w", stderr) != NULL);
	log_at(LOG_INFO, "x", "to stderr");
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	f = fopen(path, "r");
	CHECK(f != NULL && fgets(text, sizeof(text), f) != NULL);
	CHECK_STR(text, WHEN "info  x: to stderr\n");
	CHECK(fgets(text, sizeof(text), f) == NULL);
	fclose(f);
	CHECK_U64(lines, 0);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv,
	    (struct test[]){
		{ "text lines", text_lines },
		{ "levels", levels },
		{ "values are quoted", values_are_quoted },
		{ "control bytes are escaped", control_bytes_are_escaped },
		{ "long texts are cut", long_texts_are_cut },
		{ "JSON lines", json_lines },
		{ "property: any bytes give one line", property_any_bytes_give_one_line },
		{ "goes to stderr", goes_to_stderr },
		{ NULL, NULL },
	    });
}
