/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "../lib/fuzz.h"
#include "provider/etcd/etcd.h"
#include "provider/s3/s3_table.h"

/*
 * What coordinators answer, from the network. First byte: the status; then the body. What is taken for a record has a text and a revision
 * that fit, and a refusal is a sentence.
 */
static const int statuses[] = { 200, 400, 401, 403, 404, 407, 412, 429, 500, 503 };

static void
check_record(enum err_code rc, const struct record *r, const struct err *e)
{
	FUZZ_CHECK(rc == ERR_OK || rc == ERR_NOT_FOUND || rc == ERR_CORRUPT);
	if (rc != ERR_OK) {
		FUZZ_CHECK(e->msg[0] != '\0');
		return;
	}
	FUZZ_CHECK(r->n > 0 && r->n <= sizeof(r->text));
	FUZZ_CHECK(r->revision[0] != '\0' && memchr(r->revision, '\0', sizeof(r->revision)) != NULL);
}

static void
check_etcd(int status, struct span body)
{
	struct etcd        e = { .prefix = (char *)(uintptr_t)"p/" };
	struct etcd_answer a = { .grpc = 0 };
	struct record      r;
	char               revision[ETAG_MAX] = "";
	struct err         err = { .code = ERR_OK };
	enum err_code      rc;

	a.send.http.status = status;
	a.send.http.body = body_copy(body);
	etcd_answer_read(&a);
	FUZZ_CHECK(status < 300 || strlen(a.send.code) < sizeof(a.send.code));
	if (status == 200) {
		check_record(etcd_range_of(a.json, &r, &err), &r, &err);
		rc = etcd_txn_of(a.json, revision, &err);
		FUZZ_CHECK(rc == ERR_CONFLICT || rc == ERR_UNCERTAIN || (rc == ERR_OK && revision[0] >= '1' && revision[0] <= '9'));
	} else {
		etcd_wants_token(&a);
		FUZZ_CHECK(etcd_refused(&e, &a, "reading x", &err) != ERR_OK && err.msg[0] != '\0');
		e.user = (char *)(uintptr_t)"u";
		FUZZ_CHECK(etcd_refused(&e, &a, "reading x", &err) != ERR_OK && err.msg[0] != '\0');
	}
	etcd_answer_free(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span   body;
	struct record r;
	struct err    err = { .code = ERR_OK };
	json_t       *json;

	if (size == 0)
		return 0;
	body = span_of(data + 1, size - 1);
	check_etcd(statuses[data[0] % ARRAY_LEN(statuses)], body);
	json = json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
	check_record(s3_record_of(json, &r, &err), &r, &err);
	json_decref(json);
	return 0;
}
