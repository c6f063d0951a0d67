/* SPDX-License-Identifier: MIT
 *
 * What a host may hold and announce, as the config says it: IDs as ranges, names as patterns; and
 * addresses with a port. All are texts, checked once when the config is read.
 *
 *     allow-ids    1.1.0.0/16 1.2.0.7     blanks or commas between; * for all
 *     allow-names  media* radio:2         patterns of wire/name.h
 *     address      1.2.3.4  1.2.3.4:61001  ::1  [::1]:61001
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wrong.h"

/* 0 or -EINVAL, and why. */
int allow_ids_check(const char *ids, struct wrong *wrong);
int allow_names_check(const char *names, struct wrong *wrong);

bool allow_id(const char *ids, uint32_t id);
bool allow_name(const char *names, const char *name, const char *instance);

/* Is there an ID in both? Which, if so. */
bool allow_ids_overlap(const char *a, const char *b, uint32_t *ret_id);

/* The next word of a list, into `word`: *at moves on. False: there is none. Longer ones are cut. */
bool allow_next(const char **at, char *word, size_t room);

#define ALLOW_HOST_SIZE 64

/* -EINVAL */
int allow_address(const char *text, uint16_t port, char host[ALLOW_HOST_SIZE], uint16_t *ret_port);
