/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http_client_rig.h"

/* Certificates: whom the client trusts, what it shows, and what it says when that fails. */

/* --- keys and certificates, made by the openssl command --- */

static const char recipe[] =
    "set -e; cd \"$1\"; exec 2>openssl.log\n"
    "new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n"
    "printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' > here\n"
    "printf 'subjectAltName=DNS:other.example\\n' > there\n"
    "ca() { openssl req -x509 $new -keyout $1.key -out $1.pem -days 9 -subj \"/CN=$1\" \\\n"
    "  -addext basicConstraints=critical,CA:TRUE; }\n"
    "cert() { openssl req $new -keyout $1.key -out $1.csr -subj \"/CN=$1\"\n"
    "  openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days $3 -extfile $4 -out $1.pem; }\n"
    "ca root; ca stranger; cert good root 9 here; cert other root 9 there; cert old root -1 here\n"
    "cert unknown stranger 9 here; cert client root 9 here; cert impostor stranger 9 here\n"
    "cp client.pem locked.pem; openssl ec -in client.key -aes256 -passout pass:sesame -out locked.key\n"
    "cp client.pem sealed.pem; openssl pkcs8 -topk8 -in client.key -passout pass:sesame -out sealed.key\n"
    "openssl req -x509 $new -keyout self.key -out self.pem -days 9 -subj /CN=self \\\n"
    "  -addext subjectAltName=DNS:localhost\n";

static void
make_certificates(void)
{
	static bool made;
	char        path[300], *command;

	if (made)
		return;
	if (system("command -v openssl >/dev/null 2>&1 && python3 -c 'import ssl' >/dev/null 2>&1") != 0)
		test_skip("needs the commands openssl and python3");
	snprintf(path, sizeof(path), "%s/recipe", test_tmpdir());
	FILE *f = fopen(path, "w");
	CHECK(f != NULL && fputs(recipe, f) >= 0 && fclose(f) == 0);
	command = xasprintf("sh %s %s", path, test_tmpdir());
	CHECK(system(command) == 0);
	free(command);
	made = true;
}

static const char *
pem_path(const char *name)
{
	static char path[4][300];
	static int  next;

	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", test_tmpdir(), name);
	return path[next];
}

static char *
pem_text(const char *name)
{
	char   text[8192];
	FILE  *f = fopen(pem_path(name), "r");
	size_t n;

	CHECK(f != NULL);
	n = fread(text, 1, sizeof(text), f);
	fclose(f);
	return xstrndup(text, n);
}

/* --- a server process --- */

struct server {
	pid_t    pid;
	int      in;
	FILE    *out;
	unsigned port;
};

static void
server_start(struct server *s, const char *name, const char *option, const char *value)
{
	const char *script = test_path("lib/tls_server.py");
	char        key[300], cert[300], line[20];
	int         in[2], out[2];

	make_certificates();
	snprintf(cert, sizeof(cert), "%s/%s.pem", test_tmpdir(), name);
	snprintf(key, sizeof(key), "%s/%s.key", test_tmpdir(), name);
	CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	s->pid = fork();
	if (s->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp("python3", "python3", script, cert, key, option, value, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	s->in = in[1];
	s->out = fdopen(out[0], "r");
	CHECK(s->pid > 0 && fgets(line, sizeof(line), s->out) != NULL);
	s->port = (unsigned)atoi(line);
}

/* How many lines equal text came until its end. */
static unsigned
server_stop(struct server *s, const char *text)
{
	char     line[300];
	unsigned n = 0;

	close(s->in);
	while (fgets(line, sizeof(line), s->out) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		n += strcmp(line, text) == 0;
	}
	fclose(s->out);
	waitpid(s->pid, NULL, 0);
	return n;
}

/* --- requests --- */

static enum err_code
ask(const char *method, const char *host, unsigned port, const struct http_tls *tls)
{
	char                *url = xasprintf("https://%s:%u/x?sig=canary", host, port);
	struct http_request  req = { .method = method, .url = url, .tls = tls, .timeout_ms = 10000 };

	req.changing = strcmp(method, "GET") != 0;
	web_begin(&req);
	web_finish();
	free(url);
	CHECK(strstr(web.outcome.msg, "canary") == NULL);
	return web.outcome.code;
}

static void
check_says(enum err_code code, const char *text, const char *hint)
{
	if (web.outcome.code != code || strstr(web.outcome.msg, text) == NULL || strstr(web.outcome.hint, hint) == NULL)
		test_fail(__FILE__, __LINE__, "code %d, not %d: \"%s\" (%s), not \"%s\" (%s)", (int)web.outcome.code,
		    (int)code, web.outcome.msg,
		    web.outcome.hint, text, hint);
}

static void
check_hello(const char *text)
{
	CHECK_OK(web.outcome.code, web.outcome);
	CHECK(web.answer.body != NULL);
	if (!span_starts(body_span(web.answer.body), text))
		test_fail(__FILE__, __LINE__, "%.*s", (int)body_size(web.answer.body),
		    (const char *)body_span(web.answer.body).p);
}

static void
trusted(void)
{
	struct server   s;
	char           *pem;
	struct http_tls file = { .ca_file = NULL }, text = { .ca_pem = NULL }, none = { .insecure = true };

	server_start(&s, "good", NULL, NULL);
	web_setup();
	file.ca_file = pem_path("root.pem");
	text.ca_pem = pem = pem_text("root.pem");
	ask("GET", "localhost", s.port, &file);
	check_hello("hello nobody TLSv1.3");
	ask("GET", "127.0.0.1", s.port, &file);
	check_hello("hello");
	ask("GET", "localhost", s.port, &text);
	check_hello("hello");
	ask("GET", "localhost", s.port, &none);
	check_hello("hello");
	/* a trusted connection of another setting is not reused */
	CHECK_U64(ask("GET", "localhost", s.port, NULL), ERR_AUTH);
	free(pem);
	web_teardown();
	server_stop(&s, "");
}

static void
check_refused(const char *name, const char *says, const char *hint)
{
	struct server   s;
	struct http_tls tls = { .ca_file = NULL };

	server_start(&s, name, NULL, NULL);
	web_setup();
	tls.ca_file = pem_path("root.pem");
	ask("DELETE", "localhost", s.port, &tls);
	check_says(ERR_AUTH, says, hint);
	CHECK(strstr(web.outcome.msg, "localhost:") == web.outcome.msg);
	CHECK(!web.answer.sent);
	tls.insecure = true;
	ask("GET", "localhost", s.port, &tls);
	check_hello("hello");
	web_teardown();
	CHECK_U64(server_stop(&s, "DELETE /x?sig=canary"), 0);
}

static void
untrusted(void)
{
	check_refused("old", ": certificate has expired", "clock");
	check_refused("other", ": the certificate is for another name than localhost", "");
	check_refused("unknown", ": unable to get local issuer certificate", "private CA");
	check_refused("self", ": self-signed certificate", "private CA");
}

static void
system_roots(void)
{
	struct server s;

	server_start(&s, "good", NULL, NULL);
	setenv("SSL_CERT_FILE", pem_path("root.pem"), 1);
	web_setup();
	ask("GET", "localhost", s.port, NULL);
	check_hello("hello");
	web_teardown();
	setenv("SSL_CERT_FILE", "/nonexistent.pem", 1);
	web_setup();
	ask("GET", "localhost", s.port, NULL);
	check_says(ERR_CONFIG, "the trusted certificates cannot be read", "SSL_CERT_FILE");
	web_teardown();
	setenv("CURL_CA_BUNDLE", pem_path("root.pem"), 1);
	web_setup();
	ask("GET", "localhost", s.port, NULL);
	check_hello("hello");
	web_teardown();
	unsetenv("CURL_CA_BUNDLE");
	unsetenv("SSL_CERT_FILE");
	server_stop(&s, "");
}

static void
check_client(const char *cert, enum err_code code, const char *says)
{
	struct server   s;
	char           *cert_pem = NULL, *key_pem;
	struct secret  *key = NULL;
	struct http_tls tls = { .ca_file = NULL };
	char            name[100];

	server_start(&s, "good", "--client-ca", pem_path("root.pem"));
	web_setup();
	tls.ca_file = pem_path("root.pem");
	if (cert != NULL) {
		snprintf(name, sizeof(name), "%s.pem", cert);
		tls.cert_pem = cert_pem = pem_text(name);
		snprintf(name, sizeof(name), "%s.key", cert);
		key_pem = pem_text(name);
		tls.key_pem = key = secret_new(span_str(key_pem));
		free(key_pem);
	}
	ask("DELETE", "localhost", s.port, &tls);
	if (code == ERR_OK)
		check_hello(says);
	else
		check_says(code, says, code == ERR_CONFIG ? "unencrypted" : "client certificate");
	web_teardown();
	free(cert_pem);
	secret_free(key);
	server_stop(&s, "");
}

static void
client_certificates(void)
{
	struct http_tls tls = { .insecure = true, .cert_pem = "nonsense" };
	struct secret  *key = secret_new(SPAN_LIT("nonsense"));
	struct server   s;

	check_client("client", ERR_OK, "hello client");
	check_client(NULL, ERR_AUTH, "does not accept our client certificate");
	check_client("impostor", ERR_AUTH, "does not accept our client certificate");
	check_client("locked", ERR_CONFIG, "the client certificate or its key cannot be used"); /* both forms of an encrypted key */
	check_client("sealed", ERR_CONFIG, "the client certificate or its key cannot be used");
	tls.key_pem = key;
	server_start(&s, "good", NULL, NULL);
	web_setup();
	ask("GET", "localhost", s.port, &tls);
	check_says(ERR_CONFIG, "the client certificate or its key cannot be used", "PEM");
	web_teardown();
	server_stop(&s, "");
	secret_free(key);
}

static void
serve_plain(struct raw_conn *c, void *arg)
{
	(void)arg;
	raw_wait_readable(c);
	raw_print(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void
serve_close(struct raw_conn *c, void *arg)
{
	(void)arg;
	raw_wait_readable(c);
}

static void
not_tls(void)
{
	struct raw_server *s = raw_server_new(serve_plain, NULL);

	web_setup();
	ask("DELETE", "localhost", raw_server_port(s), NULL);
	check_says(ERR_NETWORK, "the TLS handshake failed: wrong version number", "begin with http://");
	CHECK(!web.answer.sent);
	raw_server_free(s);
	s = raw_server_new(serve_close, NULL);
	ask("DELETE", "localhost", raw_server_port(s), NULL); /* in the handshake: nothing of the request was sent */
	check_says(ERR_NETWORK, "the TLS handshake failed", "");
	CHECK(!web.answer.sent);
	raw_server_free(s);
	web_teardown();
}

/* The server closes a connection that was used before, with and without TLS 1.3: never a second time. */
static void
sent_once(void)
{
	struct server   s;
	struct http_tls tls = { .ca_file = NULL };

	server_start(&s, "good", "--good", "1");
	web_setup();
	tls.ca_file = pem_path("root.pem");
	ask("GET", "localhost", s.port, &tls);
	check_hello("hello");
	CHECK_U64(ask("DELETE", "localhost", s.port, &tls), ERR_UNCERTAIN);
	web_teardown();
	CHECK_U64(server_stop(&s, "DELETE /x?sig=canary"), 1);
}

/* What the first connection costs the loop, with the system's certificates. */
static void
first_connection(void)
{
	struct server     s;
	struct loop_delay d;

	server_start(&s, "good", NULL, NULL);
	web_setup();
	CHECK_U64(ask("GET", "localhost", s.port, NULL), ERR_AUTH);
	loop_delay(web.loop, &d);
	printf("# longest turn %.1f ms\n", d.max_s * 1e3);
	web_teardown();
	server_stop(&s, "");
}

int
main(int argc, char **argv)
{
	static const struct test tests[] = {
		{ "trusted certificates", trusted }, { "untrusted certificates", untrusted },
		{ "the system's roots", system_roots },
		{ "client certificates", client_certificates }, { "no TLS", not_tls }, { "sent once", sent_once },
		{ "the first connection", first_connection }, { NULL, NULL },
	};

	unsetenv("CURL_CA_BUNDLE");
	unsetenv("SSL_CERT_FILE");
	unsetenv("SSL_CERT_DIR");
	return test_main(argc, argv, tests);
}
