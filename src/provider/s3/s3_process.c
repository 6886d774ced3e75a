/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "s3_cred.h"

/*
 * credential_process of a profile: a program that prints credentials as JSON. No shell sees the line: words are divided at blanks, and
 * quotes and "\" keep them together, nothing else means anything. On a thread of the pool, bounded in time and output.
 */
#define PROCESS_WORDS_MAX  64
#define PROCESS_OUTPUT_MAX ((size_t)64 << 10)
#define PROCESS_TIMEOUT_MS 60000
#define PROCESS_LOOK_MS    100  /* how often it is seen that nobody waits any longer */

extern char **environ;

/* One word at *at, into the same memory; false: a quote is not closed. */
static bool
process_word(char **at, char **ret)
{
	char *in = *at, *out = *at, quote = '\0';

	*ret = out;
	for (; *in != '\0' && (quote != '\0' || (*in != ' ' && *in != '\t')); in++) {
		if (quote == '\0' && (*in == '"' || *in == '\''))
			quote = *in;
		else if (*in == quote)
			quote = '\0';
		else if (*in == '\\' && quote != '\'' && in[1] != '\0')
			*out++ = *++in;
		else
			*out++ = *in;
	}
	*at = *in != '\0' ? in + 1 : in;
	*out = '\0';
	return quote == '\0';
}

/* At least one, on success. */
static enum err_code
process_words(char *line, char *ret[PROCESS_WORDS_MAX + 1], struct err *reterr)
{
	size_t n = 0;

	for (line += strspn(line, " \t"); *line != '\0'; line += strspn(line, " \t")) {
		if (n == PROCESS_WORDS_MAX)
			return err_set(reterr, ERR_CONFIG, 0, "credential_process has more than %d words", PROCESS_WORDS_MAX);
		if (!process_word(&line, &ret[n++]))
			return err_set(reterr, ERR_CONFIG, 0, "credential_process has a quote that is not closed");
	}
	ret[n] = NULL;
	return n > 0 ? ERR_OK : err_set(reterr, ERR_CONFIG, 0, "credential_process is empty");
}

/* Its own process group, so that what it starts ends with it; input and messages go nowhere. */
static enum err_code
process_start(char *const *words, int out, pid_t *ret, struct err *reterr)
{
	const char                *program = words[0] != NULL ? words[0] : "";
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
	rc = posix_spawnp(ret, program, &files, &attr, words, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return rc == 0 ? ERR_OK : err_errno(reterr, rc, "credential_process: cannot run %.80s", program);
}

static int64_t
process_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum err_code
process_read(int fd, struct work_job *job, struct buf *ret, struct err *reterr)
{
	int64_t       end = process_now() + PROCESS_TIMEOUT_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	ssize_t       n;

	for (;;) {
		if (job != NULL && work_cancelled(job))
			return err_set(reterr, ERR_CANCELLED, 0, "cancelled");
		if (process_now() >= end)
			return err_set(reterr, ERR_TIMEOUT, 0, "credential_process does not end within %d s", PROCESS_TIMEOUT_MS / 1000);
		if (poll(&p, 1, PROCESS_LOOK_MS) <= 0)
			continue;
		if (ret->max - ret->len < 4096)
			return err_set(reterr, ERR_AUTH, 0, "credential_process prints more than %zu bytes", PROCESS_OUTPUT_MAX);
		n = read(fd, ret->data + ret->len, 4096);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_errno(reterr, errno, "credential_process: cannot read what it prints");
		if (n == 0)
			return ERR_OK;
		ret->len += n > 0 ? (size_t)n : 0;
	}
}

/* It closed its output, or was given up: then it is not waited for. */
static enum err_code
process_end(pid_t pid, bool gave_up, struct work_job *job, struct err *reterr)
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
		return gave_up ? ERR_OK : err_set(reterr, ERR_TIMEOUT, 0, "credential_process does not end");
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return ERR_OK;
	err_set(reterr, ERR_AUTH, 0, "credential_process ended with %s %d", WIFEXITED(status) ? "exit code" : "signal",
	    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return err_hint(reterr, "run it by hand as the user of the agent: it says why");
}

enum err_code
s3_process_keys(const char *command, struct work_job *job, struct s3_keys *ret, struct err *reterr)
{
	char         *line = xstrdup(command), *words[PROCESS_WORDS_MAX + 1];
	struct buf    text;
	int           fds[2] = { -1, -1 };
	pid_t         pid;
	enum err_code rc = process_words(line, words, reterr);

	buf_init(&text, PROCESS_OUTPUT_MAX);
	buf_reserve(&text, PROCESS_OUTPUT_MAX, NULL);
	if (rc == ERR_OK && pipe2(fds, O_CLOEXEC) != 0)
		rc = err_errno(reterr, errno, "credential_process: pipe");
	if (rc == ERR_OK)
		rc = process_start(words, fds[1], &pid, reterr);
	if (fds[1] >= 0)
		close(fds[1]);
	if (rc == ERR_OK) {
		rc = process_read(fds[0], job, &text, reterr);
		if (process_end(pid, rc != ERR_OK, job, rc == ERR_OK ? reterr : NULL) != ERR_OK)
			rc = reterr->code;
		if (rc == ERR_OK && s3_keys_parse(buf_span(&text), ret, reterr) != ERR_OK)
			rc = err_prefix(reterr, "credential_process");
	}
	if (fds[0] >= 0)
		close(fds[0]);
	buf_wipe_free(&text);
	free(line);
	return rc;
}
