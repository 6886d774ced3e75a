/* SPDX-License-Identifier: MIT */
#include "provider/lock_info.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/shell.h"
#include "base/time.h"
#include "base/utf8.h"

#define LOCK_ID_DRAWN 18 /* characters of an id that are drawn: 8-4-4 */

/* --- ours --- */

/* Printable ASCII without < > & ": every JSON encoder prints it alike, whatever a configuration or host name holds. */
static void
lock_plain(char *ret, size_t size, const char *s)
{
	size_t n = 0;

	for (; *s != '\0' && n + 1 < size; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c > 0x7e || strchr("<>&\\\"", c) != NULL)
			c = c == '"' ? '\'' : '?';
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
}

/* Go's RFC3339Nano: no trailing zeros in the fraction, none at all when it is zero. */
static void
lock_time(int64_t wall_ms, char *ret, size_t size)
{
	char text[TIME_TEXT_MAX];
	int  ms = (int)(wall_ms % 1000), digits = 3;

	time_format_s(wall_ms, text);
	text[strlen(text) - 1] = '\0'; /* the Z */
	if (ms == 0) {
		snprintf(ret, size, "%sZ", text);
		return;
	}
	for (; ms % 10 == 0; ms /= 10)
		digits--;
	snprintf(ret, size, "%s.%0*dZ", text, digits, ms);
}

/* After the 64 bits that were drawn 64 of a digest, spelled as a UUID. */
static void
lock_id_close(char id[37], const char *agent_id)
{
	struct digest d;
	char          hex[DIGEST_HEX], *text = xasprintf("stateferry lock %.*s %s", LOCK_ID_DRAWN, id, agent_id);

	sha256_of(text, strlen(text), &d);
	free(text);
	digest_hex(&d, hex);
	snprintf(id + LOCK_ID_DRAWN, 37 - LOCK_ID_DRAWN, "-%.4s-%.12s", hex, hex + 4);
}

void
lock_id_make(struct rand *r, const char *agent_id, char ret[37])
{
	rand_uuid(r, ret);
	if (agent_id != NULL)
		lock_id_close(ret, agent_id);
}

bool
lock_id_is_of(const char *id, const char *agent_id)
{
	char ours[37];

	if (strlen(id) != sizeof(ours) - 1)
		return false;
	memcpy(ours, id, sizeof(ours));
	lock_id_close(ours, agent_id);
	return strcmp(ours, id) == 0;
}

void
lock_info_make(struct lock_info *l, struct rand *r, int64_t wall_ms, const char *agent_id, const char *agent_name, const char *info,
    const char *path)
{
	char who[sizeof(l->who)];

	memset(l, 0, sizeof(*l));
	lock_id_make(r, agent_id, l->id);
	snprintf(who, sizeof(who), "stateferry@%.100s", agent_name);
	lock_plain(l->who, sizeof(l->who), who);
	lock_plain(l->info, sizeof(l->info), info);
	snprintf(l->operation, sizeof(l->operation), "stateferry");
	snprintf(l->version, sizeof(l->version), "%s", SF_VERSION);
	lock_time(wall_ms, l->created, sizeof(l->created));
	snprintf(l->path, sizeof(l->path), "%s", path);
}

static void
lock_member(struct buf *ret, const char *key, const char *value, bool last)
{
	buf_printf(ret, "\"%s\":", key);
	json_go_string(ret, span_str(value));
	buf_putc(ret, last ? '}' : ',');
}

void
lock_info_body(const struct lock_info *l, struct buf *ret)
{
	buf_putc(ret, '{');
	lock_member(ret, "ID", l->id, false);
	lock_member(ret, "Operation", l->operation, false);
	lock_member(ret, "Info", l->info, false);
	lock_member(ret, "Who", l->who, false);
	lock_member(ret, "Version", l->version, false);
	lock_member(ret, "Created", l->created, false);
	lock_member(ret, "Path", l->path, true);
}

/* --- anybody's --- */

static void
lock_take(struct lock_info *l, const char *key, const char *value)
{
	const struct {
		const char *name;
		char       *to;
		size_t      size;
	} members[] = { { "ID", l->id, sizeof(l->id) }, { "Operation", l->operation, sizeof(l->operation) },
		{ "Info", l->info, sizeof(l->info) }, { "Who", l->who, sizeof(l->who) },
		{ "Version", l->version, sizeof(l->version) }, { "Created", l->created, sizeof(l->created) },
		{ "Path", l->path, sizeof(l->path) } };

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strcasecmp(members[i].name, key) == 0)
			snprintf(members[i].to, members[i].size, "%s", value);
}

enum err_code
lock_info_parse(struct span body, struct lock_info *ret, struct err *reterr)
{
	json_error_t e;
	json_t      *root, *value;
	const char  *key;

	memset(ret, 0, sizeof(*ret));
	if (body.n > LOCK_BODY_MAX)
		return err_set(reterr, ERR_CORRUPT, 0, "a lock body of more than %d bytes", LOCK_BODY_MAX);
	root = json_loadb((const char *)body.p, body.n, 0, &e);
	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(reterr, ERR_CORRUPT, 0, "the lock body is no JSON object");
	}
	json_object_foreach(root, key, value)
		if (json_is_string(value))
			lock_take(ret, key, json_string_value(value));
	if (strncasecmp(ret->path, "http", 4) == 0) /* OpenTofu's, of a blob: the query may be a shared access signature */
		ret->path[strcspn(ret->path, "?")] = '\0';
	json_decref(root);
	return ERR_OK;
}

void
lock_info_print(const struct lock_info *l, struct buf *ret)
{
	utf8_visible(ret, span_str(l->who[0] != '\0' ? l->who : "somebody"), false);
	if (l->operation[0] != '\0') {
		buf_puts(ret, " (");
		utf8_visible(ret, span_str(l->operation), false);
		buf_putc(ret, ')');
	}
	if (l->created[0] != '\0') {
		buf_puts(ret, " since ");
		utf8_visible(ret, span_str(l->created), false);
	}
	buf_puts(ret, ", ID ");
	utf8_visible(ret, span_str(l->id[0] != '\0' ? l->id : "unknown"), false);
}

void
lock_info_unlock_by(const char *label, const char *name, const char *id, struct buf *ret)
{
	char *at = shell_wordf("%s:%s", label, name);

	buf_printf(ret, "stateferry unlock %s%s ", id[0] == '-' ? "-- " : "", at);
	shell_word(ret, id);
	free(at);
}

void
lock_info_unlock_by_both(const char *label, const char *name, const char *id, struct buf *ret)
{
	buf_printf(ret, "terraform force-unlock %s", id[0] == '-' ? "-- " : "");
	shell_word(ret, id);
	buf_puts(ret, ", or ");
	lock_info_unlock_by(label, name, id, ret);
}

enum err_code
lock_info_refuse(const struct lock_info *l, enum err_code code, int detail, const char *name, struct err *reterr)
{
	struct buf text;

	buf_init(&text, 0);
	lock_info_print(l, &text);
	err_set(reterr, code, detail, "%.80s is locked by %s", name, buf_str(&text));
	buf_free(&text);
	return code;
}

bool
lock_info_is_ours(const struct lock_info *l)
{
	return strcmp(l->operation, "stateferry") == 0;
}
