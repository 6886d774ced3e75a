/* SPDX-License-Identifier: MIT */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

#include "base/err.h"

/*
 * What a service manager wants to hear (Type=notify, WatchdogSec=): one datagram each to $NOTIFY_SOCKET, as
 * sd_notify(3) describes. Without that variable all of this does nothing and succeeds. Nothing here waits:
 * a queue that is full is ERR_BUSY, anything else ERR_IO.
 */
struct notify;

/* Takes the variables out of the environment, so that no child speaks in our name: before there are threads. ERR_CONFIG:
 * the variable is no path of a socket; *ret is set even then, to one that does nothing. */
enum err_code notify_open(struct notify **ret, struct err *reterr);
void          notify_close(struct notify *n);

/* Ready, or ready again after notify_reloading(). status is one line for people; NULL: none. */
enum err_code notify_ready(struct notify *n, const char *status, struct err *reterr);
enum err_code notify_reloading(struct notify *n, struct err *reterr);
enum err_code notify_stopping(struct notify *n, struct err *reterr);
enum err_code notify_status(struct notify *n, const char *status, struct err *reterr);
/* How often notify_watchdog() is to be called: half of what the manager allows; 0: never. */
int64_t       notify_watchdog_ms(const struct notify *n);
enum err_code notify_watchdog(struct notify *n, struct err *reterr);

#endif
