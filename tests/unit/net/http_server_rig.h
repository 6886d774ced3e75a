/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_NET_HTTP_SERVER_RIG_H
#define TESTS_UNIT_NET_HTTP_SERVER_RIG_H

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_server_impl.h"
#include "../../lib/test.h"

/*
 * A server whose deadlines are short, and peers with raw sockets on the same loop. Its handlers answer /now at once, /late when
 * told, /deny before the body, /none without one, /big with served.big.
 */
#define PEERS_MAX      16
#define SERVED_BIG     ((size_t)8 << 20)
#define SERVED_CHUNKED "PUT /now HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

struct served {
	struct loop        *loop;
	struct http_server *server;      /* NULL: the test has freed it */
	char                sock[400];
	struct sockaddr_in  addr;
	bool                tcp;
	struct err          e;

	/* what the handlers saw */
	unsigned            accepts, handles, gones, late_count;
	struct http_call   *late[PEERS_MAX];
	char                seen[2000];
	uid_t               seen_uid;
	bool                seen_local;

	uint64_t            body_max;    /* what they allow, and answer */
	struct body        *big;
};
extern struct served served;

struct http_limits served_limits(void);
void               served_start(bool over_tcp);
void               served_start_with(bool over_tcp, const struct http_limits *l);
/* Closes every peer and checks that each call that was accepted is gone. */
void               served_stop(void);
void               served_answer(struct http_call *c, int status, const char *text);
void               served_make_big(bool in_file);
void               served_wait_ms(int64_t ms);
/* Turns the loop until *n, one of the counts above, is want. */
void               served_until(const unsigned *n, unsigned want);
/* For loop_run_until(): no call is left. */
bool               served_is_empty(void *arg);
/* As the handlers of a server that a test makes by itself. */
void               served_handlers(struct http_server_conf *conf);

struct peer {
	int              fd;
	struct fd_watch *watch;
	struct buf       got;
	bool             eof, reset;
};
extern struct peer peers[PEERS_MAX];
extern unsigned    npeers;

int          peer_socket(void);       /* connected */
struct peer *peer_on(int fd);
struct peer *peer_new(void);
void         peer_send(struct peer *p, const char *text);
void         peer_send_n(struct peer *p, const char *text, size_t n);
void         peer_close(struct peer *p);
bool         peer_is_done(void *arg); /* arg: struct peer; it saw the end */
/* All that came, once the end is there. */
const char  *peer_answer(struct peer *p);
const char  *peer_ask(const char *request);
int          peer_status(const char *answer);

#define CHECK_STATUS(text, status) \
	do { \
		const char *text_ = (text); \
		if (peer_status(text_) != (status)) \
			test_fail(__FILE__, __LINE__, "not %d: %.300s", (status), text_); \
	} while (0)

#endif
