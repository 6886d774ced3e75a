/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/loop_impl.h"

/*
 * The real loop. libevent watches descriptors and signals; timers are ours,
 * behind one timerfd, because libevent's clock stands still while the machine
 * sleeps and ours (CLOCK_BOOTTIME) does not.
 */

struct fd_watch {
	struct loop  *loop;
	int           fd;
	void        (*fn)(int fd, int ready, void *arg);
	void         *arg;
	struct event *event;
};

struct signal_watch {
	struct loop  *loop;
	void        (*fn)(int signo, void *arg);
	void         *arg;
	struct event *event;
};

int64_t
loop_clock_ns(const struct loop *l)
{
	struct timespec t;

	if (l->is_virtual)
		return l->mono_ms * LOOP_NS_PER_MS;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 * LOOP_NS_PER_MS + t.tv_nsec;
}

/* --- libevent --- */

static void
loop_event_log(int severity, const char *msg)
{
	if (severity >= EVENT_LOG_WARN)
		log_at(severity == EVENT_LOG_ERR ? LOG_ERROR : LOG_WARN, "loop", "libevent: %s", msg);
}

static void
loop_event_fatal(int code)
{
	log_at(LOG_ERROR, "loop", "libevent gave up, code %d", code);
	abort();
}

static void
loop_event_setup(void)
{
	event_set_mem_functions(xmalloc, xrealloc, free);
	event_set_log_callback(loop_event_log);
	event_set_fatal_callback(loop_event_fatal);
}

/* The kernel refuses only when it is out of memory or watches, or fd is none: no way to go on. */
static void
loop_event_add(struct event *ev)
{
	if (event_add(ev, NULL) == 0)
		return;
	log_at(LOG_ERROR, "loop", "cannot watch descriptor %d: %s", (int)event_get_fd(ev), strerror(errno));
	abort();
}

static void
loop_event_drain(int fd)
{
	uint64_t count;
	ssize_t  n;

	do
		n = read(fd, &count, sizeof(count));
	while (n < 0 && errno == EINTR);
}

static void
loop_event_posted(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct post *p;

	(void)what;
	loop_event_drain(fd); /* before the first pop: who posts into an empty list writes again */
	loop_enter(l);
	while ((p = loop_post_pop(l)) != NULL) {
		p->fn(p->arg);
		if (loop_batch_is_over(l) && loop_post_pending(l)) {
			loop_event_wake(l);
			break;
		}
	}
	loop_leave(l);
}

void
loop_event_wake(struct loop *l)
{
	uint64_t one = 1;
	ssize_t  n;

	do
		n = write(l->post_fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	assert(n == sizeof(one));
}

/* Only ends the wait: loop_event_turn() looks at the heap itself. */
static void
loop_event_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)what;
	loop_event_drain(fd);
	l->timer_armed = -1;
}

bool
loop_event_open(struct loop *l, struct err *reterr)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, loop_event_setup);
	l->timer_armed = -1;
	l->post_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->post_fd < 0 || l->timer_fd < 0) {
		err_errno(reterr, errno, "cannot make the event loop");
		return false;
	}
	l->base = event_base_new();
	if (l->base == NULL) {
		err_errno(reterr, errno, "cannot make the event loop");
		return false;
	}
	l->post_event = event_new(l->base, l->post_fd, EV_READ | EV_PERSIST, loop_event_posted, l);
	l->timer_event = event_new(l->base, l->timer_fd, EV_READ | EV_PERSIST, loop_event_timer, l);
	loop_event_add(l->post_event);
	loop_event_add(l->timer_event);
	return true;
}

void
loop_event_close(struct loop *l)
{
	if (l->base != NULL) {
		event_free(l->post_event);
		event_free(l->timer_event);
		event_base_free(l->base);
	}
	if (l->post_fd >= 0)
		close(l->post_fd);
	if (l->timer_fd >= 0)
		close(l->timer_fd);
}

/* --- one turn --- */

/* Only ever earlier: most timers are deadlines that are taken back, and one turn for nothing costs less than setting each. */
static void
loop_event_arm(struct loop *l)
{
	struct timer     *top = timer_top(l);
	struct itimerspec when = { { 0, 0 }, { 0, 0 } };
	int64_t           due = top != NULL ? top->due : -1;

	if (due < 0 || (l->timer_armed >= 0 && l->timer_armed <= due))
		return;
	when.it_value.tv_sec = (time_t)(due / 1000);
	when.it_value.tv_nsec = (long)(due % 1000 * LOOP_NS_PER_MS);
	if (due == 0)
		when.it_value.tv_nsec = 1; /* all zero would disarm it */
	if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) != 0) {
		log_at(LOG_ERROR, "loop", "cannot set the timer: %s", strerror(errno));
		abort();
	}
	l->timer_armed = due;
}

/* Those that were set before this batch; one that sets itself again with no delay waits for the next. */
static void
loop_event_timers(struct loop *l)
{
	struct timer *t = timer_top(l);
	uint64_t      end = l->timer_seq;

	if (t == NULL || t->due > loop_clock_ns(l) / LOOP_NS_PER_MS)
		return;
	loop_enter(l);
	while ((t = timer_top(l)) != NULL && t->due <= l->now_ms && t->seq < end) {
		timer_fire(t);
		if (loop_batch_is_over(l))
			break;
	}
	loop_leave(l);
}

/* Those that were queued before this batch. The rest of a batch that takes too long goes back to the front. */
static void
loop_event_deferred(struct loop *l)
{
	struct deferred batch = { NULL, NULL, &batch, &batch }, *q = &l->queue;

	if (l->ndeferred == 0)
		return;
	batch.next = q->next;
	batch.prev = q->prev;
	batch.next->prev = batch.prev->next = &batch;
	q->next = q->prev = q;
	loop_enter(l);
	while (batch.next != &batch) {
		loop_call(l, batch.next);
		if (loop_batch_is_over(l))
			break;
	}
	loop_leave(l);
	if (batch.next == &batch)
		return;
	batch.prev->next = q->next;
	q->next->prev = batch.prev;
	batch.next->prev = q;
	q->next = batch.next;
}

void
loop_event_turn(struct loop *l, bool block)
{
	struct timer *t = timer_top(l);
	bool          ready = l->ndeferred > 0 || (t != NULL && t->due <= loop_clock_ns(l) / LOOP_NS_PER_MS);

	assert(!l->in_turn);
	if (!ready)
		loop_event_arm(l);
	if (event_base_loop(l->base, EVLOOP_ONCE | (block && !ready ? 0 : EVLOOP_NONBLOCK)) < 0) {
		log_at(LOG_ERROR, "loop", "cannot wait for events: %s", strerror(errno));
		abort();
	}
	loop_event_timers(l);
	loop_event_deferred(l);
}

/* --- descriptors and signals --- */

static void
fd_watch_ready(evutil_socket_t fd, short what, void *arg)
{
	struct fd_watch *w = arg;
	struct loop     *l = w->loop; /* w may be gone after the call */

	loop_enter(l);
	w->fn(fd, (what & EV_READ ? LOOP_READ : 0) | (what & EV_WRITE ? LOOP_WRITE : 0), w->arg);
	loop_leave(l);
}

struct fd_watch *
fd_watch_new(struct loop *l, int fd, int what, void (*fn)(int fd, int ready, void *arg), void *arg)
{
	struct fd_watch *w = xcalloc(1, sizeof(*w));

	assert(!l->is_virtual && fd >= 0);
	w->loop = l;
	w->fd = fd;
	w->fn = fn;
	w->arg = arg;
	w->event = event_new(l->base, fd, EV_PERSIST, fd_watch_ready, w);
	l->nwatches++;
	fd_watch_set(w, what);
	return w;
}

void
fd_watch_set(struct fd_watch *w, int what)
{
	short events = EV_PERSIST;

	if (what & LOOP_READ)
		events |= EV_READ;
	if (what & LOOP_WRITE)
		events |= EV_WRITE;
	if (events == event_get_events(w->event))
		return;
	event_del(w->event);
	event_assign(w->event, w->loop->base, w->fd, events, fd_watch_ready, w);
	if (what != 0)
		loop_event_add(w->event);
}

void
fd_watch_free(struct fd_watch *w)
{
	if (w == NULL)
		return;
	event_free(w->event);
	w->loop->nwatches--;
	free(w);
}

static void
signal_watch_caught(evutil_socket_t signo, short what, void *arg)
{
	struct signal_watch *w = arg;
	struct loop         *l = w->loop;

	(void)what;
	loop_enter(l);
	w->fn(signo, w->arg);
	loop_leave(l);
}

struct signal_watch *
signal_watch_new(struct loop *l, int signo, void (*fn)(int signo, void *arg), void *arg)
{
	struct signal_watch *w = xcalloc(1, sizeof(*w));

	assert(!l->is_virtual);
	w->loop = l;
	w->fn = fn;
	w->arg = arg;
	w->event = evsignal_new(l->base, signo, signal_watch_caught, w);
	loop_event_add(w->event);
	l->nwatches++;
	return w;
}

void
signal_watch_free(struct signal_watch *w)
{
	if (w == NULL)
		return;
	event_free(w->event);
	w->loop->nwatches--;
	free(w);
}
