/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "remote_tests.h"

/* The same of writing and locking. */

/* --- writing --- */

static void
tells_conflicts(void)
{
	static const struct {
		int           status;
		const char   *detail;
		enum err_code code;
		const char   *says;
	} rows[] = {
		{ 409, "lineage a does not match b", ERR_CONFLICT, "another lineage" },
		{ 412, "The serial 1 is not greater than the serial 2", ERR_CONFLICT, "newer serial" },
		{ 409, "serial provided is not greater than the serial currently present", ERR_CONFLICT, "newer serial" },
		{ 409, "a different MD5 hash was provided with the same serial number", ERR_CONFLICT, "other bytes under the same serial" },
		{ 500, "same serial number", ERR_CONFLICT, "other bytes under the same serial" },
		{ 409, "The workspace is not locked", ERR_CONFLICT, "not locked by us" },
		{ 409, "somehow", ERR_CONFLICT, "somehow" },
		{ 422, "md5 is missing", ERR_UNSUPPORTED, "md5 is missing" },
		{ 404, "not found", ERR_AUTH, "not permitted" },
		{ 403, "", ERR_AUTH, "not permitted" },
	};
	char text[400], etag[ETAG_MAX];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		begin("");
		scripted_expect(r.http, "GET", "/organizations/acme/workspaces/x", 200, NULL, "{\"data\":{\"id\":\"ws-1\",\"attributes\":{}}}");
		snprintf(text, sizeof(text), "{\"errors\":[{\"title\":\"conflict\",\"detail\":\"%s\"}]}", rows[i].detail);
		scripted_expect(r.http, "POST", "/workspaces/ws-1/state-versions", rows[i].status, NULL, text);
		if (put("x", STATE(1), etag) != rows[i].code || strstr(r.err.msg, rows[i].says) == NULL)
			test_fail(__FILE__, __LINE__, "row %zu: %s: %s", i, err_kind(r.err.code), r.err.msg);
		scripted_http_check(r.http);
		end();
	}
}

/* Each request in turn is lost in each way: what is said of the outcome is true, no version is announced twice, and the lock can go. */
static void
survives_lost_answers(void)
{
	static const enum scripted_fault faults[] = { SCRIPTED_LOST_BEFORE, SCRIPTED_LOST_REQUEST, SCRIPTED_LOST_ANSWER,
		SCRIPTED_TIMEOUT_APPLIED, SCRIPTED_CUT, SCRIPTED_BUSY };
	unsigned ok = 0;

	for (size_t f = 0; f < ARRAY_LEN(faults); f++)
		for (unsigned n = 1; n <= 9; n++) {
			struct lock_info l = { .id = "" };
			char             etag[ETAG_MAX];
			enum err_code    locked, written;

			begin("");
			fake_tfe_put(fake, "x", span_str(STATE(1)));
			fake->pending = 2;
			scripted_fail(r.http, n, faults[f]);
			locked = lock("x", &l, NULL);
			written = locked == ERR_OK ? put("x", STATE(2), etag) : ERR_CANCELLED;
			if (locked != ERR_OK && !(n <= 2 && locked != ERR_LOCKED))
				test_fail(__FILE__, __LINE__, "fault %s at %u: lock: %s", scripted_fault_name(faults[f]), n, r.err.msg);
			if ((written == ERR_OK) != holds("x", STATE(2)) && written != ERR_UNCERTAIN)
				test_fail(__FILE__, __LINE__, "fault %s at %u: %s", scripted_fault_name(faults[f]), n, r.err.msg);
			ok += written == ERR_OK;
			CHECK(fake->announced <= 1);
			if (unlock("x", &l) != ERR_OK && unlock("x", &l) != ERR_OK)
				test_fail(__FILE__, __LINE__, "fault %s at %u: unlock: %s\n%s", scripted_fault_name(faults[f]), n, r.err.msg,
				    scripted_http_trace(r.http));
			CHECK_U64(fake_tfe_locks(fake), 0);
			end();
		}
	CHECK(ok >= 45);
}

/* Its bytes were taken, but the server takes its time with them: the lock cannot go before. */
static void
waits_for_a_pending_version(void)
{
	struct lock_info l = { .id = "" };
	char             etag[ETAG_MAX];

	begin("");
	IS(lock("x", &l, NULL), ERR_NOT_FOUND);
	fake_tfe_workspace(fake, "x");
	IS(lock("x", &l, NULL), ERR_OK);
	fake->pending = 1000;
	IS(put("x", STATE(1), etag), ERR_UNCERTAIN);
	CHECK(strstr(r.err.msg, "not finalized") != NULL && strstr(r.err.hint, "cannot be unlocked") != NULL);
	IS(unlock("x", &l), ERR_BUSY);
	CHECK(strstr(r.err.msg, "stays locked") != NULL && strstr(r.err.hint, "terraform force-unlock acme/x") != NULL);
	fake_tfe_workspace(fake, "x")->versions[0].status = "finalized";
	IS(unlock("x", &l), ERR_OK);
	end();
}

/* Announced by somebody who is gone: it stays pending, and a lock of ours goes by force, where that is permitted. */
static void
does_not_wait_for_what_was_never_sent(void)
{
	struct lock_info      l = { .id = "" };
	struct tfe_workspace *w;

	begin("");
	w = fake_tfe_workspace(fake, "x");
	IS(lock("x", &l, NULL), ERR_OK);
	fake_tfe_put(fake, "x", SPAN_LIT(STATE(1)))->status = "pending";
	body_unref(w->versions[0].body);
	w->versions[0].body = NULL;
	fake->no_force = true;
	IS(unlock("x", &l), ERR_AUTH);
	CHECK(strstr(r.err.msg, "stays locked") != NULL && strstr(r.err.msg, "never sent") != NULL);
	CHECK(strstr(r.err.hint, "terraform force-unlock acme/x") != NULL);
	fake->no_force = false;
	IS(unlock("x", &l), ERR_OK);
	CHECK_U64(fake->forced, 1);
	CHECK_U64(fake_tfe_locks(fake), 0);
	end();
}

/* --- locks --- */

static void
tells_whose_lock_it_is(void)
{
	struct lock_info l = { .id = "" }, holder, mine;
	struct state_ref at = ref("x");
	char             reason[REMOTE_REASON_MAX];

	begin("");
	fake_tfe_workspace(fake, "x");
	IS(run(provider_lock_peek(r.b, &at, &holder)), ERR_NOT_FOUND);
	IS(lock("x", &l, NULL), ERR_OK);
	IS(run(provider_lock_peek(r.b, &at, &holder)), ERR_OK);
	CHECK(lock_info_is_ours(&holder));
	CHECK_STR(holder.id, l.id);
	CHECK_STR(holder.who, l.who);
	CHECK_STR(holder.created, l.created);
	CHECK_STR(holder.path, "acme/x");
	/* somebody took it over by force meanwhile: ours is gone, theirs stays */
	fake_tfe_workspace(fake, "x")->foreign = true;
	snprintf(fake_tfe_workspace(fake, "x")->reason, 300, "Locked by Terraform");
	IS(unlock("x", &l), ERR_OK);
	CHECK_U64(fake_tfe_locks(fake), 1);
	mine = l;
	IS(lock("x", &mine, &holder), ERR_LOCKED);
	CHECK_STR(holder.id, "acme/x");
	CHECK_STR(holder.who, "user user-other");
	CHECK_STR(holder.info, "Locked by Terraform");
	/* a person breaks it, by the id that is shown */
	IS(unlock("x", &holder), ERR_OK);
	CHECK_U64(fake_tfe_locks(fake), 0);
	CHECK_U64(fake->forced, 1);
	/* the reason, there and back */
	memset(l.info, 'i', sizeof(l.info) - 1);
	remote_reason(&l, reason);
	CHECK(remote_reason_parse(reason, &mine));
	CHECK_STR(mine.id, l.id);
	CHECK(!remote_reason_parse("Locked by Terraform", &mine) && !remote_reason_parse("stateferry lock x", &mine));
	end();
}

/* Before anything is locked in vain. */
static void
tells_what_the_token_may_not(void)
{
	static const struct {
		const char *permission, *says;
	} rows[] = { { "can-lock", "may not lock" }, { "can-unlock", "may not lock" }, { "can-create-state-versions", "may not write" },
		{ "can-force-unlock", NULL } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lock_info l = { .id = "" };

		begin("");
		fake_tfe_workspace(fake, "x");
		fake->denied = rows[i].permission;
		IS(lock("x", &l, NULL), rows[i].says != NULL ? ERR_AUTH : ERR_OK);
		CHECK(rows[i].says == NULL || (strstr(r.err.msg, rows[i].says) != NULL && strstr(r.err.hint, "never writes") != NULL));
		CHECK_U64(fake_tfe_locks(fake), rows[i].says == NULL);
		end();
	}
}

/* A rename between lock and unlock: it is unlocked all the same. */
static void
unlocks_what_was_renamed(void)
{
	struct lock_info l = { .id = "" };
	struct tfe_workspace *w;

	begin("");
	w = fake_tfe_workspace(fake, "x");
	IS(lock("x", &l, NULL), ERR_OK);
	map_del(fake->workspaces, span_str("x"));
	map_put(fake->workspaces, span_str("y"), w);
	IS(unlock("x", &l), ERR_OK);
	CHECK(!w->locked);
	end();
}

/* The same after a crash: only what was journalled is known. A workspace that has the name now is left alone. */
static void
unlocks_what_was_renamed_since_a_crash(void)
{
	static const char *const rows[] = { "", "  create = true\n" };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct lock_info      l = { .id = "" }, journalled;
		struct state_ref      at = ref("x");
		struct tfe_workspace *w, *other;
		struct buf            body;

		begin(rows[i]);
		if (i == 0) {
			fake_tfe_workspace(fake, "x");
			CHECK(run(provider_get(r.b, &at, NULL, &(struct snapshot){ .body = NULL })) == ERR_NOT_FOUND); /* it is known, though empty */
			provider_lock_new(r.b, &at, "", &l);
			CHECK(strncmp(l.path, "acme/x, ws-", strlen("acme/x, ws-")) == 0);
		}
		IS(lock("x", &l, NULL), ERR_OK);
		CHECK(strncmp(l.path, "acme/x, ws-", strlen("acme/x, ws-")) == 0);
		buf_init(&body, 0);
		lock_info_body(&l, &body);
		IS(lock_info_parse(buf_span(&body), &journalled, NULL), ERR_OK);
		buf_free(&body);
		w = map_del(fake->workspaces, span_str("x"));
		map_put(fake->workspaces, span_str("y"), w);
		other = fake_tfe_workspace(fake, "x");
		other->locked = true;
		remote_forget(remote_of(r.b), "x");
		IS(unlock("x", &journalled), ERR_OK);
		CHECK(!w->locked && other->locked);
		IS(unlock("x", &journalled), ERR_OK); /* it is gone: fine */
		fake_tfe_drop(fake, "y");
		IS(unlock("x", &journalled), ERR_OK); /* and so is the workspace */
		CHECK(other->locked);
		end();
	}
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){ { "tells conflicts", tells_conflicts },
	    { "survives lost answers", survives_lost_answers },
	    { "waits for a pending version", waits_for_a_pending_version },
	    { "does not wait for what was never sent", does_not_wait_for_what_was_never_sent },
	    { "tells whose lock it is", tells_whose_lock_it_is },
	    { "tells what the token may not", tells_what_the_token_may_not },
	    { "unlocks what was renamed", unlocks_what_was_renamed },
	    { "unlocks what was renamed since a crash", unlocks_what_was_renamed_since_a_crash }, { NULL, NULL } });
}
