/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESS_LOOK_MS 100  /* how often it is seen that nobody waits any longer */

extern char **environ;

/* Its own process group, so that what it starts ends with it. */
static enum err_code
process_start(const char *what, const char *const *words, int out, pid_t *ret, struct err *reterr)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t          attr;
	sigset_t                   none;
	int                        rc;

	sigemptyset(&none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, out, 1);
	posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	rc = posix_spawnp(ret, words[0], &files, &attr, (char *const *)(uintptr_t)words, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc == 0 ? ERR_OK : err_errno(reterr, rc, "%s: cannot run %.80s", what, words[0]);
}

static int64_t
process_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum err_code
process_read(const char *what, int fd, struct work_job *job, struct buf *ret, struct err *reterr)
{
	int64_t       end = process_now() + PROCESS_TIMEOUT_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t       n;

	for (;;) {
		if (job != NULL && work_cancelled(job))
			return err_set(reterr, ERR_CANCELLED, 0, "cancelled");
		if (process_now() >= end)
			return err_set(reterr, ERR_TIMEOUT, 0, "%s does not end within %d s", what, PROCESS_TIMEOUT_MS / 1000);
		if (poll(&p, 1, PROCESS_LOOK_MS) <= 0)
			continue;
		if (ret->max - ret->len < 4096)
			return err_set(reterr, ERR_AUTH, 0, "%s prints more than %zu bytes", what, PROCESS_OUTPUT_MAX);
		n = read(fd, ret->data + ret->len, 4096);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_errno(reterr, errno, "%s: cannot read what it prints", what);
		if (n == 0)
			return ERR_OK;
		ret->len += n > 0 ? (size_t)n : 0;
	}
}

/* It closed its output, or was given up: then it is not waited for. */
static enum err_code
process_end(const char *what, pid_t pid, bool gave_up, struct work_job *job, struct err *reterr)
{
	int64_t end = process_now() + PROCESS_TIMEOUT_MS;
	int     status = 0;
	pid_t   got = 0;

	while (!gave_up && (got = waitpid(pid, &status, WNOHANG)) == 0 && process_now() < end &&
	    (job == NULL || !work_cancelled(job)))
		poll(NULL, 0, 5);
	if (got == 0) {
		kill(-pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			continue;
		return gave_up ? ERR_OK : err_set(reterr, ERR_TIMEOUT, 0, "%s does not end", what);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return ERR_OK;
	err_set(reterr, ERR_AUTH, 0, "%s ended with %s %d", what, WIFEXITED(status) ? "exit code" : "signal",
	    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return err_hint(reterr, "run it by hand as the user of the agent: it says why");
}

enum err_code
process_run(const char *what, const char *const *words, struct work_job *job, struct buf *ret, struct err *reterr)
{
	int           fds[2];
	pid_t         pid;
	enum err_code rc;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return err_errno(reterr, errno, "%s: pipe", what);
	rc = process_start(what, words, fds[1], &pid, reterr);
	close(fds[1]);
	if (rc == ERR_OK) {
		rc = process_read(what, fds[0], job, ret, reterr);
		if (process_end(what, pid, rc != ERR_OK, job, rc == ERR_OK ? reterr : NULL) != ERR_OK)
			rc = reterr->code;
	}
	close(fds[0]);
	return rc;
}
