/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#include "base/digest.h"

/*
 * Each seed runs in a process of its own and says something only when it fails: what a broken invariant leaves behind is nobody
 * else's business, and a death by signal is a failure like others.
 */
#define SEED_SECONDS 120
#define SLOTS        64
#define ALL_FAULTS   ((1u << FAULT_COUNT) - 1)

static const char usage[] =
    "sim [--jobs N] [--trace] [--twice] [--first] [--table] [--without FAULT,...] [--minimise] SEEDS ...\n"
    "  SEEDS         7, 1-200, or a file with such words and # comments\n"
    "  --twice       runs each a second time: the same must happen\n"
    "  --first       ends with the first failure\n"
    "  --table       how often each fault befell whom\n"
    "  --minimise    looks for the fewest kinds of faults under which a seed still fails\n";

/* One child; its stats are shared with it. */
struct slot {
	pid_t    pid;
	uint64_t seed;
	bool     second;
};

static struct sim_stats *stats;      /* by slot; one more for the sums */
static uint64_t         *hashes;     /* by slot, of the first run */
static struct slot       slots[SLOTS];
static size_t            jobs = 1, running;
static unsigned          faults = ALL_FAULTS;
static bool              trace, twice, first, quiet;
static uint64_t          seeds, failed;
static char              base_dir[200];

/* --- folders --- */

static int
remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void
dir_of(const struct slot *s, char ret[300])
{
	snprintf(ret, 300, "%s/%td", base_dir, s - slots);
}

static void
dir_remove(const char *dir)
{
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void
dir_make_base(void)
{
	const char *tmp = getenv("TMPDIR");

	if (tmp == NULL)
		tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(base_dir, sizeof(base_dir), "%.150s/stateferry-sim.XXXXXX", tmp);
	if (mkdtemp(base_dir) == NULL) {
		perror(base_dir);
		exit(1);
	}
}

/* --- one seed --- */

static void __attribute__((noreturn))
slot_child(const struct slot *s, unsigned with)
{
	char dir[300];

	dir_of(s, dir);
	if (quiet && freopen("/dev/null", "w", stdout) == NULL)
		_exit(2);
	alarm(SEED_SECONDS);
	sim_run(s->seed, with, trace, dir, &stats[s - slots]);
	fflush(stdout);
	_exit(0);
}

static void
slot_begin(struct slot *s, uint64_t seed, bool second, unsigned with)
{
	char dir[300];

	s->seed = seed;
	s->second = second;
	dir_of(s, dir);
	dir_remove(dir);
	if (mkdir(dir, 0700) != 0) {
		perror(dir);
		exit(1);
	}
	memset(&stats[s - slots], 0, sizeof(*stats));
	fflush(stdout);
	s->pid = fork();
	if (s->pid == 0)
		slot_child(s, with);
	running += s->pid > 0;
}

/* false: it failed. */
static bool
slot_ended(struct slot *s, int status)
{
	char dir[300];

	dir_of(s, dir);
	dir_remove(dir);
	running--;
	s->pid = 0;
	if (WIFSIGNALED(status) && !quiet)
		printf("seed %" PRIu64 ": died by signal %d%s\n", s->seed, WTERMSIG(status),
		    WTERMSIG(status) == SIGALRM ? ", which means that it took too long" : "");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- many of them --- */

static void
stats_add(const struct sim_stats *one)
{
	uint64_t       *to = (uint64_t *)&stats[SLOTS];
	const uint64_t *from = (const uint64_t *)one;

	for (size_t i = 0; i < sizeof(*one) / sizeof(*to); i++)
		to[i] += from[i];
}

static void
run_ended(struct slot *s, int status)
{
	bool     ok = slot_ended(s, status);
	size_t   i = (size_t)(s - slots);
	uint64_t hash = stats[i].hash;

	if (ok && s->second && hash != hashes[i]) {
		printf("seed %" PRIu64 ": two runs differ\n", s->seed);
		ok = false;
	}
	failed += !ok;
	if (ok && twice && !s->second) {
		hashes[i] = hash;
		slot_begin(s, s->seed, true, faults);
		return;
	}
	seeds++;
	stats_add(&stats[i]);
}

static void
run_wait(void)
{
	int   status;
	pid_t pid = waitpid(-1, &status, 0);

	for (size_t i = 0; i < SLOTS; i++)
		if (pid > 0 && slots[i].pid == pid)
			run_ended(&slots[i], status);
}

static void
run_seed(uint64_t seed)
{
	size_t i = 0;

	while (running >= jobs)
		run_wait();
	if (first && failed > 0)
		return;
	while (slots[i].pid != 0)
		i++;
	slot_begin(&slots[i], seed, false, faults);
}

/* --- the fewest faults --- */

static bool
seed_fails(uint64_t seed, unsigned with)
{
	int status;

	slot_begin(&slots[0], seed, false, with);
	waitpid(slots[0].pid, &status, 0);
	return !slot_ended(&slots[0], status);
}

static void
minimise(uint64_t seed)
{
	unsigned with = faults;
	bool     smaller = true;

	quiet = true;
	if (!seed_fails(seed, with)) {
		printf("seed %" PRIu64 " does not fail\n", seed);
		return;
	}
	while (smaller) {
		smaller = false;
		for (unsigned f = 0; f < FAULT_COUNT; f++)
			if ((with & 1u << f) != 0 && seed_fails(seed, with & ~(1u << f))) {
				with &= ~(1u << f);
				smaller = true;
			}
	}
	printf("%" PRIu64 " fails still --without ", seed);
	for (unsigned f = 0; f < FAULT_COUNT; f++)
		if ((with & 1u << f) == 0)
			printf("%s,", sim_fault_names[f]);
	printf("\n");
	failed++;
}

/* --- arguments --- */

static void
each_seed(const char *word, void (*fn)(uint64_t seed))
{
	char    *end;
	uint64_t from = strtoull(word, &end, 10), to = *end == '-' ? strtoull(end + 1, &end, 10) : from;

	if (*end != '\0' || from == 0 || to < from) {
		fprintf(stderr, "sim: \"%s\" is no seed, and no range of seeds\n", word);
		exit(2);
	}
	for (uint64_t seed = from; seed <= to; seed++)
		fn(seed);
}

static void
each_seed_of_file(const char *path, void (*fn)(uint64_t seed))
{
	FILE *f = fopen(path, "r");
	char  line[500], *rest, *word;

	if (f == NULL) {
		perror(path);
		exit(2);
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "#\n")] = '\0';
		for (rest = line; (word = strtok_r(rest, " \t", &rest)) != NULL;)
			each_seed(word, fn);
	}
	fclose(f);
}

static void
without(char *list)
{
	char *rest = list, *word;

	while ((word = strtok_r(rest, ",", &rest)) != NULL) {
		unsigned f = 0;

		while (f < FAULT_COUNT && strcmp(sim_fault_names[f], word) != 0)
			f++;
		if (f == FAULT_COUNT) {
			fprintf(stderr, "sim: no fault is called \"%s\"\n", word);
			exit(2);
		}
		faults &= ~(1u << f);
	}
}

static void
print_sums(double seconds, bool table)
{
	const struct sim_stats *n = &stats[SLOTS];

	printf("%" PRIu64 " seeds, %" PRIu64 " failed, %.1f s, %.1f seeds/s; %" PRIu64 " h of virtual time, %" PRIu64 " turns, %" PRIu64
	    " messages, %" PRIu64 " writes, %" PRIu64 " versions found again\n", seeds, failed, seconds,
	    seconds > 0 ? (double)seeds / seconds : 0, n->virtual_ms / 3600000, n->turns, n->sent, n->writes, n->versions);
	for (unsigned f = 0; table && f < FAULT_COUNT; f++)
		printf("  %-14s %" PRIu64 "\n", sim_fault_names[f], n->hits[f]);
	for (unsigned k = 0; table && k < SIM_KINDS; k++)
		printf("  servers %-6s %" PRIu64 "\n", sim_kind_name((enum sim_kind)k), n->kinds[k]);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "jobs", required_argument, NULL, 'j' }, { "trace", no_argument, NULL, 't' },
		{ "twice", no_argument, NULL, '2' }, { "first", no_argument, NULL, '1' }, { "table", no_argument, NULL, 'T' },
		{ "without", required_argument, NULL, 'w' }, { "minimise", no_argument, NULL, 'm' }, { NULL, 0, NULL, 0 } };
	void (*fn)(uint64_t seed) = run_seed;
	struct timespec begun, ended;
	bool            table = false;
	int             c;

	while ((c = getopt_long(argc, argv, "j:", options, NULL)) != -1)
		switch (c) {
		case 'j': jobs = strtoul(optarg, NULL, 10); break;
		case 't': trace = true; break;
		case '2': twice = true; break;
		case '1': first = true; break;
		case 'T': table = true; break;
		case 'w': without(optarg); break;
		case 'm': fn = minimise; break;
		default: fputs(usage, stderr); return 2;
		}
	if (optind == argc || jobs == 0 || jobs > SLOTS) {
		fputs(usage, stderr);
		return 2;
	}
	crypto_init(NULL);
	stats = mmap(NULL, (SLOTS + 1) * sizeof(*stats), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	hashes = xcalloc(SLOTS, sizeof(*hashes));
	dir_make_base();
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (int i = optind; i < argc; i++)
		strspn(argv[i], "0123456789-") == strlen(argv[i]) ? each_seed(argv[i], fn) : each_seed_of_file(argv[i], fn);
	while (running > 0)
		run_wait();
	clock_gettime(CLOCK_MONOTONIC, &ended);
	dir_remove(base_dir);
	print_sums((double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9, table);
	return failed > 0 ? 1 : 0;
}
