/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <jansson.h>
#include <string.h>

#include "http.h"

/* Which kind of server an address is of, and what it says beyond the protocol (docs/protocol/http-state.md, "Dialects"). */
#define HB_EXPLAINED_MAX ((size_t)64 << 10) /* bytes of a refusal that are looked at */
#define HB_MESSAGE_MAX   120                /* of what it says */

static bool
hb_fits_harness(const char *name)
{
	return strlen(name) <= 128 &&
	    name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$-")] == '\0';
}

static bool
hb_fits_gitlab(const char *name)
{
	return strchr(name, '/') == NULL;
}

/* One character alone is a letter or a digit. */
static bool
hb_fits_gitea(const char *name)
{
	return (name[1] != '\0' || isalnum((unsigned char)name[0])) &&
	    name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.")] == '\0';
}

const struct hb_dialect hb_plain = { .name = "http" };

const struct hb_dialect hb_harness = {
	.name = "Harness",
	.fits = hb_fits_harness,
	.names = "the identifier of a workspace has letters, digits, \"_\", \"$\" and \"-\", at most 128",
	.mute = true,
	.id_front = true,
	.explains = true,
	.sign_in = "check the API key: it may have expired, or be of another account; a service account's is best",
	.no_credentials = "set HARNESS_PLATFORM_API_KEY or api_key; with an address of terraform's, TF_HTTP_PASSWORD will do",
	.permit = "give the token's owner \"Workspace: Access State\" and \"View\" on the workspace, and check that it is of this account",
	.nothing = "check account, organization, project and workspace; a workspace has to be made in Harness, by its identifier",
	.busy = "wait for the run that holds it; if that is gone: workspace settings, State Locking, Force Unlock",
	.remark = "prune_sensitive_data of the workspace may be at work",
};

const struct hb_dialect hb_gitlab = {
	.name = "GitLab",
	.echoes = true,
	.fits = hb_fits_gitlab,
	.names = "the name of a state has no \"/\"",
	.explains = true,
	.sign_in = "give a personal, project or group access token with scope api as password (or header PRIVATE-TOKEN), or in a job "
	    "gitlab-ci-token and CI_JOB_TOKEN",
	.permit = "reading takes the role Developer in the project, locking and writing Maintainer, and the token the scope api",
	.no_place = "Project Not Found",
	.nothing = "check project and name; GitLab says the same to who may not see the project",
	.remark = "GitLab shows the version with the highest serial, whatever is written later",
};

const struct hb_dialect hb_gitea = {
	.name = "Gitea",
	.id_401 = true,
	.fits = hb_fits_gitea,
	.names = "the name of a state has letters, digits, \"_\", \"-\", \"+\" and \".\"",
	.explains = true,
	.sign_in = "give a user name, and its password or an access token with the right to packages",
	.permit = "the user needs the right to write the owner's packages",
};

const struct hb_dialect *
hb_dialect_of(const char *address)
{
	static const struct { const char *path, *end; const struct hb_dialect *is; } known[] = {
		{ "/iacm/api/orgs/", "/terraform-backend", &hb_harness }, { "/api/v4/projects/", "/terraform/state/", &hb_gitlab },
		{ "/api/packages/", "/terraform/state/", &hb_gitea } };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		const char *at = strstr(address, known[i].path);

		if (at != NULL && strstr(at, known[i].end) != NULL)
			return known[i].is;
	}
	return &hb_plain;
}

bool
hb_is_signed(const struct hb *h)
{
	bool is = h->basic != NULL || h->conf->cert_pem != NULL;

	for (size_t i = 0; i < h->conf->headers.n; i++)
		is |= strcmp(h->conf->headers.keys[i], HB_HARNESS_ACCOUNT) != 0;
	return is;
}

/* Does a server say our own credentials back to us? */
static bool
hb_quotes_secret(const struct hb *h, const char *text)
{
	const struct conf_map *headers = &h->conf->headers;
	const struct secret   *password = h->conf->password;

	if (password != NULL && secret_len(password) > 0 && strstr(text, secret_str(password)) != NULL)
		return true;
	for (size_t i = 0; i < headers->n; i++)
		if (headers->values[i][0] != '\0' && strstr(text, headers->values[i]) != NULL)
			return true;
	return false;
}

static const char *
hb_member(const json_t *root, const char *name)
{
	const char *text = json_string_value(json_object_get(root, name));

	return text != NULL ? text : "";
}

/* {"message": ...} of both, {"error": ...} of GitLab; the id of Harness is that of the incident, which its support asks for. */
void
hb_explain(const struct hb *h, const struct http_response *r, struct err *reterr)
{
	struct span body = r->body != NULL && body_in_memory(r->body) ? body_span(r->body) : SPAN_LIT("");
	char        text[HB_MESSAGE_MAX + 1];
	const char *said, *id;
	json_t     *root;
	size_t      n;

	if (!h->dialect->explains || body.n > HB_EXPLAINED_MAX)
		return;
	root = json_loadb((const char *)body.p, body.n, 0, NULL);
	said = hb_member(root, "message");
	if (said[0] == '\0')
		said = hb_member(root, "error");
	id = h->dialect->mute ? hb_member(root, "id") : "";
	if (said[0] != '\0' && !hb_quotes_secret(h, said)) {
		snprintf(text, sizeof(text), "%s%s%s", said, id[0] != '\0' ? ", incident " : "", id);
		for (n = 0; text[n] != '\0'; n++)
			if (!isprint((unsigned char)text[n]))
				text[n] = ' ';
		n = strlen(reterr->msg);
		snprintf(reterr->msg + n, sizeof(reterr->msg) - n, ": %s", text);
	}
	json_decref(root);
}
