/* SPDX-License-Identifier: MIT */
#ifndef NET_HTTP_SERVER_IMPL_H
#define NET_HTTP_SERVER_IMPL_H

#include <microhttpd.h>
#include <sys/socket.h>

#include "net/http_check.h"
#include "net/http_server.h"

/*
 * http_server.c has the sockets: accepting, the head before libmicrohttpd sees it, deadlines, the end.
 * http_call.c has what happens in between, in libmicrohttpd's callbacks.
 *
 * One request per connection: accept -> HEAD (we peek until the head is complete, and check it) -> libmicrohttpd gets
 * a duplicate of the descriptor: BODY -> RUN (suspended) -> ANSWER -> it closes its own -> LINGER (what the peer still
 * sends is read and dropped, so that the kernel does not reset a connection whose answer is on its way) -> closed.
 */
enum http_phase { HTTP_HEAD, HTTP_BODY, HTTP_RUN, HTTP_ANSWER, HTTP_LINGER };

/* Each phase ends at its own time, however busy the peer seems. */
struct http_limits {
	int64_t  head_ms;        /* from accept to the end of the head */
	int64_t  body_ms;        /* plus what the bytes so far may take at rate */
	int64_t  answer_ms;      /* the same for the answer; also without any progress in either */
	int64_t  linger_ms;
	int64_t  retry_ms;       /* between two tries to accept when descriptors are short */
	uint64_t rate;           /* bytes per second */
	unsigned connections;
	unsigned per_address;    /* TCP */
};
extern const struct http_limits http_limits_default;

#define HTTP_REPLY_FIELDS_MAX 8

struct http_field {
	char *name, *value;
};

union http_address {
	struct sockaddr         sa;
	struct sockaddr_storage storage;
};

struct http_call {
	struct http_server    *server;
	struct http_call      *prev, *next;
	enum http_phase        phase;
	int64_t                since;     /* start of the phase */
	struct timer           timer;     /* end of the phase */
	int                    fd;
	union http_address     peer;
	socklen_t              peer_n;
	bool                   is_local;  /* a Unix socket, and uid is known */
	uid_t                  uid;
	struct http_head       head;

	struct MHD_Connection *conn;      /* from its first callback to its last */
	const char            *method, *path;
	bool                   accepted;  /* the handler knows it: gone() is owed */
	bool                   complete;  /* the whole body is here */
	bool                   in_handler, suspended, replied;
	bool                   left;      /* the peer does not listen any more */
	bool                   cut;       /* to be closed without an answer */
	uint64_t               max;
	struct buf             body;
	uint64_t               moved;     /* bytes of this phase */
	void                  *data;

	struct http_field      fields[HTTP_REPLY_FIELDS_MAX];
	size_t                 nfields;
	unsigned               status;
	struct MHD_Response   *response;  /* until it is queued */
	struct body           *answer;
};

struct http_server {
	struct loop           *loop;
	struct http_server_conf conf;
	struct http_limits     limits;
	bool                   is_unix, quiet, stopping;
	bool                   paused, told; /* accepting failed: waiting for retry; logged */
	bool                   running;   /* inside libmicrohttpd */
	int                    listen_fd; /* -1: closed */
	struct fd_watch       *listen_watch;
	struct timer           retry;
	int                    epoll_fd;  /* our view of the connections, edge-triggered */
	struct fd_watch       *epoll_watch;
	struct http_call      *first, *last;
	unsigned               ncalls;
	struct http_call      *handed;    /* on its way into libmicrohttpd */
	struct MHD_Daemon     *daemon;
	struct fd_watch       *daemon_watch;
	struct timer           daemon_timer;
	struct deferred        daemon_call; /* after a resume: nothing else would wake it */
	uint8_t                peek[HTTP_HEAD_MAX];
};

enum err_code http_server_new_limited(struct loop *l, const struct http_server_conf *conf,
    const struct http_limits *limits, struct http_server **ret, struct err *reterr);

/* --- http_server.c, for http_call.c --- */
void http_call_enter(struct http_call *c, enum http_phase phase);
/* What may take longer because of what came or went. */
void http_call_moved(struct http_call *c, uint64_t bytes);
/* Writes an answer of our own past libmicrohttpd, which has written nothing so far. */
void http_call_refuse(struct http_call *c, int status, const char *reason);
/* libmicrohttpd has something to do that no descriptor tells. */
void http_server_kick(struct http_server *s);
/* libmicrohttpd is done with it. */
void http_call_ended(struct http_call *c);

/* --- http_call.c, for http_server.c --- */
/* Ends it without an answer; what follows comes from libmicrohttpd. */
void            http_call_cut(struct http_call *c);
void            http_call_clear(struct http_call *c);
enum MHD_Result http_call_handler(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_n, void **con_cls);
void http_call_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why);
void http_call_notify(void *cls, struct MHD_Connection *conn, void **socket_context,
    enum MHD_ConnectionNotificationCode what);

#endif
