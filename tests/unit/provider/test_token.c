/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../lib/test.h"
#include "base/log.h"
#include "provider/token.h"

/* What is fetched, kept and renewed, in virtual time. A value is a number; the issuer counts how often it is asked. */
#define SECOND ((int64_t)1000)
#define MINUTE (60 * SECOND)
#define WALL   ((int64_t)1795000000000)

struct value {
	unsigned number;
	int64_t  ends;
};

static struct {
	struct loop  *loop;
	struct token *t;
	unsigned      asked, live, released, said; /* live: values not wiped */
	int64_t       life, takes;
	enum err_code fails;
	char          log[512];
} r;

/* --- an issuer --- */

struct ask {
	struct op     op;
	struct value *ret;
};

static enum op_turn
ask_step(struct op *op)
{
	struct ask *a = container_of(op, struct ask, op);

	if (op->state == 0) {
		r.asked++;
		return op_await(op, 1, op_sleep(op->loop, r.takes));
	}
	if (op_failed(op))
		return op_fail(op);
	*a->ret = (struct value){ r.asked, r.life == 0 ? 0 : loop_wall(op->loop) + r.life };
	r.live++;
	if (r.fails != ERR_OK) {
		err_set(&op->res, r.fails, 0, "the issuer is out");
		return op_fail(op);
	}
	return op_ok(op);
}

static void
ask_free(struct op *op)
{
	free(container_of(op, struct ask, op));
}

static const struct op_class ask_class = { "ask", ask_step, NULL, ask_free, NULL, 0 };

static struct op *
value_fetch(void *arg, void *ret)
{
	struct ask *a = xcalloc(1, sizeof(*a));

	CHECK(arg == &r && ((struct value *)ret)->number == 0);
	op_init(&a->op, &ask_class, r.loop);
	a->ret = ret;
	return &a->op;
}

static int64_t
value_ends(const void *value)
{
	return ((const struct value *)value)->ends;
}

static void
value_wipe(void *value)
{
	struct value *v = value;

	r.live -= v->number != 0;
	*v = (struct value){ 0 };
}

static void
value_release(void *arg)
{
	CHECK(arg == &r);
	r.released++;
}

static const struct token_class class = { "the number", sizeof(struct value), value_fetch, value_ends, value_wipe, value_release };

static void
heard(void *arg, const char *line)
{
	(void)arg;
	r.said++;
	snprintf(r.log, sizeof(r.log), "%s", line);
}

static void
begin(int64_t life)
{
	memset(&r, 0, sizeof(r));
	r.loop = loop_new_virtual(3, WALL);
	r.life = life;
	r.takes = 2 * SECOND;
	log_setup(LOG_WARN, false, loop_clock(r.loop));
	log_sink(heard, NULL);
	r.t = token_new(r.loop, &class, &r, "main");
}

static void
end(void)
{
	token_free(r.t);
	while (loop_turn(r.loop, false))
		continue;
	CHECK_U64(r.released, 1);
	CHECK_U64(r.live, 0);
	loop_free(r.loop);
	log_sink(NULL, NULL);
}

/* --- who needs it --- */

struct user {
	bool       done;
	struct err err;
	int64_t    took;
};

static void
user_done(struct op *op, void *arg)
{
	struct user *u = arg;

	u->done = true;
	u->err = op->err;
	u->took += loop_now(op->loop);
	op_free(op);
}

static struct op *
user_start(struct user *u)
{
	struct op *op = token_ready(r.t, loop_wall(r.loop));

	*u = (struct user){ .took = -loop_now(r.loop) };
	op_start(op, user_done, u);
	return op;
}

static bool
user_is_done(void *arg)
{
	return ((struct user *)arg)->done;
}

static struct user
use(void)
{
	struct user u;

	user_start(&u);
	CHECK(loop_run_until(r.loop, user_is_done, &u, 3600 * SECOND));
	return u;
}

static bool
never(void *arg)
{
	(void)arg;
	return false;
}

static void
pass(int64_t ms)
{
	op_start(op_sleep(r.loop, ms), NULL, NULL);
	loop_run_until(r.loop, never, NULL, ms + 1);
}

static unsigned
number(void)
{
	const struct value *v = token_value(r.t);

	return v != NULL ? v->number : 0;
}

/* --- */

static void
asks_once_for_all_that_wait(void)
{
	struct user u[50];

	begin(60 * MINUTE);
	CHECK(token_value(r.t) == NULL);
	for (size_t i = 0; i < ARRAY_LEN(u); i++)
		user_start(&u[i]);
	pass(3 * SECOND);
	for (size_t i = 0; i < ARRAY_LEN(u); i++)
		CHECK(u[i].done && u[i].err.code == ERR_OK && u[i].took == 2 * SECOND);
	CHECK_U64(r.asked, 1);
	CHECK_U64(number(), 1);
	CHECK_U64(token_generation(r.t), 1);
	pass(50 * MINUTE);
	CHECK_U64(use().took, 0);
	CHECK_U64(r.asked, 1);
	end();
}

/* The present value is used while the next one is on its way; nobody waits for it. */
static void
renews_beside_the_requests(void)
{
	struct user u;

	begin(60 * MINUTE);
	use();
	pass(56 * MINUTE);
	u = use();
	CHECK(u.err.code == ERR_OK && u.took == 0);
	CHECK_U64(number(), 1);
	CHECK_U64(use().took, 0);
	pass(1 * SECOND);
	CHECK_U64(use().took, 0);
	CHECK_U64(number(), 1);
	CHECK_U64(r.asked, 2);
	pass(2 * SECOND);
	CHECK_U64(number(), 2);
	CHECK_U64(token_generation(r.t), 2);
	CHECK_U64(use().took, 0);
	CHECK_U64(r.asked, 2);
	end();
}

static void
waits_in_its_last_seconds(void)
{
	begin(60 * MINUTE);
	use();
	pass(60 * MINUTE - 5 * SECOND);
	CHECK_U64(use().took, 2 * SECOND);
	CHECK_U64(number(), 2);
	end();
	begin(60 * MINUTE);
	use();
	pass(61 * MINUTE);
	CHECK_U64(use().took, 2 * SECOND);
	CHECK_U64(number(), 2);
	end();
}

/* A life of seconds still has its good time. */
static void
takes_a_short_life(void)
{
	begin(20 * SECOND);
	use();
	pass(9 * SECOND);
	CHECK_U64(use().took, 0);
	CHECK_U64(r.asked, 1);
	pass(3 * SECOND);
	CHECK_U64(use().took, 0);
	pass(1 * SECOND);
	CHECK_U64(r.asked, 2);
	end();
}

static void
says_once_that_renewing_fails(void)
{
	begin(60 * MINUTE);
	use();
	pass(54 * MINUTE);
	r.fails = ERR_AUTH;
	pass(1 * MINUTE);
	for (int i = 0; i < 20; i++) {
		CHECK_U64(use().err.code, ERR_OK);
		pass(5 * SECOND);
	}
	CHECK(r.asked >= 3 && r.asked <= 6);
	CHECK_U64(r.said, 1);
	CHECK(strstr(r.log, "main: the number cannot be renewed, the present one is good for 4 min: the issuer is out") != NULL);
	r.fails = ERR_OK; /* it comes back: a later failure is news again */
	pass(30 * SECOND);
	use();
	pass(3 * SECOND);
	CHECK(number() > 1);
	pass(55 * MINUTE);
	r.fails = ERR_NETWORK;
	use();
	pass(3 * SECOND);
	CHECK_U64(r.said, 2);
	end();
}

static void
gives_the_same_error_to_all(void)
{
	struct user u[10], v;

	begin(60 * MINUTE);
	r.fails = ERR_AUTH;
	for (size_t i = 0; i < ARRAY_LEN(u); i++)
		user_start(&u[i]);
	pass(2500);
	for (size_t i = 0; i < ARRAY_LEN(u); i++)
		CHECK(u[i].done && u[i].err.code == ERR_AUTH && strcmp(u[i].err.msg, "the issuer is out") == 0);
	v = use(); /* right afterwards: nobody is asked */
	CHECK(v.err.code == ERR_AUTH && v.took == 0);
	CHECK_U64(r.asked, 1);
	CHECK_U64(r.said, 0);
	pass(1 * SECOND);
	r.fails = ERR_OK;
	CHECK_U64(use().err.code, ERR_OK);
	CHECK_U64(r.asked, 2);
	end();
}

static void
waits_for_another_when_one_was_refused(void)
{
	begin(60 * MINUTE);
	use();
	token_reject(r.t, 1);
	CHECK_U64(use().took, 2 * SECOND);
	CHECK_U64(number(), 2);
	token_reject(r.t, 1); /* of one that is gone already */
	CHECK_U64(use().took, 0);
	CHECK_U64(r.asked, 2);
	r.fails = ERR_NETWORK;
	token_reject(r.t, 2);
	CHECK_U64(use().err.code, ERR_NETWORK);
	end();
}

static void
keeps_for_ever_what_never_ends(void)
{
	struct value v = { 7, 0 };

	begin(0);
	r.live++;
	token_set(r.t, &v, loop_wall(r.loop));
	CHECK_U64(v.number, 0);
	pass(100 * 24 * 60 * MINUTE);
	CHECK_U64(use().took, 0);
	CHECK_U64(r.asked, 0);
	CHECK_U64(number(), 7);
	end();
}

static void
lets_a_waiter_go(void)
{
	struct user a, b;
	struct op  *op;

	begin(60 * MINUTE);
	op = user_start(&a);
	user_start(&b);
	pass(1 * SECOND);
	op_cancel(op);
	pass(500);
	CHECK(a.done && a.err.code == ERR_CANCELLED && !b.done);
	pass(1 * SECOND);
	CHECK(b.done && b.err.code == ERR_OK);
	end();
}

static void
is_freed_while_it_is_fetched(void)
{
	struct user u;
	struct op  *op;

	begin(60 * MINUTE);
	op = user_start(&u);
	pass(1 * SECOND);
	op_cancel(op);
	pass(100);
	CHECK_U64(r.released, 0);
	end(); /* the fetch is cancelled, then released */
	CHECK_U64(r.asked, 1);
	token_free(NULL);
}

int
main(int argc, char **argv)
{
	return test_main(argc, argv, (struct test[]){
	    { "asks_once_for_all_that_wait", asks_once_for_all_that_wait },
	    { "renews_beside_the_requests", renews_beside_the_requests },
	    { "waits_in_its_last_seconds", waits_in_its_last_seconds },
	    { "takes_a_short_life", takes_a_short_life },
	    { "says_once_that_renewing_fails", says_once_that_renewing_fails },
	    { "gives_the_same_error_to_all", gives_the_same_error_to_all },
	    { "waits_for_another_when_one_was_refused", waits_for_another_when_one_was_refused },
	    { "keeps_for_ever_what_never_ends", keeps_for_ever_what_never_ends },
	    { "lets_a_waiter_go", lets_a_waiter_go },
	    { "is_freed_while_it_is_fetched", is_freed_while_it_is_fetched },
	    { NULL, NULL } });
}
