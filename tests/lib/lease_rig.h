/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_LEASE_RIG_H
#define TESTS_LIB_LEASE_RIG_H

#include "agent_rig.h"

/* Two agents with the same configuration, which share an edge "e" from "a" to "b" through the lease at its target. In virtual time, on one
 * loop. */
#define BACKENDS "backend \"mem\" \"a\" {\n  poll = \"10s\"\n}\nbackend \"mem\" \"b\" {\n  poll = \"10s\"\n}\n"
#define EDGE(lease) "replicate \"e\" {\n  from = \"a\"\n  to = [\"b\"]\n" lease "}\n"
#define SHARED BACKENDS EDGE("  lease {\n    ttl = \"60s\"\n  }\n")
#define ETCD "etcd {\n  endpoints = [\"http://127.0.0.1:2379\"]\n}\n"
#define TTL INT64_C(60000)
#define RECORD ".stateferry/lease/e"

#define DEAD(epoch) "{\"stateferry_lease\":1,\"holder\":\"dead\",\"name\":\"edge-dead\",\"nonce\":\"n\",\"counter\":9,\"epoch\":" epoch \
    ",\"transitions\":2,\"ttl_ms\":60000,\"since\":null,\"stores\":{\"dead\":4}}"
#define LEFT_ID "00000000-0000-0000-9b93-6e5108a0fc75" /* of an agent that is called "dead" */
#define LEFT(epoch, operation) LEFT_BY(LEFT_ID, epoch, operation)
#define LEFT_BY(id, epoch, operation) "{\"ID\":\"" id "\",\"Operation\":\"" operation "\",\"Info\":\"replicate e to b, epoch " epoch \
    "; if that host is gone, \\\"terraform force-unlock ID\\\" is safe\",\"Who\":\"stateferry@edge-dead\",\"Version\":\"1\"," \
    "\"Created\":\"2026-11-23T12:00:00Z\",\"Path\":\"\"}"

extern struct agent_rig  fleet[2];
extern struct mem_world *fleet_a, *fleet_b;
extern struct loop      *fleet_loop;

/* The first so many agents are opened; x.tfstate lies at the source. */
void fleet_begin(unsigned agents);
void fleet_begin_at_work(void);        /* both, until one leads and the other follows */
void fleet_join(unsigned agent, const char *dir); /* one more process, with the store that lies there; NULL: a new one */
void fleet_end(void);                  /* no lock may be left */
/* As the process does that is told to end, so many turns after it has locked x.tfstate: the lease outlives that lock. */
void fleet_end_in_a_write(unsigned turns);
/* The process ends, and another one goes on with its store. */
void fleet_reborn(unsigned agent);

bool fleet_equal(const char *name);    /* there on both sides, with the same bytes */
bool fleet_record_says(const char *what);
/* As one that was killed leaves it. */
void fleet_record_of(const char *holder, unsigned epoch);

struct fleet_who {
	enum lease_standing standing;
	uint64_t            epoch, n;
};
struct fleet_who    fleet_who(unsigned agent);
unsigned            fleet_leader(void); /* fails the test unless it is one of them */
enum replica_status fleet_says(unsigned agent); /* how it says that the replica of x.tfstate stands */
uint64_t            fleet_asked(unsigned agent, enum request_kind kind); /* of the target */

#endif
