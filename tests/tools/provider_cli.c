/* SPDX-License-Identifier: MIT */
/*
 * provider_cli CONFIG LABEL COMMAND [ARGS]: one call of a provider, on the real loop and network. JSON on stdout, one object per line:
 *
 *	caps | create | list | probe
 *	get NAME [UNLESS_ETAG]       the body goes to the file OUT when that is set in the environment
 *	head NAME | del NAME [ETAG]
 *	put NAME FILE absent|lock|ETAG
 *	lock NAME ID | unlock NAME ID | peek NAME
 *	cycle NAME FILE              lock, get, put, get, unlock: what a push does
 *
 * Exit 0, or 1 after {"error": kind, "msg": ..., "hint": ...}. SPOOL: the folder for large bodies.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "provider/provider.h"

struct cli {
	struct loop         *loop;
	struct work         *work;
	struct http_client  *http;
	struct conf         *conf;
	struct provider_env  env;
	struct backend      *b;
	struct err           err;
	bool                 done;
};

static struct cli cli;

/* --- output --- */

static struct buf         out;
static struct json_writer writer;

static struct json_writer *
line(void)
{
	buf_reset(&out);
	json_begin(&writer, &out);
	json_obj(&writer);
	return &writer;
}

static void
line_end(void)
{
	json_obj_end(&writer);
	printf("%s\n", buf_str(&out));
}

static int
failed(void)
{
	struct json_writer *w = line();

	json_kv_str(w, "error", err_kind(cli.err.code));
	json_kv_str(w, "msg", cli.err.msg);
	json_kv_str(w, "hint", cli.err.hint);
	line_end();
	return 1;
}

/* --- running --- */

static void
ended(struct op *op, void *arg)
{
	(void)arg;
	cli.err = op->err;
	cli.done = true;
	op_free(op);
}

static bool
run(struct op *op)
{
	cli.done = false;
	op_start(op, ended, NULL);
	while (!cli.done)
		loop_turn(cli.loop, true);
	return cli.err.code == ERR_OK;
}

static void
seen(void *arg, const struct state_seen *s)
{
	struct json_writer *w = line();

	(void)arg;
	json_kv_str(w, "name", s->name);
	json_kv_str(w, "etag", s->etag);
	json_kv_u64(w, "size", s->size);
	json_kv_bool(w, "locked", s->locked);
	json_kv_str(w, "problem", s->problem);
	line_end();
}

static void
checked(void *arg, const struct probe_check *c)
{
	struct json_writer *w = line();

	(void)arg;
	json_kv_str(w, "name", c->name);
	json_kv_bool(w, "ok", c->ok);
	json_kv_str(w, "detail", c->detail);
	line_end();
}

static bool
write_out(const struct body *body)
{
	const char *path = getenv("OUT");
	char        piece[65536];
	uint64_t    at = 0;
	size_t      n = 0;
	FILE       *f = path != NULL ? fopen(path, "wb") : NULL;

	while (f != NULL && body_read(body, at, piece, sizeof(piece), &n, &cli.err) == ERR_OK && n > 0) {
		fwrite(piece, 1, n, f);
		at += n;
	}
	return f == NULL || fclose(f) == 0;
}

static int
get(const char *name, const char *unless)
{
	struct snapshot     s;
	struct json_writer *w;
	char                hex[DIGEST_HEX];

	if (!run(provider_get(cli.b, &(struct state_ref){ name }, unless, &s)))
		return failed();
	w = line();
	json_kv_str(w, "etag", s.etag);
	json_kv_u64(w, "size", body_size(s.body));
	json_kv_u64(w, "serial", s.info.serial);
	json_kv_str(w, "sha256", digest_hex(&s.digest, hex));
	json_kv_bool(w, "in_memory", body_in_memory(s.body));
	line_end();
	write_out(s.body);
	snapshot_free(&s);
	return 0;
}

static bool
load(const char *path, struct snapshot *ret)
{
	int          fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t        n = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
	struct body *body;
	struct buf   text;

	if (n < 0)
		return false;
	if ((uint64_t)n > BODY_SPOOL_ABOVE) {
		body = body_from_fd(fd, (uint64_t)n);
	} else {
		buf_init(&text, (size_t)n + 1);
		buf_reserve(&text, (size_t)n, NULL);
		text.len = (size_t)pread(fd, text.data, (size_t)n, 0);
		body = body_new(&text);
		close(fd);
	}
	snapshot_of(ret, body, NULL);
	body_unref(body);
	return true;
}

static bool
put_now(const char *name, const char *file, const char *how, char etag[ETAG_MAX])
{
	struct put_condition when = { .when = PUT_MATCH, .etag = how };
	struct snapshot      s;
	bool                 ok;

	if (strcmp(how, "absent") == 0)
		when = (struct put_condition){ .when = PUT_ABSENT };
	else if (strcmp(how, "lock") == 0)
		when = (struct put_condition){ .when = PUT_UNDER_LOCK };
	if (!load(file, &s)) {
		err_set(&cli.err, ERR_USAGE, 0, "cannot read %s", file);
		return false;
	}
	ok = run(provider_put(cli.b, &(struct state_ref){ name }, &s, &when, etag));
	snapshot_free(&s);
	return ok;
}

static int
put(const char *name, const char *file, const char *how)
{
	struct json_writer *w;
	char                etag[ETAG_MAX];

	if (!put_now(name, file, how, etag))
		return failed();
	w = line();
	json_kv_str(w, "etag", etag);
	line_end();
	return 0;
}

static int
head(const char *name)
{
	struct state_tag    tag;
	struct json_writer *w;

	if (!run(provider_head(cli.b, &(struct state_ref){ name }, &tag)))
		return failed();
	w = line();
	json_kv_str(w, "etag", tag.etag);
	json_kv_u64(w, "size", tag.size);
	line_end();
	return 0;
}

static void
new_lock(const char *name, const char *id, struct lock_info *ret)
{
	provider_lock_new(cli.b, &(struct state_ref){ name }, "provider_cli", ret);
	if (id != NULL)
		snprintf(ret->id, sizeof(ret->id), "%s", id);
}

static int
show_lock(const struct lock_info *l)
{
	struct json_writer *w = line();

	json_kv_str(w, "id", l->id);
	json_kv_str(w, "who", l->who);
	json_kv_str(w, "operation", l->operation);
	json_kv_str(w, "created", l->created);
	json_kv_str(w, "path", l->path);
	json_kv_str(w, "generation", l->generation);
	line_end();
	return 0;
}

static int
lock(const char *name, const char *id)
{
	struct lock_info l, holder;

	new_lock(name, id, &l);
	if (run(provider_lock(cli.b, &(struct state_ref){ name }, &l, &holder)))
		return show_lock(&l);
	failed();
	show_lock(&holder);
	return 1;
}

static int
unlock(const char *name, const char *id)
{
	struct lock_info l;

	new_lock(name, id, &l);
	return run(provider_unlock(cli.b, &(struct state_ref){ name }, &l)) ? 0 : failed();
}

static int
peek(const char *name)
{
	struct lock_info l;

	return run(provider_lock_peek(cli.b, &(struct state_ref){ name }, &l)) ? show_lock(&l) : failed();
}

static int
cycle(const char *name, const char *file)
{
	struct state_ref    ref = { name };
	struct lock_info    l, holder;
	struct snapshot     now;
	struct json_writer *w;
	char                etag[ETAG_MAX], was[ETAG_MAX] = "absent";

	new_lock(name, NULL, &l);
	if (!run(provider_lock(cli.b, &ref, &l, &holder)))
		return failed();
	if (run(provider_get(cli.b, &ref, NULL, &now)))
		memcpy(was, now.etag, sizeof(was));
	snapshot_free(&now);
	if (cli.err.code != ERR_OK && cli.err.code != ERR_NOT_FOUND)
		return failed();
	if (!put_now(name, file, was, etag) || !run(provider_get(cli.b, &ref, NULL, &now)))
		return failed();
	snapshot_free(&now);
	if (!run(provider_unlock(cli.b, &ref, &l)))
		return failed();
	w = line();
	json_kv_str(w, "etag", etag);
	json_kv_u64(w, "requests", cli.b->requests);
	line_end();
	return 0;
}

static int
caps(void)
{
	struct json_writer *w = line();

	json_kv_u64(w, "caps", provider_caps(cli.b));
	json_kv_str(w, "where", cli.b->where);
	line_end();
	return 0;
}

static int
command(int argc, char **argv)
{
	const char *c = argv[0], *a = argc > 1 ? argv[1] : "", *b = argc > 2 ? argv[2] : NULL;

	if (strcmp(c, "caps") == 0)
		return caps();
	if (strcmp(c, "create") == 0)
		return run(provider_create(cli.b)) ? 0 : failed();
	if (strcmp(c, "list") == 0)
		return run(provider_list(cli.b, seen, NULL)) ? 0 : failed();
	if (strcmp(c, "probe") == 0)
		return run(provider_probe(cli.b, checked, NULL)) ? 0 : failed();
	if (strcmp(c, "get") == 0)
		return get(a, b);
	if (strcmp(c, "head") == 0)
		return head(a);
	if (strcmp(c, "del") == 0)
		return run(provider_del(cli.b, &(struct state_ref){ a }, b)) ? 0 : failed();
	if (strcmp(c, "put") == 0 && argc > 3)
		return put(a, b, argv[3]);
	if (strcmp(c, "lock") == 0)
		return lock(a, b);
	if (strcmp(c, "unlock") == 0 && b != NULL)
		return unlock(a, b);
	if (strcmp(c, "peek") == 0)
		return peek(a);
	if (strcmp(c, "cycle") == 0 && b != NULL)
		return cycle(a, b);
	err_set(&cli.err, ERR_USAGE, 0, "no such command");
	return failed();
}

static bool
open_backend(const char *config, const char *label)
{
	struct conf_block *root;

	if (crypto_init(&cli.err) != ERR_OK || (cli.loop = loop_new(&cli.err)) == NULL)
		return false;
	cli.work = work_new(cli.loop);
	if (http_client_curl(cli.loop, cli.work, getenv("SPOOL"), &cli.http, &cli.err) != ERR_OK ||
	    conf_load(config, NULL, &cli.conf, &cli.err) != ERR_OK)
		return false;
	cli.env = (struct provider_env){ .loop = cli.loop, .work = cli.work, .http = cli.http, .agent_name = "provider-cli" };
	root = conf_root(cli.conf);
	for (size_t i = 0; i < root->nblocks; i++)
		if (root->blocks[i].nlabels == 2 && strcmp(root->blocks[i].labels[1], label) == 0)
			return provider_open(&cli.env, cli.conf, &root->blocks[i], &cli.b, &cli.err) == ERR_OK;
	err_set(&cli.err, ERR_USAGE, 0, "no backend \"%s\"", label);
	return false;
}

int
main(int argc, char **argv)
{
	int rc = 1;

	buf_init(&out, 0);
	log_setup(getenv("DEBUG") != NULL ? LOG_DEBUG : LOG_WARN, false, NULL);
	if (argc < 4) {
		fprintf(stderr, "provider_cli CONFIG LABEL COMMAND [ARGS]\n");
		return 2;
	}
	if (!open_backend(argv[1], argv[2]))
		failed();
	else
		rc = command(argc - 3, argv + 3);
	provider_close(cli.b);
	while (cli.loop != NULL && op_count(cli.loop) > 0)
		loop_turn(cli.loop, true);
	conf_free(cli.conf);
	http_client_free(cli.http);
	if (cli.work != NULL)
		work_free(cli.work);
	if (cli.loop != NULL)
		loop_free(cli.loop);
	buf_free(&out);
	return rc;
}
