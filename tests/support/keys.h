/* SPDX-License-Identifier: MIT
 *
 * Clusters with keys, in the directory of the test.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "keys/authority.h"
#include "transport/security.h"

/* The CA of a cluster, in the folder of this name; made when it isn't there. Unlocked. */
struct authority *keys_authority(const char *cluster);

struct keys_order {
    const char *cluster, *name;
    bool program;
    const char *address;  /* NULL: none */
    int64_t begins, ends; /* seconds from now; 0: yesterday, and in a year */
};
/* Make a bundle: its path, from malloc(). */
char *keys_bundle(const struct keys_order *order);
/* The keys of a new bundle. */
struct security *keys_security(const struct keys_order *order);
/* Revoke all of a name. */
void keys_revoke(const char *cluster, const char *name);
/* The path of the CA's list; from malloc(). */
char *keys_list(const char *cluster);
