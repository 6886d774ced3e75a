/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "azurerm.h"

/* What the headers of a blob say of it, and the metadata that a write has to repeat, as it replaces all of it. */
#define AZURERM_META "x-ms-meta-"

struct azurerm_held {
	char                 lease[sizeof(((struct lock_info *)NULL)->id)];
	struct azurerm_props props;
};

void
azurerm_props_free(struct azurerm_props *p)
{
	for (size_t i = 0; i < p->nmeta; i++) {
		free(p->meta[i].name);
		free(p->meta[i].value);
	}
	free(p->lock);
	memset(p, 0, sizeof(*p));
}

void
azurerm_etag(const char *text, char ret[ETAG_MAX])
{
	size_t n;

	text += *text == '"';
	n = strlen(text);
	n -= n > 0 && text[n - 1] == '"';
	span_text(ret, ETAG_MAX, span_of(text, n));
}

void
azurerm_tag(const char *md5, const char *etag, char ret[ETAG_MAX])
{
	span_text(ret, ETAG_MAX, span_str(md5 != NULL && md5[0] != '\0' ? md5 : etag));
}

static uint64_t
azurerm_number(const char *text)
{
	return text != NULL ? strtoull(text, NULL, 10) : 0;
}

static void
azurerm_props_meta(struct azurerm_props *p, const struct http_header *h)
{
	if (strcasecmp(h->name, AZURERM_META AZURERM_LOCK) == 0) {
		free(p->lock);
		p->lock = xstrdup(h->value);
	} else if (p->nmeta < AZURERM_META_MAX) {
		p->meta[p->nmeta++] = (struct azurerm_meta){ xstrdup(h->name), xstrdup(h->value) };
	} else {
		p->more = true;
	}
}

enum err_code
azurerm_props_whole(const struct azurerm_props *p, const char *name, struct err *reterr)
{
	if (!p->more)
		return ERR_OK;
	err_set(reterr, ERR_UNSUPPORTED, 0, "%.120s has more than %d entries of metadata, which a write would lose", name, AZURERM_META_MAX);
	return err_hint(reterr, "az storage blob metadata update takes away what is not needed");
}

enum err_code
azurerm_props_read(const struct azurerm *z, const struct send_answer *a, struct azurerm_props *ret, struct err *reterr)
{
	const char *etag = http_header_get(&a->http, "etag"), *lease = http_header_get(&a->http, "x-ms-lease-status");
	const char *modified = http_header_get(&a->http, "last-modified");

	azurerm_props_free(ret);
	if (etag == NULL || http_header_get(&a->http, "x-ms-blob-type") == NULL || strlen(etag) >= ETAG_MAX) {
		err_set(reterr, ERR_UNSUPPORTED, a->http.status, "container %s: the answer is no blob, it has no ETag or type", z->conf->container_name);
		return err_hint(reterr, AZURERM_OTHER_HINT);
	}
	azurerm_etag(etag, ret->etag);
	azurerm_tag(http_header_get(&a->http, "content-md5"), ret->etag, ret->tag);
	ret->size = azurerm_number(http_header_get(&a->http, "content-length"));
	ret->leased = lease != NULL && strcmp(lease, "locked") == 0;
	if (modified == NULL || !time_parse_http(modified, &ret->modified))
		ret->modified = 0;
	for (size_t i = 0; i < a->http.nheaders; i++)
		if (strncasecmp(a->http.headers[i].name, AZURERM_META, strlen(AZURERM_META)) == 0)
			azurerm_props_meta(ret, &a->http.headers[i]);
	return ERR_OK;
}

/* ---------------------------------------------------------------- under a lease of ours */

static void
azurerm_held_free(struct azurerm_held *h)
{
	if (h != NULL)
		azurerm_props_free(&h->props);
	free(h);
}

void
azurerm_hold(struct azurerm *z, const char *blob, const char *lease, struct azurerm_props *p)
{
	struct azurerm_held *h = xcalloc(1, sizeof(*h));

	snprintf(h->lease, sizeof(h->lease), "%s", lease);
	h->props = *p;
	memset(p, 0, sizeof(*p));
	if (h->props.etag[0] != '\0')
		h = map_put(z->held, span_str(blob), h);
	azurerm_held_free(h);
}

bool
azurerm_take(struct azurerm *z, const char *blob, const char *lease, struct azurerm_props *ret)
{
	struct azurerm_held *h = map_get(z->held, span_str(blob));
	bool                 ours = h != NULL && strcasecmp(h->lease, lease) == 0;

	if (!ours)
		return false;
	map_del(z->held, span_str(blob));
	azurerm_props_free(ret);
	*ret = h->props;
	free(h);
	return true;
}

void
azurerm_forget_all(struct azurerm *z)
{
	struct span name;
	void       *h;

	for (size_t i = 0; map_next(z->held, &i, &name, &h);)
		azurerm_held_free(h);
	map_free(z->held);
}

void
azurerm_props_keep(const struct azurerm_props *p, const char *lock, struct send_request *r)
{
	for (size_t i = 0; i < p->nmeta; i++)
		send_header(r, p->meta[i].name, "%s", p->meta[i].value);
	if (lock != NULL)
		send_header(r, AZURERM_META AZURERM_LOCK, "%s", lock);
}
