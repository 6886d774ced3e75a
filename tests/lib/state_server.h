/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_STATE_SERVER_H
#define TESTS_LIB_STATE_SERVER_H

#include "scripted_http.h"

/* A server of terraform's HTTP state protocol in memory: states by path, 423 with the holder, ETag and Content-MD5 as promised. */
struct state_server;

struct state_server *state_server_new(struct scripted_http *s);
void                 state_server_free(struct state_server *v);
void                 state_server_put(struct state_server *v, const char *path, struct span body); /* another party writes */
struct span          state_server_get(struct state_server *v, const char *path); /* p NULL: nothing there */
void                 state_server_lock_nobody(struct state_server *v, bool yes); /* LOCK is answered 200, whoever holds it */
size_t               state_server_locks(struct state_server *v);   /* held now */
unsigned             state_server_lockings(struct state_server *v); /* LOCKs so far */

#endif
