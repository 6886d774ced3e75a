/* SPDX-License-Identifier: MIT */
#include "net/http_ca.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

static const struct {
	const char *bundle, *dir;
} http_ca_places[] = {
	/* Debian, Alpine, OpenWrt, Arch */
	{ "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs" },
	/* Fedora, RHEL */
	{ "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/ca-trust/extracted/pem/directory-hash" },
	{ "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/pki/ca-trust/extracted/pem/directory-hash" },
	/* SUSE */
	{ "/etc/ssl/ca-bundle.pem", "/etc/ssl/certs" },
	/* Alpine, BSD */
	{ "/etc/ssl/cert.pem", "/etc/ssl/certs" },
};

static size_t
http_ca_count_bundle(const char *path)
{
	FILE  *f = fopen(path, "re");
	char  *line = NULL;
	size_t cap = 0, n = 0;

	if (f == NULL)
		return 0;
	while (getline(&line, &cap, f) >= 0)
		n += strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, "CERTIFICATE-----") != NULL;
	free(line);
	fclose(f);
	return n;
}

/* "002c0b4f.0", as openssl rehash makes them */
static bool
http_ca_is_hashed(const char *name)
{
	return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && strspn(name + 9, "0123456789") > 0 &&
	    name[9 + strspn(name + 9, "0123456789")] == '\0';
}

static size_t
http_ca_count_dir(const char *path)
{
	DIR           *dir = opendir(path);
	struct dirent *d;
	size_t         n = 0;

	if (dir == NULL)
		return 0;
	while ((d = readdir(dir)) != NULL)
		n += http_ca_is_hashed(d->d_name) && faccessat(dirfd(dir), d->d_name, R_OK, 0) == 0;
	closedir(dir);
	return n;
}

void
http_ca_choose(const char *bundle, const char *dir, struct http_ca *ret)
{
	size_t n = http_ca_count_bundle(bundle);

	*ret = (struct http_ca){ NULL, NULL };
	if (n > 0 && http_ca_count_dir(dir) >= n)
		ret->dir = xstrdup(dir);
	else
		ret->file = xstrdup(bundle);
}

static const char *
http_ca_env(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : NULL;
}

/* A bundle of the system, named by hand or found: its folder will do. */
static bool
http_ca_known(const char *bundle, struct http_ca *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(http_ca_places); i++)
		if (strcmp(http_ca_places[i].bundle, bundle) == 0) {
			http_ca_choose(bundle, http_ca_places[i].dir, ret);
			return true;
		}
	return false;
}

void
http_ca_find(struct http_ca *ret)
{
	const char *file = http_ca_env("CURL_CA_BUNDLE"), *dir = http_ca_env("SSL_CERT_DIR");

	if (file == NULL)
		file = http_ca_env("SSL_CERT_FILE");
	for (size_t i = 0; i < ARRAY_LEN(http_ca_places) && file == NULL && dir == NULL; i++)
		if (access(http_ca_places[i].bundle, R_OK) == 0)
			file = http_ca_places[i].bundle;
	if (file == NULL || !http_ca_known(file, ret))
		*ret = (struct http_ca){ xstrdup(file), file == NULL ? xstrdup(dir) : NULL };
}

void
http_ca_free(struct http_ca *ca)
{
	free(ca->file);
	free(ca->dir);
	*ca = (struct http_ca){ NULL, NULL };
}
