/* SPDX-License-Identifier: MIT */
/* The members of every record in their order on disk: FORMAT.md says the same in words. Members are only ever added
 * at the end, with the format that brought them in since. */
#include "store/blob.h"
#include "store/codec.h"
#include "store/internal.h"
#include "store/store.h"

#define F(kind, type, member)       { kind, offsetof(type, member), 0, 1 }
#define F_ENUM(type, member, count) { REC_ENUM, offsetof(type, member), count, 1 }

static const struct rec_field state_fields[] = {
	F(REC_STR, struct state_rec, backend),
	F(REC_STR, struct state_rec, name),
	F(REC_U64, struct state_rec, head),
	F(REC_DIGEST, struct state_rec, head_digest),
	F(REC_U64, struct state_rec, versions),
	F(REC_U64, struct state_rec, high_serial),
	F(REC_STR, struct state_rec, etag),
	F(REC_DIGEST, struct state_rec, seen_digest),
	F(REC_U64, struct state_rec, seen_version),
	F(REC_I64, struct state_rec, first_seen),
	F(REC_I64, struct state_rec, last_changed),
	F(REC_I64, struct state_rec, last_read),
	F(REC_UINT, struct state_rec, flags),
	F(REC_DIGEST, struct state_rec, released),
	F(REC_STR, struct state_rec, problem),
};
REC_TYPE(rec_state, "state", 1, struct state_rec, state_fields);

static const struct rec_field version_fields[] = {
	F(REC_DIGEST, struct version_rec, digest),
	F(REC_DIGEST, struct version_rec, semantic),
	F(REC_U64, struct version_rec, serial),
	F(REC_U64, struct version_rec, size),
	F(REC_U64, struct version_rec, instances),
	F(REC_U64, struct version_rec, resources),
	F(REC_STR, struct version_rec, lineage),
	F(REC_STR, struct version_rec, writer),
	F_ENUM(struct version_rec, kind, STATE_ENCRYPTED + 1),
	F_ENUM(struct version_rec, verdict, VERDICT_COUNT),
	F(REC_STR, struct version_rec, reason),
	F(REC_I64, struct version_rec, seen),
	F(REC_STR, struct version_rec, run),
	F(REC_STR, struct version_rec, who),
	F(REC_STR, struct version_rec, operation),
	F(REC_STR, struct version_rec, origin),
	F(REC_I64, struct version_rec, added),
	F(REC_I64, struct version_rec, changed),
	F(REC_I64, struct version_rec, removed),
	F(REC_BOOL, struct version_rec, dropped),
	F(REC_U64, struct version_rec, parent),
};
REC_TYPE(rec_version, "version", 1, struct version_rec, version_fields);

static const struct rec_field replica_fields[] = {
	F(REC_STR, struct replica_rec, edge),
	F(REC_STR, struct replica_rec, target),
	F(REC_U64, struct replica_rec, state),
	F(REC_STR, struct replica_rec, name),
	F_ENUM(struct replica_rec, status, REPLICA_STATUSES),
	F(REC_DIGEST, struct replica_rec, digest),
	F(REC_U64, struct replica_rec, version),
	F(REC_U64, struct replica_rec, serial),
	F(REC_STR, struct replica_rec, etag),
	F(REC_I64, struct replica_rec, written),
	F(REC_I64, struct replica_rec, verified),
	F(REC_STR, struct replica_rec, error),
	F(REC_STR, struct replica_rec, hint),
	F(REC_INT, struct replica_rec, error_code),
	F(REC_BOOL, struct replica_rec, reencoded),
	F(REC_DIGEST, struct replica_rec, resolved),
	{ REC_I64, offsetof(struct replica_rec, troubled), 0, 2 },
};
REC_TYPE(rec_replica, "replica", 2, struct replica_rec, replica_fields);

static const struct rec_field intent_fields[] = {
	F_ENUM(struct intent_rec, kind, INTENT_MIGRATE + 1),
	F(REC_STR, struct intent_rec, edge),
	F(REC_STR, struct intent_rec, target),
	F(REC_U64, struct intent_rec, state),
	F(REC_STR, struct intent_rec, name),
	F(REC_STR, struct intent_rec, lock_id),
	F(REC_STR, struct intent_rec, lock_body),
	F(REC_DIGEST, struct intent_rec, digest),
	F(REC_DIGEST, struct intent_rec, replaces),
	F(REC_STR, struct intent_rec, etag),
	F(REC_I64, struct intent_rec, created),
	F(REC_I64, struct intent_rec, retry_at),
	F(REC_U64, struct intent_rec, tries),
	F(REC_BOOL, struct intent_rec, uncertain),
	F(REC_STR, struct intent_rec, agent),
	{ REC_U64, offsetof(struct intent_rec, epoch), 0, 2 },
};
REC_TYPE(rec_intent, "intent", 2, struct intent_rec, intent_fields);

static const struct rec_field queue_fields[] = {
	F(REC_I64, struct queue_rec, due),
	F(REC_STR, struct queue_rec, edge),
	F(REC_STR, struct queue_rec, target),
	F(REC_U64, struct queue_rec, state),
	F(REC_U64, struct queue_rec, attempt),
	F(REC_I64, struct queue_rec, waiting_since),
};
REC_TYPE(rec_queue, "queue", 1, struct queue_rec, queue_fields);

static const struct rec_field run_fields[] = {
	F(REC_STR, struct run_rec, lock),
	F(REC_STR, struct run_rec, who),
	F(REC_STR, struct run_rec, operation),
	F(REC_STR, struct run_rec, created),
	F(REC_STR, struct run_rec, program),
	F(REC_I64, struct run_rec, begun),
	F(REC_I64, struct run_rec, seen),
	F(REC_I64, struct run_rec, ended),
	F(REC_I64, struct run_rec, changed),
	F(REC_U64, struct run_rec, versions),
	F(REC_U64, struct run_rec, first_version),
	F(REC_U64, struct run_rec, last_version),
	F(REC_U64, struct run_rec, first_serial),
	F(REC_U64, struct run_rec, last_serial),
};
REC_TYPE(rec_run, "run", 1, struct run_rec, run_fields);

static const struct rec_field event_fields[] = {
	F(REC_I64, struct event_rec, time),
	F(REC_STR, struct event_rec, kind),
	F(REC_STR, struct event_rec, backend),
	F(REC_STR, struct event_rec, name),
	F(REC_STR, struct event_rec, edge),
	F(REC_STR, struct event_rec, text),
};
REC_TYPE(rec_event, "event", 1, struct event_rec, event_fields);

static const struct rec_field blob_fields[] = {
	F(REC_DIGEST, struct blob, digest),
	F(REC_U64, struct blob, raw),
	F(REC_U64, struct blob, stored),
	F(REC_U64, struct blob, pieces),
	F(REC_U64, struct blob, prefix),
	F(REC_U64, struct blob, dictionary),
	F(REC_U64, struct blob, depth),
	F(REC_U64, struct blob, cost),
	F(REC_U64, struct blob, refs),
	F(REC_LIST, struct blob, users),
};
REC_TYPE(rec_blob, "blob", 1, struct blob, blob_fields);

static const struct rec_field counters_fields[] = {
	F(REC_U64, struct counters, commits),
	F(REC_U64, struct counters, state_id),
	F(REC_U64, struct counters, blob_id),
	F(REC_U64, struct counters, event_seq),
	F(REC_U64, struct counters, raw_bytes),
	F(REC_U64, struct counters, blob_bytes),
};
REC_TYPE(rec_counters, "counters", 1, struct counters, counters_fields);

static const struct rec_field number_fields[] = { F(REC_U64, struct number_rec, v) };
REC_TYPE(rec_number, "number", 1, struct number_rec, number_fields);

static const struct rec_field owner_fields[] = {
	F(REC_U64, struct owner_rec, state),
	F(REC_U64, struct owner_rec, holders),
};
REC_TYPE(rec_owner, "owner", 1, struct owner_rec, owner_fields);

/* Values that are bytes of somebody else: no members, never decoded. */
const struct rec_type rec_bytes = { "bytes", 1, 0, NULL, 0 };

const struct rec_type *const rec_types[] = { &rec_state, &rec_version, &rec_replica, &rec_intent, &rec_queue,
	&rec_run, &rec_event, &rec_blob, &rec_counters, &rec_number, &rec_owner, NULL };
