/* SPDX-License-Identifier: MIT */
/* What a server of Terraform's API sends, and reasons of locks: any bytes. What a reader takes is bounded and ends with a NUL. */
#include "../lib/fuzz.h"

#include "provider/remote/remote.h"

#define ENDS(text) FUZZ_CHECK(memchr(text, '\0', sizeof(text)) != NULL)

static void
item(void *arg, const struct remote_item *i)
{
	++*(size_t *)arg;
	ENDS(i->id);
	ENDS(i->name);
	ENDS(i->state);
	ENDS(i->reason);
	ENDS(i->holder);
	ENDS(i->status);
	ENDS(i->download);
	ENDS(i->upload);
}

/* In two pieces, cut anywhere, as it comes from the network. */
static void
document(struct span text)
{
	static struct remote_doc d;
	size_t                   n = 0, cut = text.n > 0 ? text.p[0] % text.n : 0;
	struct err               e;

	d.each = item;
	d.arg = &n;
	remote_doc_begin(&d);
	if (remote_doc_feed(&d, text.p, cut, &e) == ERR_OK && remote_doc_feed(&d, text.p + cut, text.n - cut, &e) == ERR_OK)
		remote_doc_end(&d);
	FUZZ_CHECK(d.items == n);
	ENDS(d.title);
	ENDS(d.detail);
	ENDS(d.item.holder_name);
	remote_doc_free(&d);
}

static void
reason(struct span text)
{
	char            *s = span_dup(text), again[REMOTE_REASON_MAX];
	struct lock_info l;

	if (remote_reason_parse(s, &l)) {
		FUZZ_CHECK(l.id[0] != '\0' && lock_info_is_ours(&l));
		remote_reason(&l, again);
		ENDS(again);
	}
	free(s);
}

/* Two addresses, with a line end between them. */
static void
link_to(struct span text)
{
	char *from = span_dup(text), *end = strchr(from, '\n'), *got;
	struct url u;

	if (end != NULL) {
		*end = '\0';
		if (url_parse(from, &u, NULL) == ERR_OK) {
			url_free(&u);
			got = remote_link(from, end + 1);
			FUZZ_CHECK(got == NULL || (url_parse(got, &u, NULL) == ERR_OK && (strncmp(from, "https", 5) != 0 || strcmp(u.scheme, "https") == 0)));
			if (got != NULL)
				url_free(&u);
			free(got);
		}
	}
	free(from);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);

	document(text);
	reason(text);
	link_to(text);
	return 0;
}
