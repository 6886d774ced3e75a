/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/http_curl.h"
#include "net/http_curl_error.h"

/* One request: begun when its turn comes, ended once, whatever libcurl and the spool have to say. */

static const char *const http_states[] = { "start", "sent", "ended" };

/* --- begin and end --- */

static void
http_transfer_link(struct http_transfer *t)
{
	t->prev = NULL;
	t->next = t->c->first;
	if (t->next != NULL)
		t->next->prev = t;
	t->c->first = t;
}

static void
http_transfer_unlink(struct http_transfer *t)
{
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		t->c->first = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	t->prev = t->next = NULL;
}

/* Once everything is known, also whether the spool could write. */
static void
http_transfer_outcome(struct http_transfer *t)
{
	struct body *spooled = NULL;

	t->ended = false;
	t->op.state = HTTP_ENDED;
	if (t->spool != NULL && t->why.code == ERR_OK)
		http_spool_error(t->spool, &t->why);
	if (t->spool != NULL && t->why.code == ERR_OK)
		spooled = http_spool_take(t->spool);
	if (t->why.code == ERR_OK)
		http_exchange_answered(&t->x, spooled, &t->op.res);
	else
		http_exchange_failed(&t->x, &t->why, &t->op.res);
	if (t->why.code == ERR_OK && t->x.ret->body != NULL)
		body_free_on(t->x.ret->body, t->c->work);
	op_wake(&t->op);
}

/* why says how. The spool may still have to write or to stop. */
void
http_transfer_close(struct http_transfer *t)
{
	t->ended = true;
	if (t->spool != NULL && t->why.code == ERR_OK)
		http_spool_end(t->spool);
	else if (t->spool != NULL)
		http_spool_cancel(t->spool);
	if (t->spool == NULL || !http_spool_busy(t->spool))
		http_transfer_outcome(t);
}

static void
http_transfer_count(struct http_transfer *t)
{
	struct http_client *client = &t->c->client;
	curl_off_t          up = 0, down = 0;
	long                request = 0, header = 0;

	curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request);
	curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &header);
	client->bytes_out += (uint64_t)up + (uint64_t)request;
	client->bytes_in += (uint64_t)down + (uint64_t)header;
}

/* libcurl gives it back; not from inside it. */
static void
http_transfer_detach(struct http_transfer *t)
{
	assert(t->c->inside == 0);
	http_transfer_count(t);
	http_transfer_unlink(t);
	http_curl_unyield(t);
	curl_multi_remove_handle(t->c->multi, t->easy);
	curl_easy_cleanup(t->easy);
	t->easy = NULL;
	for (struct curl_slist *h = t->headers; h != NULL; h = h->next)
		mem_wipe(h->data, strlen(h->data));
	curl_slist_free_all(t->headers);
	t->headers = NULL;
	http_queue_remove(&t->c->queue, &t->slot);
}

/* What libcurl's verdict means here. */
static void
http_transfer_judge(struct http_transfer *t, CURLcode code)
{
	enum http_phase phase = t->requested ? HTTP_PHASE_REQUEST : t->opened ? HTTP_PHASE_CONNECT : HTTP_PHASE_LOOKUP;

	if (code == CURLE_OK && !t->x.head_done)
		code = CURLE_PARTIAL_FILE; /* closed within the headers: libcurl makes do with that */
	if (t->why.code != ERR_OK || code == CURLE_OK || (t->again && t->x.head_done))
		return;
	if (t->x.broken.code != ERR_OK)
		t->why = t->x.broken;
	else if (t->again)
		http_curl_error(t->easy, CURLE_GOT_NOTHING, t->text, phase, &t->x, &t->why);
	else
		http_curl_error(t->easy, code, t->text, phase, &t->x, &t->why);
}

void
http_transfer_finish(struct http_transfer *t, CURLcode code)
{
	bool looking = http_queue_looking(&t->slot);

	http_transfer_judge(t, code);
	if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
		http_queue_lost(&t->c->queue, &t->slot, &t->why, false);
	else if (looking && code == CURLE_OPERATION_TIMEDOUT)
		http_queue_lost(&t->c->queue, &t->slot, &t->why, true);
	http_transfer_detach(t);
	http_transfer_close(t);
}

void
http_transfer_begin(struct http_transfer *t)
{
	CURLMcode rc;

	http_transfer_setup(t);
	http_transfer_link(t);
	if (t->setup != CURLE_OK)
		err_set(&t->why, ERR_UNSUPPORTED, (int)t->setup, "libcurl refuses an option: %s", curl_easy_strerror(t->setup));
	else if ((rc = curl_multi_add_handle(t->c->multi, t->easy)) != CURLM_OK)
		err_set(&t->why, ERR_IO, (int)rc, "libcurl: %s", curl_multi_strerror(rc));
	else
		return;
	http_transfer_finish(t, CURLE_OK);
}

/* At once, or after the call of libcurl that is under way. */
static void
http_transfer_stop(struct http_transfer *t)
{
	t->stop = true;
	t->c->stops = true;
	http_curl_settle(t->c);
}

/* libcurl hands over at once what it had kept, and tells only here if that was refused. */
void
http_transfer_unpause(struct http_transfer *t)
{
	struct http_curl *c = t->c;
	CURLcode          code;

	http_curl_enter(c);
	code = curl_easy_pause(t->easy, CURLPAUSE_CONT);
	c->inside--;
	if (code != CURLE_OK && !t->stop) {
		http_transfer_judge(t, code);
		http_transfer_stop(t);
	} else {
		http_curl_settle(c);
	}
}

void
http_transfer_spooled(void *arg)
{
	struct http_transfer *t = arg;

	if (t->ended && !http_spool_busy(t->spool)) {
		http_transfer_outcome(t);
	} else if (t->easy != NULL && t->why.code == ERR_OK && http_spool_error(t->spool, &t->why) != ERR_OK) {
		http_transfer_stop(t);
	} else if (t->easy != NULL && t->paused) {
		t->paused = false;
		http_transfer_unpause(t);
	}
}

/* --- the operation --- */

static bool
http_transfer_is_address(const char *host)
{
	return strchr(host, ':') != NULL || host[strspn(host, "0123456789.")] == '\0';
}

static enum op_turn
http_transfer_step(struct op *op)
{
	struct http_transfer *t = container_of(op, struct http_transfer, op);
	bool                  named;

	switch ((enum http_state)op->state) {
	case HTTP_START:
		if (http_exchange_check(&t->x, &op->res) != ERR_OK)
			return op_fail(op);
		op->state = HTTP_SENT;
		named = t->x.req.unix_socket == NULL && !http_transfer_is_address(t->x.host);
		http_queue_add(&t->c->queue, &t->slot, t->x.where, named);
		http_curl_settle(t->c);
		return OP_WAIT;
	case HTTP_SENT:
		return OP_WAIT;
	case HTTP_ENDED:
		return op_finish(op);
	}
	return OP_DONE;
}

static void
http_transfer_cancel(struct op *op)
{
	struct http_transfer *t = container_of(op, struct http_transfer, op);

	if (t->why.code == ERR_OK)
		err_set(&t->why, ERR_CANCELLED, 0, "cancelled");
	if (t->ended) { /* the answer is complete, only the spool still writes */
		http_spool_cancel(t->spool);
	} else if (t->easy != NULL) {
		http_transfer_stop(t);
	} else {
		http_queue_remove(&t->c->queue, &t->slot);
		http_transfer_close(t);
	}
}

static void
http_transfer_free(struct op *op)
{
	struct http_transfer *t = container_of(op, struct http_transfer, op);

	assert(t->easy == NULL && t->slot.state == HTTP_SLOT_IDLE);
	http_spool_free(t->spool);
	http_exchange_free(&t->x);
	free(t);
}

static const struct op_class http_transfer_class = {
	"http", http_transfer_step, http_transfer_cancel, http_transfer_free, http_states, ARRAY_LEN(http_states),
};

struct op *
http_transfer_new(struct http_client *client, const struct http_request *req, struct http_response *ret)
{
	struct http_transfer *t = xcalloc(1, sizeof(*t));

	op_init(&t->op, &http_transfer_class, client->loop);
	t->c = container_of(client, struct http_curl, client);
	http_exchange_init(&t->x, client, req, ret);
	return &t->op;
}
