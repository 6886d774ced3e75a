/* SPDX-License-Identifier: MIT */
#ifndef SRC_PROVIDER_AZURERM_LEASE_H
#define SRC_PROVIDER_AZURERM_LEASE_H

#include "azurerm.h"

/*
 * Terraform's lock: an infinite lease on the blob of the state, whose ID is that of the lock, and the lock's body in the blob's
 * metadata (docs/protocol/azurerm.md, "The lock"). We choose the ID, so that asking again after a lost answer is asking for the same. Who
 * holds it is decided by the lease alone: metadata outlives a lease that was broken.
 */
#define AZURERM_LOCK_TRIES 4 /* the same request again after an unknown outcome */

struct azurerm_lease {
	struct op            op;
	struct azurerm      *z;
	char                *name, *blob;
	struct send_request  req;
	struct send_answer   ans;
	struct azurerm_props props;
	struct lock_info    *ret, *ret_holder;
	struct lock_info     mine, there;  /* there: as just read */
	struct buf           text;         /* of mine, in base64 */
	unsigned             tries, bounced;
	char                 placed[ETAG_MAX]; /* the ETag of a place holder that we made; "": none */
	bool                 doubt;        /* a request is out whose outcome is unknown */
};

/* --- azurerm_lease.c: what taking, releasing and looking have in common ----------------------------------------------- */

struct azurerm_lease *azurerm_lease_new(struct backend *b, const struct op_class *class, const struct state_ref *ref);
void                  azurerm_lease_free(struct op *op);
/* lease: HEAD under it, which is refused unless it is held; NULL: under none. */
struct op            *azurerm_lease_look(struct azurerm_lease *k, const char *lease);
void                  azurerm_lease_act(struct azurerm_lease *k, const char *action); /* k->req begins so */
struct op            *azurerm_lease_release(struct azurerm_lease *k);
/* Both at once, of a place holder that we made and that is as we left it. */
struct op            *azurerm_lease_remove(struct azurerm_lease *k, const char *etag);
/* The metadata of k->props, with those words of terraform's; NULL: without any. */
struct op            *azurerm_lease_describe(struct azurerm_lease *k, const char *lock);
int64_t               azurerm_lease_pause(const struct azurerm_lease *k);
/* Ends the op. failed: with a request of ours out there, no later failure says that we do not hold it. */
enum op_turn          azurerm_lease_refused(struct azurerm_lease *k, const char *doing);
enum op_turn          azurerm_lease_failed(struct azurerm_lease *k);
/* Is it gone, or another's, of whom the request had the lease ID? */
bool                  azurerm_lease_is_gone(const struct azurerm_lease *k);
/* Of a look: whose words stand in the metadata. What cannot be read there goes by the ETag. */
void                  azurerm_lease_parse(struct azurerm_lease *k);

#endif
