/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "brainboard.h"

#define BRAINBOARD_WORD "{uuid}"

/* What may follow the UUID: nothing, ".tfstate", or one file in a folder. Traces of a lock are none; whether it is a state, its
 * content tells. */
bool
brainboard_key_uuid(const char *key, char ret[UUID_LEN + 1])
{
	static const char *const never[] = { ".tflock", ".lock.info", "-md5" };
	size_t                   n = strlen(key);
	const char              *rest;

	if (n < UUID_LEN || !uuid_lower(span_of(key, UUID_LEN), ret))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (span_ends(span_str(key), never[i]))
			return false;
	rest = key + UUID_LEN;
	return *rest == '\0' || strcmp(rest, ".tfstate") == 0 || (*rest == '/' && rest[1] != '\0' && strchr(rest + 1, '/') == NULL);
}

bool
brainboard_key_matches(const char *template, const char *key, char ret[UUID_LEN + 1])
{
	const char *word = strstr(template, BRAINBOARD_WORD), *tail = word + sizeof(BRAINBOARD_WORD) - 1;
	size_t      before = (size_t)(word - template), n = strlen(key);

	return n == before + UUID_LEN + strlen(tail) && strncmp(key, template, before) == 0 &&
	    uuid_lower(span_of(key + before, UUID_LEN), ret) && strcmp(key + before + UUID_LEN, tail) == 0;
}

char *
brainboard_key_of(const char *template, const char *uuid)
{
	const char *word = strstr(template, BRAINBOARD_WORD);

	if (word == NULL)
		return xstrdup(template);
	return xasprintf("%.*s%s%s", (int)(word - template), template, uuid, word + sizeof(BRAINBOARD_WORD) - 1);
}

/* A "/" would be a folder more, and a segment of dots none. */
static void
brainboard_alias_part(struct buf *out, const char *text)
{
	size_t begin = out->len;

	for (const char *p = text; *p != '\0'; p++)
		buf_putc(out, *p == '/' || *p == '\\' || (unsigned char)*p < 0x20 || *p == 0x7f ? '-' : *p);
	if (out->len == begin || strcmp(buf_str(out) + begin, ".") == 0 || strcmp(buf_str(out) + begin, "..") == 0)
		buf_putc(out, '-');
}

char *
brainboard_alias(const char *project, const char *environment, const char *name)
{
	struct buf out;

	buf_init(&out, 0);
	brainboard_alias_part(&out, project);
	buf_putc(&out, '/');
	brainboard_alias_part(&out, environment);
	buf_putc(&out, '/');
	brainboard_alias_part(&out, name);
	return buf_take(&out);
}
